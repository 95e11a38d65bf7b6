"""Particles on a map: counted in bins while they are many, as points when they are few."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int


@dataclass(frozen=True)
class Window:
    """A rectangle of a map, and how many bins it has along each axis.

    Args:
        left: Lowest horizontal value.
        right: Highest.
        low: Lowest vertical value.
        high: Highest.
        columns: Bins across.
        rows: Bins up, the first at the low end.
    """

    left: float
    right: float
    low: float
    high: float
    columns: int
    rows: int

    def bins(
        self, x: Float[np.ndarray, " n"], y: Float[np.ndarray, " n"]
    ) -> tuple[Int[np.ndarray, " m"], Int[np.ndarray, " m"]]:
        """The points inside, and the bin of each.

        Args:
            x: Horizontal positions.
            y: Vertical positions.

        Returns:
            Positions of the points inside among all, and numbers of their bins, row by row.
        """
        seen = (x >= self.left) & (x <= self.right) & (y >= self.low) & (y <= self.high)
        among = np.flatnonzero(seen)
        across = (x[among] - self.left) * (self.columns / (self.right - self.left))
        up = (y[among] - self.low) * (self.rows / (self.high - self.low))
        column = np.minimum(across.astype(np.int64), self.columns - 1)
        row = np.minimum(up.astype(np.int64), self.rows - 1)
        return among, row * self.columns + column

    @property
    def size(self) -> int:
        """Number of bins."""
        return self.columns * self.rows


@dataclass(frozen=True)
class Density:
    """What lies in each bin.

    Args:
        count: Particles.
        chosen: Those of them that are selected.
        value: Mean of a column, or the group that most are in; NaN in empty bins.
        purity: Share of the particles in that group; one for a column of numbers.
    """

    count: Float[np.ndarray, " b"]
    chosen: Float[np.ndarray, " b"]
    value: Float[np.ndarray, " b"]
    purity: Float[np.ndarray, " b"]


def density(
    among: Int[np.ndarray, " m"],
    bins: Int[np.ndarray, " m"],
    size: int,
    chosen: Bool[np.ndarray, " n"],
    values: Float[np.ndarray, " n"] | None,
    groups: int = 0,
) -> Density:
    """Count particles in bins.

    Args:
        among: Particles to count, as positions among all.
        bins: The bin of each of those.
        size: Number of bins.
        chosen: For each of all particles whether it is selected.
        values: A column of all particles; None if bins are not coloured.
        groups: How many groups the column numbers from zero; none if it is one of quantities.

    Returns:
        Values of all bins, as float32.
    """
    count = np.bincount(bins, minlength=size)
    selected = np.bincount(bins, weights=chosen[among], minlength=size)
    value, purity = np.full(size, np.nan), np.ones(size)
    if values is not None:
        shown = values[among]
        known = np.isfinite(shown)
        here, shown = bins[known], shown[known]
        with np.errstate(invalid="ignore", divide="ignore"):
            if groups:
                flat = np.bincount(here * groups + shown.astype(np.int64), minlength=size * groups)
                table = flat.reshape(size, groups)
                total = table.sum(axis=1)
                value = np.where(total > 0, table.argmax(axis=1), np.nan)
                purity = table.max(axis=1) / total
            else:
                total = np.bincount(here, minlength=size)
                value = np.bincount(here, weights=shown, minlength=size) / total
    planes = (count, selected, value, np.nan_to_num(purity))
    return Density(*(plane.astype(np.float32) for plane in planes))
