"""Density maps against directly evaluated Gaussians."""

import numpy as np
import pytest

from cryolatent.simulate.density import density_map

BOX, PIXEL, SIGMA = 32, 4.0, 6.0


def direct_sum(positions: np.ndarray, weights: np.ndarray) -> np.ndarray:
    axis = PIXEL * (np.arange(BOX) - BOX // 2)
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    total = np.zeros((BOX,) * 3)
    for (px, py, pz), weight in zip(positions, weights, strict=True):
        squared = (x - px) ** 2 + (y - py) ** 2 + (z - pz) ** 2
        total += weight * np.exp(-squared / (2 * SIGMA**2))
    return total * PIXEL**3 / (2 * np.pi * SIGMA**2) ** 1.5


def render(positions: np.ndarray, weights: np.ndarray, sigma: float = SIGMA) -> np.ndarray:
    return density_map(positions, weights, box=BOX, pixel_size_angstrom=PIXEL, sigma_angstrom=sigma)


@pytest.fixture
def points() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.uniform(-25, 25, (20, 3)), rng.uniform(1, 5, 20)


def test_map_is_the_sum_of_gaussians(points):
    # Spreading on a grid of 2 A leaves two aliases per axis of relative size (u / (1 - u))^2 at
    # u = k * 2 A, which the Gaussian multiplies by exp(-2 pi^2 (sigma / 2 A)^2 u^2).
    u = np.linspace(0, 0.25, 1000)
    alias = (u / (1 - u)) ** 2 * np.exp(-2 * np.pi**2 * (SIGMA / 2) ** 2 * u**2)
    difference = render(*points) - direct_sum(*points)
    bound = 3 * 2 * alias.max()
    assert bound < 0.02
    assert np.linalg.norm(difference) < bound * np.linalg.norm(direct_sum(*points))


def test_sum_of_the_map_is_the_sum_of_the_weights(points):
    assert render(*points).sum() == pytest.approx(points[1].sum(), rel=1e-12)


def test_origin_is_the_central_voxel():
    volume = render(np.zeros((1, 3)), np.ones(1))
    assert np.unravel_index(volume.argmax(), volume.shape) == (BOX // 2,) * 3


def test_positions_are_x_y_z_and_voxels_z_y_x():
    volume = render(np.array([[12.0, -8.0, 4.0]]), np.ones(1))
    peak = np.array(np.unravel_index(volume.argmax(), volume.shape)) - BOX // 2
    assert peak.tolist() == [1, -2, 3]


def test_sharp_points_are_band_limited_to_nyquist(points):
    transform = np.abs(np.fft.fftn(render(*points, sigma=0.5)))
    axis = np.fft.fftfreq(BOX, 1 / BOX)
    radius = np.sqrt(axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2)
    assert transform[radius > BOX / 2].max() < 1e-9 * transform.max()
    assert transform[radius <= BOX / 2 - 1].min() > 1e-6 * transform.max()
