"""What half-maps say: correction for a mask, signal-to-noise ratio, solvent mask."""

import pytest
import torch

from cryolatent.physics import fourier_shell_correlation
from cryolatent.physics.backprojection import sphere_distance
from cryolatent.physics.reconstruction import (
    half_map_mask,
    masked_correlation,
    randomise_phases,
    signal_to_noise,
)

BOX = 32


def ball(radius: float) -> torch.Tensor:
    return (sphere_distance(BOX) <= radius).float()


def smooth_noise() -> torch.Tensor:
    axis = torch.fft.fftfreq(BOX, 1 / BOX)
    squared = axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis[: BOX // 2 + 1] ** 2
    transform = torch.fft.rfftn(torch.randn(BOX, BOX, BOX)) * torch.exp(-squared / 16)
    volume = torch.fft.irfftn(transform, s=(BOX,) * 3)
    return volume / volume.std()


def test_random_phases_keep_amplitudes_and_low_shells():
    volume = torch.randn(BOX, BOX, BOX)
    changed = randomise_phases(volume, 6, torch.Generator().manual_seed(1))
    before, after = torch.fft.rfftn(volume), torch.fft.rfftn(changed)
    torch.testing.assert_close(after.abs(), before.abs(), rtol=1e-3, atol=1e-2)
    fsc = fourier_shell_correlation(volume, changed)
    torch.testing.assert_close(fsc[:6], torch.ones(6), rtol=0, atol=1e-4)
    assert fsc[6:].abs().max() < 0.3


def test_correction_takes_back_what_a_mask_makes_of_noise():
    # one narrow mask on independent noise about a constant correlates the maps
    narrow = 0.5 * (1 + torch.cos(torch.pi * ((sphere_distance(BOX) - 5) / 2).clamp(0, 1)))
    noise = 2 + torch.randn(8, 2, BOX, BOX, BOX)
    found = [masked_correlation(*pair, narrow, seed) for seed, pair in enumerate(noise, 1)]
    masked = torch.stack([curves.masked for curves in found]).mean(0)
    corrected = torch.stack([curves.corrected for curves in found]).mean(0)
    assert found[0].first == 1
    assert masked[3:9].min() > 0.5
    assert corrected[3:9].mean() < 0.2
    assert corrected[9:].mean() < 0.1


def test_correction_leaves_a_signal_inside_the_mask():
    signal = 10 * smooth_noise() * ball(8)
    first, second = (signal + 0.3 * torch.randn(BOX, BOX, BOX) for _ in range(2))
    wide = 0.5 * (1 + torch.cos(torch.pi * ((sphere_distance(BOX) - 9) / 5).clamp(0, 1)))
    found = masked_correlation(first, second, wide)
    plain = fourier_shell_correlation(first, second)
    late = slice(found.first + 2, found.first + 5)
    assert (found.corrected[late] > plain[late]).all()
    assert torch.equal(found.corrected[: found.first + 2], found.masked[: found.first + 2])


def test_correction_worked_by_hand():
    found = masked_correlation(*(torch.randn(2, BOX, BOX, BOX) + smooth_noise()), ball(9))
    shell = found.first + 4
    masked, randomised = float(found.masked[shell]), float(found.randomised[shell])
    expected = max(0.0, (masked - randomised) / (1 - randomised))
    assert float(found.corrected[shell]) == pytest.approx(expected, abs=1e-5)


def test_signal_to_noise_worked_by_hand():
    ratio = signal_to_noise(torch.tensor([-1.0, 0.9, 0.5, 0.0, 0.5]))
    floor = 2 * 0.001 / 0.999
    assert ratio.tolist() == pytest.approx([18, 18, 2, floor, floor], rel=1e-3)
    assert signal_to_noise(torch.ones(3)).isfinite().all()


def test_solvent_mask_finds_the_molecule():
    molecule = ball(8) + 2 * torch.roll(ball(3), 6, 0)
    far = torch.zeros(BOX, BOX, BOX)
    far[3:5, 3:5, 3:5] = 1
    first, second = (molecule + far + 0.3 * torch.randn(BOX, BOX, BOX) for _ in range(2))
    mask = half_map_mask(first, second, 6.0, grow_pixels=1.0, edge_pixels=3.0)
    assert mask[molecule > 0].min() == 1
    assert mask[sphere_distance(BOX) > 14].max() == 0
    assert 0 < mask.mean() < 0.25


def test_solvent_mask_of_noise_is_empty():
    assert half_map_mask(*torch.randn(2, BOX, BOX, BOX), 6.0).max() == 0
