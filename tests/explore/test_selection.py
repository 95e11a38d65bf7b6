"""Selections against an independent answer."""

import numpy as np
import pytest
from matplotlib.path import Path as Polygon
from pydantic import ValidationError

from cryolatent.explore.selection import MOST_POINTS, Selection, inside

RNG = np.random.default_rng(0)
TABLE = {"x": RNG.normal(size=2000), "y": RNG.normal(size=2000), "k": np.arange(2000) % 3.0}
TABLE["x"][:5] = np.nan


def steps(*made: tuple[str, dict]) -> Selection:
    return Selection.model_validate({"steps": [{"how": h, "region": r} for h, r in made]})


def chosen(selection: Selection) -> np.ndarray:
    return selection.mask(TABLE.__getitem__, 2000)


def group(*values: int) -> dict:
    return {"kind": "members", "column": "k", "values": values}


def within(low: float, high: float) -> dict:
    ranges = [{"column": "x", "low": low, "high": high}]
    return {"kind": "between", "ranges": ranges}


@pytest.mark.parametrize("corners", [3, 4, 7, 60])
def test_lasso_is_matplotlibs_polygon(corners: int) -> None:
    # random corners make polygons that cross themselves
    points = 1.5 * np.random.default_rng(corners).normal(size=(corners, 2))
    region = {"kind": "lasso", "x": "x", "y": "y", "points": points.tolist()}
    found = chosen(steps(("replace", region)))
    closed = Polygon(np.concatenate([points, points[:1]]), closed=True)
    at = np.stack([np.nan_to_num(TABLE["x"], nan=1e9), TABLE["y"]], axis=1)
    # matplotlib fills by winding in drawing and by the even-odd rule in this question
    np.testing.assert_array_equal(found, closed.contains_points(at))
    assert 0 < found.sum() < 2000
    assert not found[:5].any()


def test_edges_that_are_level_or_upright() -> None:
    square = np.array([[0.0, 0.0], [2.0, 0.0], [2.0, 1.0], [0.0, 1.0]])
    x, y = np.array([1.0, 1.0, 3.0, -1.0, 1.0]), np.array([0.5, 1.5, 0.5, 0.5, -0.5])
    assert inside(x, y, square).tolist() == [True, False, False, False, False]
    # a notch: up, down and up again at equal heights
    comb = np.array([[0, 0], [6, 0], [6, 2], [4, 2], [4, 1], [2, 1], [2, 2], [0, 2]], dtype=float)
    x, y = np.array([1.0, 3.0, 5.0, 3.0]), np.array([1.5, 1.5, 1.5, 0.5])
    assert inside(x, y, comb).tolist() == [True, False, True, True]


def test_steps_are_set_operations() -> None:
    low, k = TABLE["x"] <= 0, TABLE["k"]
    below = within(-9.0, 0.0)
    assert not chosen(Selection()).any()
    assert (chosen(steps(("add", group(1)))) == (k == 1)).all()
    assert (chosen(steps(("add", group(1)), ("add", below))) == ((k == 1) | low)).all()
    assert (chosen(steps(("add", group(0, 1)), ("keep", below))) == ((k < 2) & low)).all()
    assert (
        chosen(steps(("add", group(0, 1)), ("remove", below))) == ((k < 2) & ~low & (k < 2))
    ).all()
    last = steps(("add", group(0)), ("remove", below), ("replace", group(2)), ("add", below))
    assert (chosen(last) == ((k == 2) | low)).all()


def test_a_range_holds_its_ends() -> None:
    value = float(TABLE["x"][7])
    found = chosen(steps(("replace", within(value, value))))
    assert np.flatnonzero(found).tolist() == [7]


@pytest.mark.parametrize(
    "region",
    [
        {"kind": "lasso", "x": "x", "y": "y", "points": [[0, 0], [1, 1]]},
        {"kind": "lasso", "x": "x", "y": "y", "points": [[0, 0]] * (MOST_POINTS + 1)},
        {"kind": "lasso", "x": "x", "y": "y", "points": [[0, 0], [1, 1], [float("nan"), 1]]},
        {"kind": "between", "ranges": []},
        {"kind": "between", "ranges": [{"column": "x", "low": float("-inf"), "high": 0}]},
        {"kind": "members", "column": "k", "values": []},
        {"kind": "everything"},
    ],
)
def test_regions_that_make_no_sense(region: dict) -> None:
    with pytest.raises(ValidationError):
        steps(("replace", region))
