"""The columns of a run: beliefs, places on maps, and what the particle file says."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from jaxtyping import Float

from cryolatent.analysis.table import believed, recorded
from cryolatent.data import ParticleStack
from cryolatent.report.findings import Findings

MOST_GROUPS = 24
Origin = Literal["map", "belief", "truth", "file"]
RENAMED = {"state": "true_state", "angle_degrees": "true_angle_degrees"}
NUMBERED = ("cluster", "true_state")
LEAST = 1e-5
"""Certainties are drawn no nearer to zero and one; single precision has little more."""
GOLDEN = 0.618033988749895
"""Its multiples modulo one fill an interval evenly."""


@dataclass(frozen=True)
class Column:
    """A value of each particle.

    Args:
        name: As selections have it.
        origin: Where it comes from.
        values: One per particle, NaN where there is none; numbers of groups if `groups` is not
            empty.
        groups: Names of the groups.
    """

    name: str
    origin: Origin
    values: Float[np.ndarray, " n"]
    groups: tuple[str, ...] = ()

    @property
    def range(self) -> tuple[float, float]:
        """Lowest and highest value, a hundredth of the particles left out at either end."""
        known = self.values[np.isfinite(self.values)]
        if not len(known):
            return 0.0, 1.0
        low, high = np.quantile(known, [0.01, 0.99])
        return (float(low), float(high)) if high > low else (float(low), float(low) + 1.0)

    def described(self) -> dict[str, Any]:
        """What the page is told of it."""
        known = self.values[np.isfinite(self.values)]
        extremes = [float(known.min()), float(known.max())] if len(known) else [0.0, 0.0]
        return {
            "name": self.name,
            "origin": self.origin,
            "groups": list(self.groups),
            "extremes": extremes,
        }


def run_columns(findings: Findings) -> dict[str, Column]:
    """Columns that a run's own files hold.

    Args:
        findings: An analysed run.

    Returns:
        Columns by name.
    """
    # the clusters are the states, numbered as in every other place
    found = _columns(believed(findings.run).drop(columns="state", errors="ignore"), "belief")
    truth = findings.summary.truth
    for name, values in findings.embedding.items():
        if name in ("id", "cluster"):
            continue
        known = name in RENAMED
        frame = pd.DataFrame({RENAMED.get(name, name): values})
        found |= _columns(frame, "truth" if known else "map")
    if truth is not None and "true_state" in found:
        state = found["true_state"].values
        names = (*truth.state_names, "junk")
        numbers = np.where(state < 0, len(names) - 1, state)
        found["true_state"] = Column("true_state", "truth", numbers, names)
    return found | _strips(found)


def file_columns(findings: Findings) -> dict[str, Column]:
    """Columns of the particle file.

    Args:
        findings: An analysed run.

    Returns:
        Those of numbers, and of few different words.

    Raises:
        InputError: If the file is another than the run was given.
    """
    table = recorded(findings.run)
    return {} if table is None else _columns(table, "file")


def view_columns(stack: ParticleStack) -> dict[str, Column]:
    """Where particles are seen from.

    Args:
        stack: The particles where they are believed to be.

    Returns:
        Longitude and latitude of the view in degrees, of the first of several images, and its place
        on a map, `hammer`.
    """
    # the projection's axis in the frame of the volume
    views = stack.poses.rotations[stack.offsets[:-1], 2].double().numpy()
    x, y, z = views.T
    angles = {
        "view_longitude_degrees": np.degrees(np.arctan2(y, x)),
        "view_latitude_degrees": np.degrees(np.arcsin(np.clip(z, -1, 1))),
    }
    places = dict(zip(("view_x", "view_y"), hammer(views), strict=True))
    return _columns(pd.DataFrame(angles), "belief") | _columns(pd.DataFrame(places), "map")


def hammer(views: Float[np.ndarray, "n 3"]) -> tuple[np.ndarray, np.ndarray]:
    """Directions on a map of equal areas.

    Args:
        views: Unit vectors; z is north, x in the middle of the map.

    Returns:
        Horizontal and vertical places, each from -1 to 1.

    Source:
        Hammer's projection; Snyder 1987, doi:10.3133/pp1395, p. 182.
    """
    x, y, z = views.T
    longitude, level = np.arctan2(y, x), np.sqrt(np.clip(1 - z**2, 0, 1))
    root = np.sqrt(1 + level * np.cos(longitude / 2))
    return level * np.sin(longitude / 2) / root, z / root


def _columns(table: pd.DataFrame, origin: Origin) -> dict[str, Column]:
    found = (_column(str(name), series, origin) for name, series in table.items())
    return {column.name: column for column in found if column is not None}


def _column(name: str, series: pd.Series, origin: Origin) -> Column | None:
    """A column of numbers, or of groups; None of words that are too many."""
    if name in NUMBERED:
        values = series.to_numpy().astype(float)
        groups = [f"{name} {k}" for k in range(int(np.nanmax(values)) + 1)]
        return Column(name, origin, values, tuple(groups))
    if pd.api.types.is_numeric_dtype(series.dtype):
        return Column(name, origin, series.to_numpy().astype(float))
    codes, words = pd.factorize(series, sort=True)
    if not 1 < len(words) <= MOST_GROUPS:
        return None
    return Column(name, origin, codes.astype(float), tuple(map(str, words)))


def _strips(found: dict[str, Column]) -> dict[str, Column]:
    """Clusters beside each other, and the odds of the certainty, which tell 0.99 from 0.9999."""
    cluster = found["cluster"].values
    # particles are spread evenly over the width of their cluster
    spread = np.modf(GOLDEN * np.arange(len(cluster)))[0] - 0.5
    strips = {
        "strip": Column("strip", "map", cluster + 0.8 * spread),
        "spread": Column("spread", "map", spread),
    }
    if "certainty" in found:
        sure = np.clip(found["certainty"].values, LEAST, 1 - LEAST)
        odds = np.log10(sure / (1 - sure))
        strips["certainty_log_odds"] = Column("certainty_log_odds", "map", odds)
    return strips
