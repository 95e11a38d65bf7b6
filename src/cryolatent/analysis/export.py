"""Particles of a run written back as the file they came from, with what is believed of them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Int

from cryolatent.analysis.image_names import Naming
from cryolatent.analysis.pose_columns import RECORDED, cs_fields, refined_poses, star_columns
from cryolatent.analysis.selection import choose, cluster_labels, labels_by, quantities
from cryolatent.data import ParticleStack
from cryolatent.data.packed import file_digest, origin_rows, read_manifest
from cryolatent.data.places import Moves
from cryolatent.errors import InputError
from cryolatent.io import column_text, read_cs, read_star_text, subset, write_cs
from cryolatent.io.files import write_atomically
from cryolatent.models.latents import Latents
from cryolatent.physics import Poses
from cryolatent.runs.run import Run

STACKS = (".mrcs", ".mrc", ".txt")
COPY = re.compile(r".*#(\d+)")
STAR_CLASS, CS_CLASS = "rlnClassNumber", "alignments3D/class"
HALF = 0.5
"""Probability to be a particle below which one is junk."""

TITLES = {
    "elbo": "Elbo",
    "log_joint": "LogJoint",
    "cluster": "Cluster",
    "state": "State",
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
        naming: How images are named where the file goes.
    """

    source: Path
    rows: Int[np.ndarray, " n"]
    columns: dict[str, np.ndarray]
    poses: Poses | None
    pixel_size_angstrom: float
    naming: Naming


def export(
    run: Run,
    output: Path,
    conditions: Sequence[str] = (),
    *,
    keep_poses: bool = False,
    relative_to: Path | None = None,
) -> Exported:
    """Write the chosen particles of a run in the format of its input.

    Rows of a STAR file are copied as text, so nothing in them changes, and optics groups and
    comments stay; records of a ``.cs`` file are copied bytes. A run that doubted the poses writes
    refined ones in their place and adds their standard deviations; one that found states writes
    state k as ``rlnClassNumber`` k + 1 (``alignments3D/class`` k); images are named so that the new
    file finds them. What stood in their place goes to columns that begin with
    ``cryolatentRecorded`` (``cryolatent/recorded_``). What the run believes is added: latent means,
    shares and state, cluster if the run is analysed, and the particle's evidence lower
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
        relative_to: Folder that a STAR file's images are to be named from; if left out names stay
            where the new file finds its images by them, and are absolute elsewhere.

    Returns:
        What was written.

    Raises:
        InputError: If the output exists or is of another kind, the input has changed, or a
            condition cannot be answered or leaves nothing.
    """
    believed = _Believed.of(run, output, keep_poses, relative_to)
    return believed.write(output, choose(run, believed.latents, conditions))


def export_split(
    run: Run,
    output: Path,
    by: Literal["state", "cluster"],
    conditions: Sequence[str] = (),
    *,
    keep_poses: bool = False,
    relative_to: Path | None = None,
) -> list[Exported]:
    """Write the chosen particles of a run into a file for each state or cluster.

    Particles that are more probably none go to a file of their own.

    Args:
        run: A finished run; clusters are those of its analysis.
        output: As in `export`; ``out.star`` becomes ``out_state_0.star``, ``out_state_1.star`` ...
            and ``out_junk.star``.
        by: What to split by.
        conditions: As in `export`.
        keep_poses: As in `export`.
        relative_to: As in `export`.

    Returns:
        What was written, in the order of the numbers; nothing for those without a particle.

    Raises:
        InputError: As `export`, or if the run has no states, or no clusters.
    """
    believed = _Believed.of(run, output, keep_poses, relative_to)
    chosen = choose(run, believed.latents, conditions)
    labels = labels_by(run, believed.latents, by)
    junk = believed.latents.is_particle.numpy() < HALF
    parts = {f"{by}_{k}": chosen & ~junk & (labels == k) for k in range(int(labels.max()) + 1)}
    parts["junk"] = chosen & junk
    files = {
        output.with_name(f"{output.stem}_{name}{output.suffix}"): part
        for name, part in parts.items()
        if part.any()
    }
    for file in files:
        _check_free(file)
    return [believed.write(file, part) for file, part in files.items()]


