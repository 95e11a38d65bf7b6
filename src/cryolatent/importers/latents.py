"""Latents from a table of any program with one row per particle."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from cryolatent.data import ParticleStack, open_particles
from cryolatent.data.stacks import ImageNames
from cryolatent.errors import InputError
from cryolatent.importers.directory import Foreign
from cryolatent.importers.subspace import read_subspace, write_rows
from cryolatent.io import read_cs, split_image_names
from cryolatent.io.columns import Columns, read_columns
from cryolatent.models.distributions import Delta, DiagonalNormal, Distribution
from cryolatent.models.latents import Latents
from cryolatent.runs.run import Run

USUAL = (
    r"mean_(\d+)",
    r"point_(\d+)",
    r"z_?(\d+)",
    r"cryolatentMean(\d+)",
    r"cryolatent/z(\d+)",
    r"components_mode_(\d+)/value",
    r"latents?_?(\d+)",
    r"(\d+)",
    r"\w+?_(\d+)",
)
"""What columns of latents are called, by program; the first that fits a table is taken."""

WIDTHS = r"log_?var_(\d+)"


def import_latents(
    table: Path,
    output: Path,
    particles: Path | None = None,
    columns: Sequence[str] = (),
    reading: Mapping[str, Any] | None = None,
    *,
    mean: Path | None = None,
    components: Sequence[Path] = (),
) -> Run:
    """Make a run of a table of latents.

    Args:
        table: One row per particle.
        output: New folder.
        particles: Their particle file; None if it is not at hand.
        columns: Columns that hold the latents; found by their names if left out.
        reading: Options of `cryolatent.data.open_particles`.
        mean: Volume at latent zero.
        components: For each dimension the volume that its latent weighs.

    Returns:
        A finished run, without a decoder if there are no volumes.

    Raises:
        InputError: If the folder is not free, or table or particles cannot be read or do not fit
            each other.
    """
    Run.check_free(output)
    if mean is None and components:
        raise InputError(
            "`components`", "no `mean`", "the volume at latent zero beside them", "Name it."
        )
    reading = dict(reading or {})
    stack = None if particles is None else open_particles(particles, **reading)
    distribution, ids = latents_in(table, columns, stack)
    z_dim = distribution.mean.shape[1]
    volumes = None if mean is None else read_subspace(mean, components, z_dim, stack)
    latents = Latents(ids, distribution, None, distribution.kl())
    return write_rows(output, reading, Foreign(table.name, table, latents, stack), volumes)


def latents_in(
    path: Path, columns: Sequence[str] = (), stack: ParticleStack | None = None
) -> tuple[Distribution, np.ndarray]:
    """Read latents in the order of their particles.

    Args:
        path: A table, as `cryolatent.io.columns.read_columns` reads it.
        columns: Columns that hold the latents' means; found by their names if left out.
        stack: The particles. Rows are brought into their order by ``uid`` (of two ``.cs`` files),
            ``id`` or ``rlnImageName``; without such a column they must be in it.

    Returns:
        Normal distributions where the table has log variances beside the means, else points; and
        the particles' names.

    Raises:
        InputError: If there are no such columns, a number is not finite, or rows and particles do
            not fit each other.
    """
    table = read_columns(path)
    chosen = list(columns) or usual_columns(path, table)
    unknown = [name for name in chosen if name not in table]
    if unknown:
        raise InputError(
            path, f"no column {unknown[0]}", f"one of {_shown(table)}", "Check `columns`."
        )
    log_vars = numbered(table, WIDTHS) if not columns else []
    means = numbers(path, table, chosen)
    widths = numbers(path, table, log_vars) if len(log_vars) == len(chosen) else None
    if stack is None:
        ids = table.get("id", np.arange(1, len(means) + 1)).astype(np.str_)
    else:
        rows, ids = torch.from_numpy(rows_of(path, table, stack)), stack.ids
        means, widths = means[rows], None if widths is None else widths[rows]
    return (Delta(means) if widths is None else DiagonalNormal(means, widths)), ids


def usual_columns(path: Path, table: Columns) -> list[str]:
    """Find the columns of latents by their names.

    Args:
        path: The file, for messages.
        table: Its columns.

    Returns:
        Names in the order of their numbers.

    Raises:
        InputError: If none has such a name.
    """
    for pattern in USUAL:
        found = [n for n in numbered(table, pattern) if not re.fullmatch(WIDTHS, n)]
        if found and all(table[name].dtype.kind in "fiu" for name in found):
            return found
    raise InputError(
        path,
        f"no columns with the names of latents ({_shown(table)})",
        "z_0, z_1 ... or mean_0, mean_1 ...",
        "Name them with `columns`.",
    )


def numbered(table: Columns, pattern: str) -> list[str]:
    """Columns whose names are alike but for a number, in its order.

    Args:
        table: The columns.
        pattern: A regular expression with the number as its group.

    Returns:
        Their names.
    """
    matches = [match for name in table if (match := re.fullmatch(pattern, name))]
    return [match[0] for match in sorted(matches, key=lambda match: int(match[1]))]


def numbers(path: Path, table: Columns, names: Sequence[str]) -> Float[Tensor, "n c"]:
    """Some columns as one array of finite numbers.

    Args:
        path: The file, for messages.
        table: Its columns.
        names: Which.

    Returns:
        One row per row of the table.

    Raises:
        InputError: If there is something else in them.
    """
    for name in names:
        values = table[name]
        if values.dtype.kind not in "fiu":
            raise InputError(path, f"text in column {name}", "numbers", "Check `columns`.")
        bad = np.flatnonzero(~np.isfinite(values))
        if len(bad):
            raise InputError(
                path,
                f"{name} = {values[bad[0]]}",
                "finite numbers",
                "Leave the particle out of table and particles.",
                row=f"row {bad[0] + 1}",
            )
    return torch.from_numpy(np.stack([table[name] for name in names], axis=1)).float()


def rows_of(path: Path, table: Columns, stack: ParticleStack) -> Int[np.ndarray, " n"]:
    """The row of each particle in a table: by its name where the table has names.

    Args:
        path: The file, for messages.
        table: Its columns.
        stack: The particles.

    Returns:
        One row per particle.

    Raises:
        InputError: If a particle has no row, or without names their numbers differ.
    """
    length = len(next(iter(table.values())))
    if "uid" in table and stack.source.suffix == ".cs":
        wanted = read_cs(stack.source)["uid"][stack.source_rows[stack.offsets[:-1].numpy()]]
        given = table["uid"]
    elif "id" in table:
        wanted, given = stack.ids, table["id"].astype(np.str_)
    elif "rlnImageName" in table:
        wanted, given = stack.ids, _image_ids(path, table["rlnImageName"])
    elif length == len(stack):
        return np.arange(length)
    else:
        raise InputError(
            path,
            f"{length} rows",
            f"one for each of the {len(stack)} particles of {stack.source}",
            "If the program used some of the particles, say which with `ind`.",
        )
    place = {name: row for row, name in enumerate(given.tolist())}
    missing = [name for name in wanted.tolist() if name not in place]
    if missing:
        raise InputError(
            path,
            f"no row of particle {missing[0]}, and {len(missing) - 1} more",
            f"one for each of the {len(stack)} particles of {stack.source}",
            "Choose the particles that have one with `ind`.",
        )
    return np.array([place[name] for name in wanted.tolist()])


def _image_ids(path: Path, names: np.ndarray) -> np.ndarray:
    index, files = split_image_names(names.astype(np.str_))
    return ImageNames(path, files, index).ids


def _shown(table: Columns) -> str:
    names = [name for name, values in table.items() if values.dtype.kind in "fiu"]
    return ", ".join(names[:12]) + (" ..." if len(names) > 12 else "") or "no numbers"
