"""Surfaces of volumes whose shape is known."""

import numpy as np
import pytest

from cryolatent.report.surfaces import PIXELS, equal_levels, surface

BOX = 24


def ball(radius: float, centre: tuple[float, float, float] = (0, 0, 0)) -> np.ndarray:
    axis = np.arange(BOX) - (BOX - 1) / 2
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    squared = (z - centre[0]) ** 2 + (y - centre[1]) ** 2 + (x - centre[2]) ** 2
    return (radius - np.sqrt(squared)).astype(np.float32)


def test_levels_enclose_the_same_volume() -> None:
    volumes = [ball(6.0), 3 * ball(6.0) - 7, ball(4.0, (0, 3, 0))]
    levels = equal_levels(volumes)
    enclosed = [int((v > level).sum()) for v, level in zip(volumes, levels, strict=True)]
    assert enclosed[0] == pytest.approx(enclosed[1], abs=24)
    assert enclosed[0] == pytest.approx(enclosed[2], rel=0.1)
    assert equal_levels([]) == []


def test_a_ball_is_a_disc_that_is_lit_from_the_left_above() -> None:
    seen = surface(ball(6.0), 0.0, "#808080")
    opaque = seen[..., 3] > 127
    scale = PIXELS / BOX
    assert opaque.sum() == pytest.approx(np.pi * (6 * scale) ** 2, rel=0.06)
    middle, reach = PIXELS // 2, round(3.5 * scale)
    grey = seen[..., 0].astype(int)
    assert grey[middle - reach, middle - reach] > grey[middle + reach, middle + reach] + 30
    assert grey[middle, middle] > grey[middle + reach, middle + reach]


def test_views_are_along_z_and_x() -> None:
    """A ball beside the middle along y is there in both; one along x is behind it in the second."""
    aside = ball(3.0, (0, 6, 0))
    for turned in (False, True):
        rows = np.nonzero(surface(aside, 0.0, "#808080", turned=turned)[..., 3] > 127)[0]
        assert rows.mean() > 0.65 * PIXELS
    along_x = ball(3.0, (0, 0, 6))
    columns = np.nonzero(surface(along_x, 0.0, "#808080")[..., 3] > 127)[1]
    assert columns.mean() > 0.65 * PIXELS
    columns = np.nonzero(surface(along_x, 0.0, "#808080", turned=True)[..., 3] > 127)[1]
    assert columns.mean() == pytest.approx(PIXELS / 2, abs=3)
    # what is nearer hides what is behind, and is lighter
    near, far = (surface(ball(3.0, (z, 0, 0)), 0.0, "#808080").max() for z in (-6, 6))
    assert near > far or near == 255


def test_an_empty_contour_is_drawn_as_nothing() -> None:
    assert not surface(ball(3.0), 99.0, "#808080")[..., 3].any()
