"""The Fourier disc: which coefficients it keeps, and that its transform is unitary."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cryolatent.physics import FourierDisc, disc_to_images, images_to_disc, shift_phases

EPS = torch.finfo(torch.float32).eps


@st.composite
def discs(draw: st.DrawFn) -> FourierDisc:
    box = 2 * draw(st.integers(2, 12))
    return FourierDisc(box, draw(st.integers(1, box // 2 - 1)))


def random_coefficients(disc: FourierDisc, *lead: int) -> torch.Tensor:
    return torch.randn(*lead, disc.size, dtype=torch.complex64)


@given(discs())
@settings(deadline=None)
def test_each_pair_is_counted_once(disc):
    axis = range(-disc.box, disc.box + 1)
    lattice = {(x, y) for x in axis for y in axis if 1 <= round(np.hypot(x, y)) <= disc.radius}
    kept = {(int(x), int(y)) for x, y in disc.coordinates}
    opposite = {(-x, -y) for x, y in kept}
    assert len(kept) == disc.size == len(lattice) // 2
    assert kept.isdisjoint(opposite)
    assert kept | opposite == lattice


@given(discs())
@settings(deadline=None)
def test_shell_is_the_rounded_radius(disc):
    expected = [round(np.hypot(*k)) for k in disc.coordinates.tolist()]
    assert disc.shells.tolist() == expected
    means = disc.shell_mean(disc.shells.float())
    torch.testing.assert_close(means, torch.arange(disc.radius + 1.0))


@pytest.mark.parametrize(("box", "radius"), [(9, 3), (8, 4), (8, 0), (2, 1)])
def test_disc_outside_the_box_is_refused(box, radius):
    with pytest.raises(ValueError, match=f"box {box}, radius {radius}"):
        FourierDisc(box, radius)


def test_transform_is_the_unitary_sum_about_the_central_pixel():
    disc = FourierDisc(8, 3)
    image = torch.randn(8, 8)
    y, x = np.mgrid[-4:4, -4:4]
    expected = [
        (image.numpy() * np.exp(-2j * np.pi * (kx * x + ky * y) / 8)).sum() / 8
        for kx, ky in disc.coordinates.numpy()
    ]
    torch.testing.assert_close(
        images_to_disc(image, disc), torch.tensor(np.array(expected)).to(torch.complex64)
    )


@given(discs())
@settings(max_examples=30, deadline=None)
def test_round_trip_and_parseval(disc):
    coefficients = random_coefficients(disc, 2, 3)
    images = disc_to_images(coefficients, disc)
    tolerance = 4 * EPS * float(coefficients.abs().max()) * np.log2(disc.box**2)
    torch.testing.assert_close(images_to_disc(images, disc), coefficients, rtol=0, atol=tolerance)
    power = 2 * coefficients.abs().square().sum(-1)
    torch.testing.assert_close(images.square().sum((-2, -1)), power, rtol=1e-5, atol=0)


def test_images_have_nothing_outside_the_disc():
    disc = FourierDisc(16, 5)
    images = disc_to_images(random_coefficients(disc, 2), disc).numpy()
    ky, kx = np.meshgrid(*(np.fft.fftfreq(16, 1 / 16),) * 2, indexing="ij")
    shell = np.hypot(kx, ky).round()
    outside = np.abs(np.fft.fft2(images))[:, (shell > 5) | (shell == 0)]
    assert outside.max() < 16**2 * EPS * np.abs(images).max()


def test_white_noise_has_its_variance_in_every_shell():
    disc, count, variance = FourierDisc(32, 15), 400, 2.5
    power = images_to_disc(variance**0.5 * torch.randn(count, 32, 32), disc).abs().square()
    per_shell = torch.bincount(disc.shells)[1:] * count
    deviation = (disc.shell_mean(power.mean(0))[1:] / variance - 1) * per_shell.sqrt()
    assert deviation.abs().max() < 4


def test_dc_is_left_out():
    disc = FourierDisc(16, 7)
    image = torch.randn(16, 16)
    assert (disc.shells > 0).all()
    torch.testing.assert_close(
        images_to_disc(image + 10, disc), images_to_disc(image, disc), rtol=0, atol=160 * 4 * EPS
    )


@given(st.integers(-8, 8), st.integers(-8, 8))
@settings(max_examples=30, deadline=None)
def test_whole_pixel_shifts_are_rolls(x, y):
    disc = FourierDisc(16, 7)
    image = torch.randn(16, 16)
    moved = images_to_disc(image.roll((y, x), dims=(0, 1)), disc)
    phases = shift_phases(disc, torch.tensor([float(x), float(y)]))
    torch.testing.assert_close(moved, images_to_disc(image, disc) * phases, rtol=0, atol=2e-5)


def test_shifts_add_up_and_keep_the_amplitude():
    disc = FourierDisc(16, 7)
    a, b = torch.randn(2, 5, 2, dtype=torch.float64)
    product = shift_phases(disc, a) * shift_phases(disc, b)
    torch.testing.assert_close(product, shift_phases(disc, a + b), rtol=0, atol=1e-12)
    torch.testing.assert_close(product.abs(), torch.ones(5, disc.size, dtype=torch.float64))
