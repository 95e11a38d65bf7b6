"""Results of RECOVAR: latent coordinates, mean and principal volumes."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from cryolatent.data import ParticleStack, open_particles
from cryolatent.errors import InputError
from cryolatent.importers.directory import Foreign
from cryolatent.importers.subspace import read_subspace, write_rows
from cryolatent.io.pickles import read_pickles
from cryolatent.models.distributions import Delta
from cryolatent.models.latents import Latents
from cryolatent.runs.run import Run

COORDINATES = ("latent_coords", "zs")
"""What embeddings.pkl calls the coordinates, newest name first."""

NO_VOLUMES = "output/volumes has no mean.mrc or too few eigen_posNNNN.mrc, so no volumes are drawn."


@dataclass(frozen=True)
class Results:
    """A folder that ``recovar pipeline`` wrote. Its params.pkl, which holds code, is not opened.

    Args:
        folder: The folder.
    """

    folder: Path

    @property
    def about(self) -> dict[str, Any]:
        """What model/metadata.json says of the run, which older versions do not write."""
        try:
            found = json.loads((self.folder / "model" / "metadata.json").read_text())
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    @property
    def table(self) -> Path:
        """The file of coordinates of older versions."""
        return self.folder / "model" / "embeddings.pkl"

    @cached_property
    def embeddings(self) -> dict[int, Path | np.ndarray]:
        """For each number of dimensions its coordinates: an array, or the file that holds it.

        Raises:
            InputError: If there are none, or embeddings.pkl asks for anything but arrays.
        """
        found: dict[int, Path | np.ndarray] = {
            int(match[1]): file
            for file in self.folder.glob("model/zdim_*/latent_coords.npy")
            if (match := re.fullmatch(r"zdim_(\d+)", file.parent.name))
        }
        if not found and self.table.is_file():
            stored = read_pickles(self.table, "RECOVAR's embeddings.pkl", settings=True)[0]
            by_name = stored if isinstance(stored, dict) else {}
            of_size = next((by_name[name] for name in COORDINATES if name in by_name), {})
            found = {int(key): of_size[key] for key in of_size if key.isdigit()}
        if not found:
            raise InputError(
                self.folder,
                "no model/zdim_N/latent_coords.npy and no model/embeddings.pkl with coordinates",
                "a folder that recovar pipeline wrote",
                "Give its -o; of other programs see cryolatent import latents.",
            )
        return found

    def coordinates(self, zdim: int | None) -> tuple[Path, Float[np.ndarray, "n zdim"]]:
        """The latents of one number of dimensions.

        Args:
            zdim: How many; may be left out where there is one.

        Returns:
            The file, and a row for each particle of the file that RECOVAR was given, in its order;
            not a number for those that it left out.

        Raises:
            InputError: If there are none or several of them, or the array is no such table.
        """
        known = sorted(self.embeddings)
        if zdim is None and len(known) == 1:
            zdim = known[0]
        if zdim not in self.embeddings:
            asked = "several" if zdim is None else f"no zdim {zdim}"
            raise InputError(
                self.folder,
                f"{asked} among zdim {', '.join(map(str, known))}",
                "one number of dimensions",
                "Choose one as `zdim`.",
            )
        stored = self.embeddings[zdim]
        path = stored if isinstance(stored, Path) else self.table
        try:
            values = np.load(stored, allow_pickle=False) if isinstance(stored, Path) else stored
        except (OSError, ValueError) as error:
            found = f"no array of numbers ({str(error).splitlines()[0]})"
            raise InputError(path, found, "latent coordinates", "Run RECOVAR again.") from None
        numeric = isinstance(values, np.ndarray) and values.dtype.kind == "f"
        if not numeric or values.ndim != 2 or values.shape[1] != zdim:
            found = f"an array of shape {getattr(values, 'shape', ())}"
            raise InputError(path, found, f"numbers, {zdim} for each particle", "Check the folder.")
        return path, values

    def volumes(self, zdim: int) -> tuple[Path, ...]:
        """Mean and the first principal volumes.

        Args:
            zdim: How many.

        Returns:
            Their files; none unless all are there.
        """
        folder = self.folder / "output" / "volumes"
        names = ["mean.mrc", *(f"eigen_pos{number:04d}.mrc" for number in range(zdim))]
        files = tuple(folder / name for name in names)
        return files if all(file.is_file() for file in files) else ()


def import_recovar(
    folder: Path,
    output: Path,
    particles: Path | None = None,
    reading: Mapping[str, Any] | None = None,
    *,
    zdim: int | None = None,
    without_particles: bool = False,
) -> Run:
    """Make a run of results of RECOVAR.

    Its volume at a latent is the mean plus every principal volume times its coordinate.

    Args:
        folder: What ``recovar pipeline`` wrote.
        output: New folder.
        particles: The particles that it was given; their box need not be that of the volumes.
        reading: Options of `cryolatent.data.open_particles`.
        zdim: Number of dimensions; may be left out where it was run with one.
        without_particles: Whether to do without the images.

    Returns:
        A finished run.

    Raises:
        InputError: If a file is missing or would run code, or files do not fit each other.
    """
    Run.check_free(output)
    results, reading = Results(folder), dict(reading or {})
    table, values = results.coordinates(zdim)
    stack = None
    if not without_particles:
        if particles is None:
            original = results.about.get("original_particles_file")
            known = f" ({original})" if original else ""
            raise InputError(
                folder,
                "no `particles`",
                f"the file that RECOVAR was given{known}",
                "Name it, or say `without_particles`.",
            )
        stack = open_particles(particles, **reading)
    by_index = getattr(reading.get("tables"), "ind", None) is not None
    rows, ids = chosen_rows(table, values, stack, by_index=by_index)
    distribution = Delta(torch.from_numpy(values[rows]).float())
    files = results.volumes(values.shape[1])
    volumes = read_subspace(files[0], files[1:], values.shape[1], stack) if files else None
    version = results.about.get("recovar_version", "")
    words = [f"RECOVAR {version}".strip(), folder.resolve().name, f"zdim {values.shape[1]}"]
    latents = Latents(ids, distribution, None, distribution.kl())
    remarks = () if volumes else (NO_VOLUMES,)
    foreign = Foreign(", ".join(words), table, latents, stack, remarks=remarks)
    return write_rows(output, reading, foreign, volumes)


def chosen_rows(
    path: Path,
    values: Float[np.ndarray, "m zdim"],
    stack: ParticleStack | None,
    *,
    by_index: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """The row of each particle.

    Args:
        path: The file of coordinates, for messages.
        values: A row for each particle of the file that RECOVAR was given, up to the last that it
            used; not a number for those that it left out.
        stack: The particles; None for all that have a row.
        by_index: Whether they were chosen by an index, and are not the whole file.

    Returns:
        Rows, and the particles' names: without a stack their rows, counted from one.

    Raises:
        InputError: If the numbers differ, or a particle was left out.
    """
    used = np.asarray(np.isfinite(values).all(axis=1))
    if stack is None:
        rows = np.flatnonzero(used)
        return rows, (rows + 1).astype(np.str_)
    rows = stack.source_rows[stack.offsets[:-1].numpy()]
    whole = by_index or len(values) == len(np.unique(rows))
    if len(values) <= rows.max() or not whole:
        raise InputError(
            path,
            f"{len(values)} rows",
            f"one for each of the {len(stack)} particles of {stack.source}",
            "If RECOVAR used some of the particles, say which with `ind`.",
        )
    missing = np.flatnonzero(~used[rows])
    if len(missing):
        raise InputError(
            path,
            f"no latent of particle row {rows[missing[0]] + 1}, and of {len(missing) - 1} more",
            f"one for each of the {len(stack)} particles of {stack.source}",
            "RECOVAR left them out: give the `ind` that it was run with.",
        )
    return rows, stack.ids
