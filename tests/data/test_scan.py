"""Spectra of a whole stack."""

import numpy as np
import pandas as pd
import pytest
import torch

from cryolatent.data import ParticleStack, StackStatistics, open_star, scan

COUNT, BOX, VARIANCE = 300, 16, 4.0


@pytest.fixture
def noise(files) -> ParticleStack:
    images = VARIANCE**0.5 * np.random.default_rng(1).normal(size=(COUNT, BOX, BOX)) + 3
    files.stacks["images.mrcs"] = images
    files.particles = pd.concat([files.particles] * (COUNT // 4), ignore_index=True)
    files.particles["rlnImageName"] = [f"{row + 1}@images.mrcs" for row in range(COUNT)]
    return open_star(files.write())


def test_white_noise_is_power_and_background(noise):
    statistics = scan(noise, 5.0).statistics
    count = COUNT * torch.bincount(noise.disc.shells)[1:]
    deviation = (statistics.power[1:] / VARIANCE - 1) * count.sqrt()
    assert deviation.abs().max() < 4
    outside = 1 - np.pi * (5 + 3) ** 2 / BOX**2
    deviation = (statistics.background[4:] / VARIANCE - 1) * (count[3:] * outside).sqrt()
    assert deviation.abs().max() < 4


def test_ctf_squared_is_the_mean_over_particles_and_shell(noise):
    disc = noise.disc
    transfer = noise.ctf.evaluate(disc.cycles_per_pixel).square().mean(0)
    for shell in range(1, disc.radius + 1):
        expected = float(transfer[disc.shells == shell].mean())
        assert float(scan(noise, 5.0).statistics.ctf_squared[shell]) == pytest.approx(
            expected, rel=1e-5
        )


def test_progress_ends_with_the_number_of_images(noise):
    done = []
    scan(noise, 5.0, done.append)
    assert done == [256, 300]


def test_signal_amplitude_worked_by_hand():
    statistics = StackStatistics(
        power=torch.tensor([9.0, 9.0, 2.0, 1.0]),
        background=torch.tensor([1.0, 1.0, 1.0, 4.0]),
        ctf_squared=torch.tensor([0.5, 0.5, 0.01, 0.5]),
    )
    expected = [0, 4, 20**0.5, 0.2]
    assert statistics.signal_amplitude.tolist() == pytest.approx(expected, rel=1e-6)
