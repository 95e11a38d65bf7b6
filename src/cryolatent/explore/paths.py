"""Paths between two particles through latent space, shown and written as volumes."""

import shlex
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor

from cryolatent.analysis.paths import along, populated_path
from cryolatent.analysis.series import write_series
from cryolatent.errors import InputError
from cryolatent.explore.explored import Explored
from cryolatent.explore.exporting import new_file
from cryolatent.explore.questions import PathFilesQuestion, PathQuestion
from cryolatent.report.movies import write_chimerax_series, write_movie


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
    places = _places(explored, question).numpy()
    rows = _nearest(explored, places)
    x, y = explored.column(question.x).values[rows], explored.column(question.y).values[rows]
    return {"latents": places.tolist(), "at": np.stack([x, y], axis=1).tolist()}


def write_path(explored: Explored, question: PathFilesQuestion, folder: Path) -> dict[str, Any]:
    """Write the decoded volumes along a path, their movie and a ChimeraX script into a new folder.

    Args:
        explored: The run.
        question: Which path.
        folder: Where to write, and nowhere else.

    Returns:
        Where they are, and the command that writes the same; JSON values.

    Raises:
        InputError: As of `path_answer`, or if the name is not that of a new folder.
    """
    along_ = question.along
    places, target = _places(explored, along_), new_file(folder, question.name, "")
    series = write_series(explored.run, target, places, measured=False)
    write_chimerax_series(target, {"decoded": series.shown})
    write_movie([target / file for file in series.shown], target / "movie.gif")
    first, last = (str(explored.latents.ids[row]) for row in along_.ends)
    words = ["cryolatent", "path", str(explored.run.path), "--from", first, "--to", last]
    words += ["--frames", str(along_.frames), "--way", along_.way, "--no-measured"]
    return {
        "path": str(target),
        "frames": len(places),
        "command": shlex.join([*words, "-o", str(target)]),
    }


def _places(explored: Explored, question: PathQuestion) -> Float[Tensor, "f zdim"]:
    if not explored.is_continuous:
        found, expected = "a run of states alone", "a latent space with dimensions"
        raise InputError(explored.run.path, found, expected, "Look at its states instead.")
    missing = [row for row in question.ends if row >= explored.rows]
    if missing:
        found, expected = f"row {missing[0]}", f"0 to {explored.rows - 1}"
        raise InputError(explored.run.path, found, expected, "Choose another.")
    means = explored.latents.distribution.mean
    ends = means[list(question.ends)]
    corners = populated_path(means, ends) if question.way == "populated" else ends
    return along(corners, question.frames)


def _nearest(explored: Explored, places: Float[np.ndarray, "f zdim"]) -> Int[np.ndarray, " f"]:
    """The particle nearest to each place."""
    return np.array([np.square(explored.means - place).sum(axis=1).argmin() for place in places])
