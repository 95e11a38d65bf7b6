"""What is sent to the page: bins, surfaces, columns, messages."""

import json

import numpy as np
import pandas as pd
import pytest

from cryolatent.explore.columns import _column, hammer
from cryolatent.explore.density import Window, density
from cryolatent.explore.surface import level_of, surface, usual_share
from cryolatent.explore.wire import pack


def ball(box: int, radius: float, centre: tuple[float, float, float]) -> np.ndarray:
    z, y, x = np.meshgrid(*[np.arange(box) - box // 2] * 3, indexing="ij")
    cx, cy, cz = centre
    squared = (x - cx) ** 2 + (y - cy) ** 2 + (z - cz) ** 2
    return np.exp(-squared / (2 * radius**2)).astype(np.float32)


def test_bins_hold_every_particle_in_the_window() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 5000))
    x[:3] = np.nan
    window = Window(-1.0, 2.0, -1.5, 1.0, 7, 5)
    among, bins = window.bins(x, y)
    found = density(among, bins, window.size, y > 0, None)
    edges = [np.linspace(-1.5, 1.0, 6), np.linspace(-1.0, 2.0, 8)]
    expected, *_ = np.histogram2d(y[3:], x[3:], bins=edges)
    np.testing.assert_array_equal(found.count, expected.ravel())
    above = y > 0
    above[:3] = False
    expected, *_ = np.histogram2d(y[above], x[above], bins=edges)
    np.testing.assert_array_equal(found.chosen, expected.ravel())


def test_bins_are_coloured_by_means_and_by_most() -> None:
    among, bins = np.arange(6), np.array([0, 0, 0, 2, 2, 2])
    values = np.array([1.0, 2.0, np.nan, 0.0, 2.0, 2.0])
    none = np.zeros(6, dtype=bool)
    means = density(among, bins, 3, none, values)
    np.testing.assert_allclose(means.value, [1.5, np.nan, 4 / 3], rtol=1e-6)
    most = density(among, bins, 3, none, values, groups=3)
    np.testing.assert_allclose(most.value, [1, np.nan, 2])
    np.testing.assert_allclose(most.purity, [0.5, 0, 2 / 3], rtol=1e-6)


def test_a_surface_encloses_what_was_asked_for() -> None:
    volume, pixel = ball(40, 6.0, (4.0, -3.0, 2.0)), 2.5
    drawn = surface(volume, pixel, level_of(volume, 0.05))
    assert drawn.enclosed == pytest.approx(0.05, rel=0.01)
    corners = drawn.vertices[drawn.faces].astype(float)
    # the divergence theorem: positive if triangles run anticlockwise seen from outside
    inside = np.einsum("ij,ij->", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])) / 6
    assert inside == pytest.approx(0.05 * volume.size * pixel**3, rel=0.02)
    centre = pixel * np.array([4.0, -3.0, 2.0])
    np.testing.assert_allclose(drawn.vertices.mean(0), centre, atol=0.1)
    outward = drawn.vertices - centre
    outward /= np.linalg.norm(outward, axis=1, keepdims=True)
    assert (np.einsum("ij,ij->i", outward, drawn.normals) > 0.95).all()


def test_surfaces_match_whatever_the_scale() -> None:
    volume = ball(32, 5.0, (0.0, 0.0, 0.0))
    share = usual_share(volume)
    assert 0.005 < share < 0.2
    other = 40 * volume - 7
    first = surface(volume, 1.0, level_of(volume, share))
    second = surface(other, 1.0, level_of(other, share))
    np.testing.assert_allclose(first.vertices, second.vertices, atol=1e-3)
    assert usual_share(40 * volume - 7) == pytest.approx(share, rel=0.02)


def test_a_flat_volume_has_no_surface() -> None:
    flat = np.zeros((16, 16, 16), dtype=np.float32)
    assert len(surface(flat, 1.0, level_of(flat, usual_share(flat))).faces) == 0


def test_coarse_surfaces_lie_where_fine_ones_do() -> None:
    volume = ball(64, 10.0, (0.0, 0.0, 0.0))
    level = level_of(volume, 0.05)
    fine, coarse = surface(volume, 1.0, level), surface(volume, 1.0, level, finest=16)
    assert len(coarse.faces) < len(fine.faces) / 8
    radii = [np.linalg.norm(one.vertices, axis=1).mean() for one in (fine, coarse)]
    assert radii[0] == pytest.approx(radii[1], rel=0.02)


def test_columns_of_words_are_groups_if_they_are_few() -> None:
    column = _column("m", pd.Series(["b", "a", "b"]), "file")
    assert column is not None
    assert (column.groups, column.values.tolist()) == (("a", "b"), [1.0, 0.0, 1.0])
    assert _column("m", pd.Series([f"{k}@a.mrcs" for k in range(50)]), "file") is None
    numbers = _column("rlnDefocusU", pd.Series([1.0, 2.0]), "file")
    assert numbers is not None
    assert not numbers.groups


def test_views_are_mapped_with_equal_areas() -> None:
    rng = np.random.default_rng(0)
    views = rng.normal(size=(40_000, 3))
    views /= np.linalg.norm(views, axis=1, keepdims=True)
    x, y = hammer(views)
    # an even sphere is an even ellipse: a quarter of it lies in half its width and half its height
    assert (x**2 + y**2 <= 1 + 1e-12).all()
    assert (x**2 + y**2 < 0.25).mean() == pytest.approx(0.25, abs=0.01)
    assert (x > 0.5).mean() == pytest.approx(0.1955, abs=0.01)
    axes = np.array([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [0, -1, 0]])
    x, y = hammer(axes)
    quarter = np.sqrt(1 - np.sqrt(0.5))
    np.testing.assert_allclose(x, [0, quarter, 0, -quarter], atol=1e-12)
    np.testing.assert_allclose(y, [0, 0, 1, 0], atol=1e-12)


def test_a_message_can_be_taken_apart() -> None:
    sent = {"a": np.array([1.5, np.nan], dtype=np.float32), "b": np.array([7], dtype=np.uint8)}
    message = pack({"title": "Å"}, **sent, c=np.arange(3, dtype=np.uint32))
    length = int.from_bytes(message[:4], "little")
    header = json.loads(message[4 : 4 + length])
    assert header["meta"] == {"title": "Å"}
    for name, expected in sent.items():
        place = header["arrays"][name]
        start = 4 + length + place["offset"]
        assert start % 4 == 0
        found = np.frombuffer(message, place["type"], place["length"], start)
        np.testing.assert_array_equal(found, expected)
    with pytest.raises(TypeError, match="c is of int64"):
        pack({}, c=np.arange(3))
