"""Noise spectra of known noise, and Fourier shell correlation against loops."""

import itertools
import math

import numpy as np
import pytest
import torch

from cryolatent.physics import (
    FourierDisc,
    background_spectrum,
    fourier_shell_correlation,
    resolution_angstrom,
    soft_disc,
)

BOX, RADIUS_PIXELS = 32, 9.0
DISC = FourierDisc(BOX, 15)


def coloured_noise(count: int, colour: float) -> tuple[torch.Tensor, torch.Tensor]:
    frequency = torch.fft.fftfreq(BOX, 1 / BOX)
    shell = torch.hypot(frequency[:, None], frequency)
    power = 1 + colour * (1 - shell / BOX)
    transform = torch.fft.fft2(torch.randn(count, BOX, BOX)) * power.sqrt()
    return torch.fft.ifft2(transform).real, 1 + colour * (1 - torch.arange(16) / BOX)


@pytest.mark.parametrize("colour", [0.0, 4.0])
def test_background_of_noise_is_its_spectrum(colour):
    images, expected = coloured_noise(1000, colour)
    spectrum = background_spectrum(images, DISC, RADIUS_PIXELS).mean(0)
    mask = (1 - soft_disc(BOX, RADIUS_PIXELS)).square()
    independent = torch.bincount(DISC.shells)[3:] * 1000 * mask.mean()
    deviation = (spectrum[3:] / expected[3:] - 1) * independent.sqrt()
    assert deviation.abs().max() < 4


def test_background_ignores_particle_and_offset():
    images = torch.randn(20, BOX, BOX)
    particle = 100 * soft_disc(BOX, RADIUS_PIXELS - 4, 3.0)
    clean = background_spectrum(images, DISC, RADIUS_PIXELS)
    crowded = background_spectrum(images + particle + 5, DISC, RADIUS_PIXELS)
    torch.testing.assert_close(crowded, clean, rtol=1e-4, atol=0)


def test_background_shell_zero_copies_shell_one():
    spectrum = background_spectrum(torch.randn(5, BOX, BOX), DISC, RADIUS_PIXELS)
    assert (spectrum[:, 0] == spectrum[:, 1]).all() and (spectrum > 0).all()


def test_soft_disc_is_one_inside_half_on_the_edge_and_zero_outside():
    disc = soft_disc(16, 4.0, 2.0)
    assert disc[8, 8:15].tolist() == pytest.approx([1, 1, 1, 1, 1, 0.5, 0], abs=1e-6)
    assert torch.equal(disc, disc.T)


def correlation_by_loops(first: np.ndarray, second: np.ndarray) -> list[float]:
    box = len(first)
    a, b = np.fft.fftn(first), np.fft.fftn(second)
    sums = np.zeros((3, box // 2))
    for z, y, x in itertools.product(range(-(box // 2), box // 2), repeat=3):
        shell = round((x**2 + y**2 + z**2) ** 0.5)
        if shell < box // 2:
            f, g = a[z, y, x], b[z, y, x]
            sums[:, shell] += (f * g.conjugate()).real, abs(f) ** 2, abs(g) ** 2
    return (sums[0] / np.sqrt(sums[1] * sums[2])).tolist()


def test_fourier_shell_correlation_agrees_with_loops():
    first = torch.randn(2, 8, 8, 8, dtype=torch.float64)
    second = first + torch.randn(2, 8, 8, 8, dtype=torch.float64)
    fsc = fourier_shell_correlation(first, second)
    for pair in range(2):
        expected = correlation_by_loops(first[pair].numpy(), second[pair].numpy())
        assert fsc[pair].tolist() == pytest.approx(expected, abs=1e-12)


def test_fourier_shell_correlation_knows_scale_sign_and_emptiness():
    volume = torch.randn(8, 8, 8, dtype=torch.float64)
    ones = torch.ones(4, dtype=torch.float64)
    torch.testing.assert_close(fourier_shell_correlation(volume, 3 * volume), ones)
    torch.testing.assert_close(fourier_shell_correlation(volume, -volume), -ones)
    assert fourier_shell_correlation(volume, 0 * volume).tolist() == [0.0] * 4


@pytest.mark.parametrize(
    ("fsc", "expected"),
    [
        ([1.0, 1.0, 0.9, 0.6, 0.4, 0.2, 0.0, 0.0], 16 * 2 / 3.5),
        ([1.0, 0.0, 0.9, 0.6, 0.4, 0.2, 0.0, 0.0], 16 * 2 / 0.5),
        ([1.0, 0.9, 0.4, 0.9, 0.9, 0.9, 0.9, 0.9], 16 * 2 / 1.8),
        ([1.0] * 8, 16 * 2 / 7),
    ],
    ids=["between shells", "first shell", "first crossing counts", "never"],
)
def test_resolution_worked_by_hand(fsc, expected):
    assert resolution_angstrom(torch.tensor(fsc), 2.0) == pytest.approx(expected, rel=1e-6)


def test_resolution_at_another_threshold():
    fsc = torch.tensor([1.0, 1.0, 0.5, 0.1, 0.0, 0.0, 0.0, 0.0])
    expected = 16 * 3 / (2 + (0.5 - 0.143) / 0.4)
    assert resolution_angstrom(fsc, 3.0, 0.143) == pytest.approx(expected, rel=1e-6)


def test_resolution_of_a_curve_that_is_not_finite_is_not_finite():
    fsc = torch.tensor([1.0, 0.9, torch.nan, 0.9])
    assert math.isnan(resolution_angstrom(fsc, 2.0))
