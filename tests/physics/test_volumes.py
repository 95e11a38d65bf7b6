"""Central slices in orientations where they are exact, and half-space volumes."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cryolatent.physics import (
    FourierDisc,
    half_space_to_volume,
    images_to_disc,
    in_canonical_half,
    lattice_half_space,
    slice_volume,
    volume_to_fourier,
)

BOX, RADIUS = 12, 4
X, Y, Z = torch.eye(3)


def half_space_values(*lead: int) -> tuple[torch.Tensor, torch.Tensor]:
    points, shell = lattice_half_space(BOX, RADIUS)
    values = torch.randn(*lead, len(points), dtype=torch.complex64)
    values[..., shell == 0] = values[..., shell == 0].real.to(values.dtype)
    return values, points


@pytest.mark.parametrize(
    ("rows", "projection"),
    [
        ((X, Y, Z), lambda v: v.sum(0)),
        ((Y, Z, X), lambda v: v.sum(2)),
        ((Z, X, Y), lambda v: v.sum(1).T),
        ((Y, -X, Z), lambda v: v.sum(0).flip(1).roll(1, 1).T),
    ],
    ids=["along z", "along x", "along y", "quarter turn about z"],
)
@pytest.mark.parametrize("oversampling", [1, 2])
def test_slices_along_axes_are_exact_projections(rows, projection, oversampling):
    disc = FourierDisc(BOX, BOX // 2 - 1)
    volume = torch.randn(BOX, BOX, BOX)
    transform = volume_to_fourier(volume, oversampling, correct_gridding=False)
    slices = slice_volume(transform, torch.stack(rows), disc)
    torch.testing.assert_close(slices, images_to_disc(projection(volume), disc), rtol=0, atol=2e-5)


def test_opposite_views_are_mirror_images():
    disc = FourierDisc(BOX, 5)
    transform = volume_to_fourier(torch.randn(BOX, BOX, BOX))
    rotation = torch.linalg.qr(torch.randn(4, 3, 3)).Q
    mirrored = torch.diag(torch.tensor([-1.0, -1.0, 1.0])) @ rotation
    slices = slice_volume(transform, torch.stack([rotation, mirrored]), disc)
    torch.testing.assert_close(slices[1], slices[0].conj(), rtol=0, atol=2e-5)


def test_half_space_gives_a_volume_with_that_transform():
    values, points = half_space_values(3)
    volume = half_space_to_volume(values, points, BOX)
    x, y, z = (points % BOX).unbind(-1)
    for sign in (1, -1):
        transform = volume_to_fourier(volume, 1, correct_gridding=False)
        found = transform[..., sign * z % BOX, sign * y % BOX, sign * x % BOX]
        expected = values if sign == 1 else values.conj()
        torch.testing.assert_close(found, expected, rtol=0, atol=2e-5)


def test_half_space_inverts_volume_to_fourier():
    values, points = half_space_values()
    volume = half_space_to_volume(values, points, BOX)
    x, y, z = (points % BOX).unbind(-1)
    again = volume_to_fourier(volume, 1, correct_gridding=False)[z, y, x]
    torch.testing.assert_close(half_space_to_volume(again, points, BOX), volume, atol=1e-5, rtol=0)


def test_point_at_the_centre_is_flat_in_fourier_space():
    volume = torch.zeros(BOX, BOX, BOX)
    volume[BOX // 2, BOX // 2, BOX // 2] = 1.0
    transform = volume_to_fourier(volume, 2)
    torch.testing.assert_close(transform, torch.full_like(transform, 1 / BOX))


def test_lattice_holds_half_of_the_ball_and_the_origin():
    points, shell = lattice_half_space(BOX, RADIUS)
    axis = range(-RADIUS, RADIUS + 1)
    lengths = [(x**2 + y**2 + z**2) ** 0.5 for x in axis for y in axis for z in axis]
    assert len(points) == (sum(round(length) <= RADIUS for length in lengths) + 1) // 2
    assert shell.tolist() == [round(sum(c**2 for c in p) ** 0.5) for p in points.tolist()]


@given(st.lists(st.integers(-5, 5), min_size=3, max_size=3))
@settings(deadline=None)
def test_exactly_one_of_each_lattice_pair_is_canonical(point):
    here = bool(in_canonical_half(torch.tensor(point)))
    opposite = bool(in_canonical_half(-torch.tensor(point)))
    assert here != opposite or (here and not any(point))


coordinates = st.floats(-1, 1, width=32)


@given(coordinates, coordinates, st.sampled_from([0.0, -0.0]))
@settings(deadline=None)
def test_exactly_one_of_each_pair_is_canonical_on_the_plane(x, y, z):
    point = torch.tensor([x, y, z])
    here, opposite = bool(in_canonical_half(point)), bool(in_canonical_half(-point))
    assert here != opposite or (here and x == y == 0)


@pytest.mark.parametrize(
    ("point", "inside"),
    [
        ((0, 0, 1), True),
        ((-3, -2, 1), True),
        ((0, 1, 0), True),
        ((-1, 1, 0), True),
        ((1, -1, 0), False),
        ((1, 0, 0), True),
        ((-1, 0, 0), False),
        ((0, 0, 0), True),
    ],
)
def test_canonical_half_worked_by_hand(point, inside):
    assert bool(in_canonical_half(torch.tensor(point))) is inside
