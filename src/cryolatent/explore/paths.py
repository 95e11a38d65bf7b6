"""Paths between two particles through latent space, shown and written as volumes."""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from cryolatent.errors import InputError
from cryolatent.explore.explored import Explored
from cryolatent.explore.exporting import new_file
from cryolatent.explore.questions import PathFilesQuestion, PathQuestion
from cryolatent.io import write_volume
from cryolatent.io.files import new_folder


def path_answer(explored: Explored, question: PathQuestion) -> dict[str, Any]:
    """Places along a path.

    Args:
        explored: The run.
        question: Which path.

    Returns:
        Latents, and where on the map the particle nearest to each lies; JSON values.

    Raises:
        InputError: If the run has states alone, or an end is no particle.
    """
    places = _places(explored, question)
    rows = _nearest(explored, places)
    x, y = explored.column(question.x).values[rows], explored.column(question.y).values[rows]
    return {"latents": places.tolist(), "at": np.stack([x, y], axis=1).tolist()}


def write_path(explored: Explored, question: PathFilesQuestion, folder: Path) -> dict[str, Any]:
    """Write the volumes along a path into a folder ``NAME``: ``frame_000.mrc`` ...

    Args:
        explored: The run.
        question: Which path.
        folder: Where to write, and nowhere else.

    Returns:
        Where they are; JSON values.

    Raises:
        InputError: As of `path_answer`, or if the name is not that of a new folder.
    """
    places, target = _places(explored, question.along), new_file(folder, question.name, "")
    pixel = explored.run.manifest.pixel_size_angstrom
    with new_folder(target) as partial:
        for number, place in enumerate(places):
            write_volume(partial / f"frame_{number:03d}.mrc", explored.decoded(place), pixel)
    return {"path": str(target), "frames": len(places)}


def _places(explored: Explored, question: PathQuestion) -> Float[np.ndarray, "f zdim"]:
    if not explored.is_continuous:
        found, expected = "a run of states alone", "a latent space with dimensions"
        raise InputError(explored.run.path, found, expected, "Look at its states instead.")
    missing = [row for row in question.ends if row >= explored.rows]
    if missing:
        found, expected = f"row {missing[0]}", f"0 to {explored.rows - 1}"
        raise InputError(explored.run.path, found, expected, "Choose another.")
    first, last = explored.means[list(question.ends)]
    return np.linspace(first, last, question.frames)


def _nearest(explored: Explored, places: Float[np.ndarray, "f zdim"]) -> Int[np.ndarray, " f"]:
    """The particle nearest to each place."""
    return np.array([np.square(explored.means - place).sum(axis=1).argmin() for place in places])
