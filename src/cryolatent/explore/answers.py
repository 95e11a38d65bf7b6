"""What the page is told: each question's numbers, without anything of the web."""

from typing import Any

import numpy as np
import pandas as pd

from cryolatent.errors import InputError
from cryolatent.explore.density import Window, density
from cryolatent.explore.explored import Explored
from cryolatent.explore.questions import MapQuestion, NearestQuestion, TableQuestion
from cryolatent.explore.selection import Selection
from cryolatent.explore.wire import pack

MOST_POINTS = 20_000
MARGIN = 0.04


def map_message(explored: Explored, question: MapQuestion) -> bytes:
    """Particles in a rectangle of a map: all counted in bins, and as points if they are few.

    Args:
        explored: The run.
        question: Which.

    Returns:
        A message of `pack`: planes ``count``, ``chosen``, ``value``, ``purity``; and ``x``, ``y``,
        ``shade``, ``mark`` of each point.
    """
    x, y = explored.column(question.x).values, explored.column(question.y).values
    edges = question.window or whole(x, y)
    window = Window(*edges, *question.bins)
    chosen = explored.mask(question.selection)
    column = None if question.colour is None else explored.column(question.colour)
    values = None if column is None else column.values
    groups = 0 if column is None else len(column.groups)
    among, bins = window.bins(x, y)
    found = density(among, bins, window.size, chosen, values, groups)
    arrays = {
        "count": found.count,
        "chosen": found.chosen,
        "value": found.value,
        "purity": found.purity,
    }
    if len(among) <= MOST_POINTS:
        shade = np.full(len(among), np.nan) if values is None else values[among]
        arrays |= {
            "x": x[among].astype(np.float32),
            "y": y[among].astype(np.float32),
            "shade": shade.astype(np.float32),
            "mark": chosen[among].astype(np.uint8),
        }
    meta = {
        "window": list(edges),
        "bins": list(question.bins),
        "inside": len(among),
        "range": None if column is None else list(column.range),
    }
    return pack(meta, **arrays)


def whole(x: np.ndarray, y: np.ndarray) -> tuple[float, float, float, float]:
    """A rectangle around all particles, with a margin.

    Args:
        x: Horizontal positions, NaN where there is none.
        y: Vertical positions.

    Returns:
        Left, right, low, high.
    """
    edges = []
    for values in (x, y):
        known = values[np.isfinite(values)]
        low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)
        margin = MARGIN * (high - low) or 0.5
        edges += [low - margin, high + margin]
    left, right, low, high = edges
    return left, right, low, high


def selection_answer(explored: Explored, selection: Selection) -> dict[str, Any]:
    """Say what a selection holds.

    Args:
        explored: The run.
        selection: What was done.

    Returns:
        Exact count, and how many of each cluster; JSON values.
    """
    chosen = explored.mask(selection)
    cluster = explored.column("cluster").values[chosen].astype(int)
    clusters = explored.findings.summary.clusters
    counts = np.bincount(cluster, minlength=len(clusters)).tolist()
    return {
        "count": int(chosen.sum()),
        "of": explored.rows,
        "states": [{"number": c.number, "count": counts[c.number]} for c in clusters],
    }


def table_answer(explored: Explored, question: TableQuestion) -> str:
    """Columns of the selected particles, of all if none is selected.

    Args:
        explored: The run.
        question: Which.

    Returns:
        Comma-separated values, a line per particle and a head.
    """
    chosen = explored.mask(question.selection)
    rows = np.flatnonzero(chosen) if question.selection.steps else np.arange(explored.rows)
    columns = {name: explored.column(name) for name in question.columns}
    table = pd.DataFrame({"id": explored.latents.ids[rows]})
    for name, column in columns.items():
        values = column.values[rows]
        grouped = column.groups and name != "cluster"
        table[name] = (
            pd.Categorical.from_codes(
                np.where(np.isfinite(values), values, -1).astype(int), list(column.groups)
            )
            if grouped
            else values
        )
    return table.to_csv(index=False)


def nearest_answer(explored: Explored, question: NearestQuestion) -> dict[str, Any]:
    """Find the particle nearest to a place.

    Args:
        explored: The run.
        question: Which.

    Returns:
        Its row, name, position on the map, and cluster; JSON values.
    """
    x, y = explored.column(question.x).values, explored.column(question.y).values
    squared = ((x - question.at[0]) / question.scale[0]) ** 2
    squared = squared + ((y - question.at[1]) / question.scale[1]) ** 2
    if not np.isfinite(squared).any():
        raise InputError(explored.run.path, "no particle on this map", "some", "Choose another.")
    row = int(np.nanargmin(squared))
    return {
        "row": row,
        "id": str(explored.latents.ids[row]),
        "at": [float(x[row]), float(y[row])],
        "cluster": int(explored.column("cluster").values[row]),
    }
