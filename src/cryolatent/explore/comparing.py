"""The same particles in two runs, and two sets of particles of one run."""

from typing import Any

import numpy as np

from cryolatent.analysis.agreement import adjusted_rand_index
from cryolatent.analysis.set_difference import set_differences
from cryolatent.errors import InputError
from cryolatent.explore.explored import Explored
from cryolatent.explore.questions import AcrossQuestion, SetsQuestion

ASIDE = ("cluster", "state", "view_longitude_degrees", "view_latitude_degrees")


def contingency_answer(explored: Explored, question: AcrossQuestion) -> dict[str, Any]:
    """How the states of two runs share particles.

    Args:
        explored: The run.
        question: The other run, and which particles; all if none are selected.

    Returns:
        Counts, a row for each state of this run and a column for each of the other; and of all
        particles the clusterings' adjusted Rand index. JSON values.

    Raises:
        InputError: If the runs share no particle.
    """
    other, rows = explored.other(question.other), explored.rows_in(question.other)
    both = rows >= 0
    if not both.any():
        raise InputError(
            other.run.path, "no particle of this run", "some", "Compare runs on the same file."
        )
    chosen = both & explored.mask(question.selection) if question.selection.steps else both
    own = explored.column("cluster").values[chosen].astype(int)
    theirs = other.column("cluster").values[rows[chosen]].astype(int)
    shape = [len(one.findings.summary.clusters) for one in (explored, other)]
    counts = np.zeros(shape, dtype=int)
    np.add.at(counts, (own, theirs), 1)
    return {
        "counts": counts.tolist(),
        "particles": int(chosen.sum()),
        "shared": int(both.sum()),
        "ari": None if question.selection.steps else adjusted_rand_index(own, theirs),
    }


def sets_answer(explored: Explored, question: SetsQuestion) -> dict[str, Any]:
    """In what two sets of particles differ.

    Args:
        explored: The run.
        question: The sets.

    Returns:
        Sizes, how many are in both, and the quantities, latents first; JSON values.

    Raises:
        InputError: If a set is too small.
    """
    first = explored.mask(question.first)
    second = ~first if question.second is None else explored.mask(question.second)
    found = set_differences(quantities(explored), first, second)
    return {
        "first": int(first.sum()),
        "second": int(second.sum()),
        "both": int((first & second).sum()),
        "differences": [one.model_dump() for one in found],
    }


def quantities(explored: Explored) -> dict[str, np.ndarray]:
    """What sets of particles are compared by.

    Args:
        explored: The run.

    Returns:
        Blocks of columns by name: all latents together and one by one, what else is believed, the
        defocus, and the views, opposite ones being the same.
    """
    means = explored.means
    found = {"all latents": means.astype(float)} if means.shape[1] > 1 else {}
    for column in explored.columns(of_file=True):
        wanted = column.origin == "belief" and column.name not in ASIDE and not column.groups
        # a column that says the same of all says nothing
        if wanted and np.nanmin(column.values) < np.nanmax(column.values):
            found[column.name] = column.values[:, None]
    if explored.has_particles:
        first = explored.stack.offsets[:-1]
        ctf, views = explored.stack.ctf, explored.stack.poses.rotations[first, 2].double()
        defocus = (ctf.defocus_u_angstrom + ctf.defocus_v_angstrom)[first] / 2
        found["defocus (Å)"] = defocus.double().numpy()[:, None]
        found["views"] = (views[:, :, None] * views[:, None, :]).flatten(1).numpy()
    return found
