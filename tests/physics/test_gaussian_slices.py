"""Slices of off-centre anisotropic Gaussians against their closed-form transform."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from cryolatent.physics import FourierDisc, shift_phases, slice_volume, volume_to_fourier

BOX = 32


class Gaussians:
    def __init__(self, seed: int, count: int = 5) -> None:
        rng = np.random.default_rng(seed)
        self.centres = rng.uniform(-6, 6, (count, 3))
        self.weights = rng.uniform(0.5, 2, count)
        axes = Rotation.random(count, random_state=seed).as_matrix()
        self.covariances = axes @ (rng.uniform(1.2, 2.5, (count, 3, 1)) ** 2 * axes.mT)

    def volume(self) -> torch.Tensor:
        axis = np.arange(BOX) - BOX // 2
        z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
        points = np.stack([x, y, z], -1)
        total = np.zeros((BOX,) * 3)
        for centre, weight, covariance in zip(
            self.centres, self.weights, self.covariances, strict=True
        ):
            d = points - centre
            exponent = np.einsum("...i,ij,...j", d, np.linalg.inv(covariance), d)
            total += weight * np.exp(-exponent / 2)
        return torch.from_numpy(total).float()

    def transform(self, k: np.ndarray) -> np.ndarray:
        """The unitary slice's value at k (x, y, z) in cycles per voxel."""
        mass = self.weights * np.sqrt((2 * np.pi) ** 3 * np.linalg.det(self.covariances))
        decay = np.einsum("...i,gij,...j->...g", k, self.covariances, k)
        phase = k @ self.centres.T
        return (mass * np.exp(-2 * np.pi**2 * decay - 2j * np.pi * phase)).sum(-1) / BOX


def relative_errors(seed: int, *, correct_gridding: bool) -> torch.Tensor:
    gaussians, disc = Gaussians(seed), FourierDisc(BOX, BOX // 2 - 1)
    rotations = Rotation.random(8, random_state=seed + 1).as_matrix()
    shifts = np.random.default_rng(seed).uniform(-4, 4, (8, 2))
    k = disc.cycles_per_pixel.double().numpy()
    turned = k[:, 0, None] * rotations[:, None, 0] + k[:, 1, None] * rotations[:, None, 1]
    expected = gaussians.transform(turned) * np.exp(-2j * np.pi * shifts @ k.T)
    transform = volume_to_fourier(gaussians.volume(), correct_gridding=correct_gridding)
    slices = slice_volume(transform, torch.from_numpy(rotations).float(), disc)
    slices = slices * shift_phases(disc, torch.from_numpy(shifts).float())
    expected = torch.from_numpy(expected)
    return (slices - expected).norm(dim=-1) / expected.norm(dim=-1)


# Interpolation leaves aliases of relative size (u / (1 - u))^2 per axis, with u the distance from
# the centre over the padded side: 1 % at six voxels of 64, 3 % at the Gaussians' far edges.
@pytest.mark.parametrize("seed", range(3))
def test_corrected_slices_are_good_to_two_percent(seed):
    assert relative_errors(seed, correct_gridding=True).max() < 0.02


@pytest.mark.parametrize("seed", range(3))
def test_gridding_correction_helps_every_view(seed):
    corrected = relative_errors(seed, correct_gridding=True)
    uncorrected = relative_errors(seed, correct_gridding=False)
    assert (corrected < uncorrected).all()
    assert corrected.mean() < uncorrected.mean() / 2