@dataclass(frozen=True)
class _Believed:
    """What a run believes of its particles, and the rows of the file that they came from.

    Args:
        latents: Those of the run.
        stack: Its particles.
        source: The file that rows are taken from.
        of_image: Row of each image there.
        owner: Particle of each image.
        columns: Quantities of each particle.
        keep_poses: Whether the recorded poses stay where they are.
        expanded: Whether particles are symmetric copies.
        naming: How images are named.
    """

    latents: Latents
    stack: ParticleStack
    source: Path
    of_image: Int[np.ndarray, " n"]
    owner: Int[np.ndarray, " n"]
    columns: dict[str, np.ndarray]
    keep_poses: bool
    expanded: bool
    naming: Naming

    @staticmethod
    def of(run: Run, output: Path, keep_poses: bool, relative_to: Path | None) -> "_Believed":
        """Read a run once, for any number of files like `output`."""
        run.check_finished()
        _check_free(output)
        packed, source = _sources(run)
        _check_kind(source, output)
        if relative_to is not None and output.suffix.lower() != ".star":
            raise InputError("`relative_to`", output.name, "a .star file", "Leave it out.")
        latents = run.latents()
        stack = run.open_stack().select_ids(latents.ids)
        _, owner = stack.observations(torch.arange(len(stack)))
        of_image = stack.source_rows
        if packed is not None and output.suffix.lower() == ".npy":
            source = packed
        elif packed is not None:
            _check_origin(packed, source)
            of_image = origin_rows(packed)[of_image]
        columns = quantities(run, latents)
        labels = cluster_labels(run, latents)
        if labels is not None and not np.array_equal(labels, columns.get("state", ())):
            columns["cluster"] = labels
        expanded = run.config.data.symmetry != "C1" and len(of_image) > len(np.unique(of_image))
        naming = Naming(run.config.data.datadir, run.moves, relative_to)
        return _Believed(
            latents,
            stack,
            source,
            of_image,
            owner.numpy(),
            columns,
            keep_poses,
            expanded,
            naming,
        )

    def write(self, output: Path, chosen: Bool[np.ndarray, " n"]) -> Exported:
        """Write the chosen particles."""
        images = np.flatnonzero(chosen[self.owner])
        rows, first, copies = np.unique(
            self.of_image[images], return_index=True, return_counts=True
        )
        shown = self.owner[images][first]
        columns = {name: values[shown] for name, values in self.columns.items()}
        poses = None
        if self.latents.beliefs is not None and not self.keep_poses:
            poses, errors = refined_poses(self.latents.beliefs, self.stack, images[first])
            columns |= errors
        if self.expanded:
            matches = [COPY.fullmatch(name) for name in self.latents.ids[shown].tolist()]
            columns["copy"] = np.array([int(found.group(1)) if found else 1 for found in matches])
            columns["copies"] = copies
        pixel = self.stack.pixel_size_angstrom
        table = Table(self.source, rows, columns, poses, pixel, self.naming)
        write_atomically(output, lambda partial: _write(partial, output, table))
        return Exported(output, rows, len(np.unique(self.of_image)), self.source)


def _check_free(output: Path) -> None:
    if output.exists():
        raise InputError(output, "something there", "a new file", "Choose another name.")


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


def export_poses(stack: ParticleStack, poses: Poses, output: Path) -> None:
    """Write a particle file with poses that were found, all else as it stands.

    Args:
        stack: Particles as they were read from a ``.star`` or ``.cs`` file.
        poses: One for each image.
        output: New file of the same kind; recorded poses go to columns of their own, and images
            are named so that they are found, as in `export`.
    """
    pixel, naming = stack.pixel_size_angstrom, Naming(stack.datadir, Moves())
    table = Table(stack.source, stack.source_rows, {}, poses, pixel, naming)
    write_atomically(output, lambda partial: _write(partial, output, table))


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


def _write(path: Path, output: Path, table: Table) -> None:
    source, rows, columns, poses = table.source, table.rows, table.columns, table.poses
    kind = output.suffix.lower()
    if kind == ".npy":
        with path.open("wb") as stream:
            np.save(stream, rows)
    elif kind == ".cs":
        fields = {f"cryolatent/{name}": values for name, values in columns.items()}
        records = read_cs(source)[rows]
        if "state" in columns and CS_CLASS in (records.dtype.names or ()):
            fields["cryolatent/recorded_class"] = records[CS_CLASS]
            fields[CS_CLASS] = columns["state"].astype(records.dtype[CS_CLASS])
        if poses is not None:
            fields |= cs_fields(records, poses, table.pixel_size_angstrom)
        write_cs(path, records, fields)
    else:
        text = read_star_text(source)
        added = {_title(name): [str(v) for v in values] for name, values in columns.items()}
        if "state" in columns:
            if STAR_CLASS in text.particles.columns:
                added[f"{RECORDED}ClassNumber"] = column_text(text, STAR_CLASS, rows)
            # RELION counts classes from one
            added[STAR_CLASS] = [str(1 + state) for state in columns["state"].tolist()]
        if poses is not None:
            added |= star_columns(text, rows, poses)
        added |= table.naming.columns(text, rows, output)
        path.write_bytes(subset(text, rows, added))


def _title(name: str) -> str:
    """A STAR file's column of a quantity: ``z0`` is cryolatentMean0."""
    title = TITLES.get(name) or re.sub(r"^z(?=\d)", "Mean", name)
    return "cryolatent" + title[0].upper() + title[1:]
