"""How far a table moved from its start."""

import numpy as np
from jaxtyping import Float

from cryolatent.analysis.summary import TableMovement
from cryolatent.runs.run import Run


def table_movement(run: Run) -> TableMovement | None:
    """Compare a finished run's table with its start.

    Args:
        run: A finished run.

    Returns:
        The movement; None if the run has no table, or its start was not kept.
    """
    start = run.table_start()
    if start is None:
        return None
    rows = run.options.posterior.row_options
    first, last = (d.mean.numpy() for d in (start.distribution, run.latents().distribution))
    return movement(first, last, frozen=rows is not None and rows.table_learning_rate == 0)


def movement(
    first: Float[np.ndarray, "n zdim"], last: Float[np.ndarray, "n zdim"], *, frozen: bool = False
) -> TableMovement:
    """Compare latents before and after.

    Args:
        first: Means before.
        last: Means after, of the same particles.
        frozen: Whether they were not trained.

    Returns:
        Correlation and displacement over all entries.
    """
    before, after = first.astype(float).ravel(), last.astype(float).ravel()
    displacement = float(np.abs(after - before).mean())
    spread, end = float(before.std()), float(after.std())
    correlation = None
    if spread > 0 and end > 0:
        product = ((before - before.mean()) * (after - after.mean())).mean()
        correlation = float(np.clip(product / (spread * end), -1, 1))
    return TableMovement(
        correlation=correlation,
        displacement=displacement,
        displacement_of_spread=displacement / spread if spread > 0 else None,
        frozen=frozen,
    )
