"""Particles of a run written back as the file they came from, with what is believed of them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int

from cryolatent.analysis.pose_columns import cs_fields, refined_poses, star_columns
from cryolatent.analysis.selection import choose, cluster_labels, quantities
from cryolatent.data.packed import file_digest, origin_rows, read_manifest
from cryolatent.errors import InputError
from cryolatent.io import read_cs, read_star_text, subset, write_cs
from cryolatent.io.files import write_atomically
from cryolatent.physics import Poses
from cryolatent.runs.run import Run

STACKS = (".mrcs", ".mrc", ".txt")
COPY = re.compile(r".*#(\d+)")
TITLES = {
    "elbo": "Elbo",
    "log_joint": "LogJoint",
    "cluster": "Cluster",
    "is_particle": "IsParticle",
    "pose_error_degrees": "PoseErrorDegrees",
    "shift_error_angstrom": "ShiftErrorAngst",
}


@dataclass(frozen=True)
class Exported:
    """What was written.

    Args:
        path: The file.
        rows: Images in it, as rows of `source`.
        particles: Rows of `source` that the run knows.
        source: The original file; for ``.npy``, what the run was given.
    """

    path: Path
    rows: Int[np.ndarray, " n"]
    particles: int
    source: Path


@dataclass(frozen=True)
class Table:
    """What is to be written.

    Args:
        source: The file that rows are taken from.
        rows: Which rows.
        columns: Quantities to add.
        poses: Refined poses of the rows; None to keep the file's.
        pixel_size_angstrom: Side of a pixel.
    """

    source: Path
    rows: Int[np.ndarray, " n"]
    columns: dict[str, np.ndarray]
    poses: Poses | None
    pixel_size_angstrom: float


def export(
    run: Run, output: Path, conditions: Sequence[str] = (), *, keep_poses: bool = False
) -> Exported:
    """Write the chosen particles of a run in the format of its input.

    Rows of a STAR file are copied as text, so nothing in them changes, and optics groups and
    comments stay; records of a ``.cs`` file are copied bytes. A run that doubted the poses writes
    refined ones in their place and adds their standard deviations; the recorded ones go to columns
    that begin with ``cryolatentRecorded`` (``cryolatent/recorded_``). What the run believes is
    added: latent means or shares, cluster if the run is analysed, and the particle's evidence lower
    bound or log joint density. Every image of a chosen particle is written. A particle of a
    symmetry-expanded run is written once if any of its copies is chosen, with the values of the
    first such copy, its number and how many were chosen.

    Args:
        run: A finished run.
        output: New ``.star`` file if the run's input was one, ``.cs`` if it was one; or ``.npy``
            for the numbers of the chosen rows alone, which every input has and the option `ind`
            reads; of a run on packed particles, places in the packed folder.
        conditions: As in `cryolatent.analysis.selection.choose`; all particles if empty.
        keep_poses: Whether the recorded poses stay where they are.

    Returns:
        What was written.

    Raises:
        InputError: If the output exists or is of another kind, the input has changed, or a
            condition cannot be answered or leaves nothing.
    """
    run.check_finished()
    if output.exists():
        raise InputError(output, "something there", "a new file", "Choose another name.")
    packed, source = _sources(run)
    _check_kind(source, output)
    latents = run.latents()
    chosen = np.flatnonzero(choose(run, latents, conditions))
    stack = run.open_stack().select_ids(latents.ids)
    _, owner = stack.observations(torch.arange(len(stack)))
    of_image, owner = stack.source_rows, owner.numpy()
    if packed is not None and output.suffix.lower() == ".npy":
        source = packed
    elif packed is not None:
        _check_origin(packed, source)
        of_image = origin_rows(packed)[of_image]
    images = np.flatnonzero(np.isin(owner, chosen))
    rows, first, copies = np.unique(of_image[images], return_index=True, return_counts=True)
    shown = owner[images][first]
    columns = quantities(latents)
    labels = cluster_labels(run, latents)
    if labels is not None:
        columns["cluster"] = labels
    columns = {name: values[shown] for name, values in columns.items()}
    poses = None
    if latents.beliefs is not None and not keep_poses:
        poses, errors = refined_poses(latents.beliefs, stack, images[first])
        columns |= errors
    if run.config.data.symmetry != "C1" and len(of_image) > len(np.unique(of_image)):
        matches = [COPY.fullmatch(name) for name in latents.ids[shown].tolist()]
        columns["copy"] = np.array([int(found.group(1)) if found else 1 for found in matches])
        columns["copies"] = copies
    table = Table(source, rows, columns, poses, stack.pixel_size_angstrom)
    write_atomically(output, lambda partial: _write(partial, output.suffix, table))
    return Exported(output, rows, len(np.unique(of_image)), source)


def export_kinds(run: Run) -> list[str]:
    """The kinds of files that a run's particles can be written to.

    Args:
        run: A finished run.

    Returns:
        Endings, that of the run's own input first; none of latents that were imported alone.
    """
    return _kinds(_sources(run)[1]) if run.manifest.domain == "particles" else []


def _sources(run: Run) -> tuple[Path | None, Path]:
    """The packed folder that a run was given, if it was, and the file that rows are taken from."""
    packed = run.input if run.input.is_dir() else None
    return packed, run.input if packed is None else run.moves.find(read_manifest(packed).source)


def _check_origin(packed: Path, source: Path) -> None:
    """Make sure that the file that particles were packed from is what it was."""
    manifest = read_manifest(packed)
    if manifest.table_sha256 and file_digest(source) != manifest.table_sha256:
        raise InputError(
            source,
            "another content than when the particles were packed"
            if source.exists()
            else "no such file",
            f"SHA-256 {manifest.table_sha256[:12]}...",
            "Put the file back, say where its folder is now "
            '(`relocate="OLD=NEW"`), or pack it again.',
        )


def _check_kind(source: Path, output: Path) -> None:
    kinds = _kinds(source)
    if output.suffix.lower() not in kinds:
        raise InputError(
            output,
            f"a name that ends in {output.suffix or 'nothing'}, of a run on {source.name}",
            " or ".join(kinds),
            "Choose another ending; .npy holds row numbers for `ind` of cryolatent train.",
        )


def _kinds(source: Path) -> list[str]:
    own = source.suffix.lower()
    own = own if own in (".cs", *STACKS) else ".star"
    return [".npy"] if own in STACKS else [own, ".npy"]


def _write(path: Path, kind: str, table: Table) -> None:
    source, rows, columns, poses = table.source, table.rows, table.columns, table.poses
    if kind.lower() == ".npy":
        with path.open("wb") as stream:
            np.save(stream, rows)
    elif kind.lower() == ".cs":
        fields = {f"cryolatent/{name}": values for name, values in columns.items()}
        records = read_cs(source)[rows]
        if poses is not None:
            fields |= cs_fields(records, poses, table.pixel_size_angstrom)
        write_cs(path, records, fields)
    else:
        text = read_star_text(source)
        added = {_title(name): [str(v) for v in values] for name, values in columns.items()}
        if poses is not None:
            added |= star_columns(text, rows, poses)
        path.write_bytes(subset(text, rows, added))


def _title(name: str) -> str:
    """A STAR file's column of a quantity: ``z0`` is cryolatentMean0."""
    title = TITLES.get(name) or re.sub(r"^z(?=\d)", "Mean", name)
    return "cryolatent" + title[0].upper() + title[1:]
