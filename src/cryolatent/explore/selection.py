"""Selections of particles: regions of a map and ranges of columns, put together step by step.

A selection is what was done, not which rows it met: it acts on every row of a run, whatever is
drawn, and can be undone, repeated and written down.
"""

from collections.abc import Callable
from typing import Annotated, Literal

import numpy as np
from jaxtyping import Bool, Float
from pydantic import Field, model_validator

from cryolatent.runs.finding import Record

MOST_POINTS, MOST_STEPS, MOST_VALUES, MOST_RANGES = 5000, 200, 1000, 8
DEEPEST = 4
Columns = Callable[[str], np.ndarray]
"""Finds a column by its name, one number per particle; NaN where there is none."""

Elsewhere = Callable[[int, "Selection"], np.ndarray]
"""Finds for each particle whether it is selected in the run of a number."""


class Lasso(Record):
    """Particles inside a polygon on a map."""

    kind: Literal["lasso"]

    x: str
    """Column of the horizontal axis."""

    y: str
    """Column of the vertical axis."""

    points: Annotated[tuple[tuple[float, float], ...], Field(min_length=3, max_length=MOST_POINTS)]
    """Corners, in the columns' units; the last is joined to the first."""

    def holds(self, columns: Columns) -> Bool[np.ndarray, " n"]:
        """For each particle whether it is inside."""
        return inside(columns(self.x), columns(self.y), np.array(self.points))


class Range(Record):
    """Values of a column."""

    column: str
    """Name of the column."""

    low: float
    """Lowest value."""

    high: float
    """Highest value."""


class Between(Record):
    """Particles with columns within ranges, ends included: a threshold, or a rectangle of a map."""

    kind: Literal["between"]

    ranges: Annotated[tuple[Range, ...], Field(min_length=1, max_length=MOST_RANGES)]
    """All of them hold."""

    def holds(self, columns: Columns) -> Bool[np.ndarray, " n"]:
        """For each particle whether all ranges hold it."""
        tests = [
            (columns(one.column) >= one.low) & (columns(one.column) <= one.high)
            for one in self.ranges
        ]
        return np.logical_and.reduce(tests)


class Members(Record):
    """Particles of groups, such as states."""

    kind: Literal["members"]

    column: str
    """The column that holds the groups' numbers."""

    values: Annotated[tuple[int, ...], Field(min_length=1, max_length=MOST_VALUES)]
    """Numbers of the groups."""

    def holds(self, columns: Columns) -> Bool[np.ndarray, " n"]:
        """For each particle whether it is in one of them."""
        return np.isin(columns(self.column), self.values)


class Shared(Record):
    """Particles that another run has as well, where they are selected there."""

    kind: Literal["shared"]

    run: Annotated[int, Field(ge=0)]
    """Number of the other run."""

    steps: Annotated[tuple["Step", ...], Field(max_length=MOST_STEPS)]
    """What was done there."""

    @model_validator(mode="after")
    def _is_shallow(self) -> "Shared":
        if self.depth > DEEPEST:
            raise ValueError(f"selections of runs within each other, {DEEPEST} deep at most")
        return self

    @property
    def depth(self) -> int:
        """How many runs lie within each other."""
        inner = [one.region.depth for one in self.steps if isinstance(one.region, Shared)]
        return 1 + max(inner, default=0)


Region = Annotated[Lasso | Between | Members | Shared, Field(discriminator="kind")]


class Step(Record):
    """A region, and what it does to what was selected before."""

    how: Literal["replace", "add", "remove", "keep"]
    """Select the region alone; it too; all but it; only what is in it as well."""

    region: Region
    """The region."""


class Selection(Record):
    """Steps, the first of them on an empty selection."""

    steps: Annotated[tuple[Step, ...], Field(max_length=MOST_STEPS)] = ()
    """In the order in which they were made."""

    def mask(
        self, columns: Columns, rows: int, elsewhere: "Elsewhere | None" = None
    ) -> Bool[np.ndarray, " n"]:
        """The particles that are selected.

        Args:
            columns: Finds a column.
            rows: Number of particles.
            elsewhere: Finds the particles that are selected in another run; None of a run alone.

        Returns:
            For each of them whether it is selected.
        """
        chosen = np.zeros(rows, dtype=bool)
        replaced = [at for at, step in enumerate(self.steps) if step.how == "replace"]
        for step in self.steps[replaced[-1] if replaced else 0 :]:
            region = step.region
            if isinstance(region, Shared):
                if elsewhere is None:
                    raise ValueError("a selection of another run, and no other run")
                held = elsewhere(region.run, Selection(steps=region.steps))
            else:
                held = region.holds(columns)
            if step.how == "replace":
                chosen = held
            elif step.how == "add":
                chosen = chosen | held
            else:
                chosen = chosen & (held if step.how == "keep" else ~held)
        return chosen


def inside(
    x: Float[np.ndarray, " n"], y: Float[np.ndarray, " n"], corners: Float[np.ndarray, "c 2"]
) -> Bool[np.ndarray, " n"]:
    """Which points lie inside a polygon that may cross itself, by the even-odd rule.

    Each edge is asked of the points at its height alone, so that a million points and a lasso of
    hundreds of short edges take a fraction of a second.

    Args:
        x: Horizontal positions; a point with NaN lies outside.
        y: Vertical positions.
        corners: Of the polygon; the last is joined to the first.

    Returns:
        For each point whether it is inside.
    """
    (left, low), (right, high) = corners.min(axis=0), corners.max(axis=0)
    near = np.flatnonzero((x >= left) & (x <= right) & (y >= low) & (y <= high))
    order = near[np.argsort(y[near], kind="stable")]
    across, height = x[order].astype(float), y[order].astype(float)
    odd = np.zeros(len(order), dtype=bool)
    for (x0, y0), (x1, y1) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        first, last = np.searchsorted(height, sorted((y0, y1)))
        at = x0 + (height[first:last] - y0) * ((x1 - x0) / (y1 - y0)) if y0 != y1 else 0.0
        odd[first:last] ^= across[first:last] < at
    found = np.zeros(len(x), dtype=bool)
    found[order[odd]] = True
    return found
