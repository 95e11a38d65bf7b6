"""Volumes from particles about a place, where the truth is known."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from builders import small_stack
from cryolatent.analysis.kernel_regression import (
    Regression,
    choose_windows,
    explained_by_volume,
    regressed,
)
from cryolatent.data import ParticleStack
from cryolatent.data.backprojection import Explained, backproject
from cryolatent.physics import fourier_shell_correlation
from cryolatent.physics.spectra import resolution_angstrom
from cryolatent.simulate.truth import Truth

STATES = (0, 3)


@dataclass(frozen=True)
class Known:
    stack: ParticleStack
    truth: Truth
    state: torch.Tensor

    @property
    def volumes(self) -> torch.Tensor:
        return self.truth.volumes[list(STATES)]

    def regression(self, latents: torch.Tensor, explained: Explained | None = None) -> Regression:
        real = torch.ones(len(self.stack))
        return Regression(self.stack, latents, real, self.stack.split(0), explained)

    def true_explained(self) -> Explained:
        each = [explained_by_volume(self.stack, volume) for volume in self.volumes]

        def slices(particles, poses):
            of = [one(particles, poses) for one in each]
            return torch.where(self.state[particles, None] == 0, *of)

        return slices


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Known:
    folder = tmp_path_factory.mktemp("known")
    stack = small_stack(folder, particles=1200, box=24, pixel_size=12.0, snr=0.2)
    truth = Truth.load(folder / "truth")
    rows = np.flatnonzero(np.isin(truth.state, STATES))
    state = torch.from_numpy(truth.state[rows] == STATES[1]).long()
    return Known(stack.select(torch.from_numpy(rows)), truth, state)


def sides(known: Known) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    side = 2.0 * known.state[:, None] - 1
    return side + 0.1 * torch.randn(len(side), 1, generator=generator)


PLACES = torch.tensor([[-1.0], [1.0], [-0.9], [0.9]])


def test_what_is_explained_is_taken_off(known: Known) -> None:
    """Of images less what their own volumes say only noise is left."""
    everything = torch.arange(len(known.stack))
    left = backproject(known.stack, everything, explained=known.true_explained()).solve()
    whole = backproject(known.stack, everything).solve()
    low = slice(2, 6)
    mean = known.volumes.mean(0)
    assert fourier_shell_correlation(whole, mean)[low].min() > 0.9
    assert fourier_shell_correlation(left, mean)[low].abs().max() < 0.5
    assert left.std() < 0.3 * whole.std()


def test_residuals_of_the_consensus_lead_to_each_state(known: Known) -> None:
    mean = known.volumes.mean(0)
    regression = known.regression(sides(known), explained_by_volume(known.stack, mean))
    windows = choose_windows(regression, PLACES)
    assert max(windows.particles) < len(known.stack), "all particles have no residual"
    for place, volume in zip(PLACES[:2], known.volumes, strict=True):
        added = regressed(regression, windows, place)
        before = fourier_shell_correlation(mean, volume)
        after = fourier_shell_correlation(mean + added, volume)
        assert after[1:8].mean() > before[1:8].mean() + 0.01
        assert fourier_shell_correlation(added, volume - mean)[1:4].min() > 0.7


def test_right_explanations_are_left_alone(known: Known) -> None:
    regression = known.regression(sides(known), known.true_explained())
    windows = choose_windows(regression, PLACES)
    for place, volume in zip(PLACES[:2], known.volumes, strict=True):
        added = regressed(regression, windows, place)
        assert fourier_shell_correlation(volume + added, volume)[1:9].min() > 0.98


def test_latents_that_say_nothing_add_nothing(known: Known) -> None:
    mean = known.volumes.mean(0)
    latents = torch.randn(len(known.stack), 1, generator=torch.Generator().manual_seed(5))
    regression = known.regression(latents, explained_by_volume(known.stack, mean))
    windows = choose_windows(regression, torch.linspace(-1, 1, 6)[:, None])
    added = regressed(regression, windows, torch.zeros(1))
    assert added.std() < 0.2 * (known.volumes[0] - mean).std()


def test_without_explanation_all_particles_make_the_consensus(known: Known, tmp_path: Path) -> None:
    """Latents that say nothing leave the widest window, whose volume is that of all particles."""
    latents = torch.randn(len(known.stack), 1, generator=torch.Generator().manual_seed(6))
    regression = known.regression(latents)
    windows = choose_windows(regression, torch.linspace(-1, 1, 4)[:, None])
    low = windows.particles[2:6]
    assert min(low) >= len(known.stack) // 2
    made = regressed(regression, windows, torch.zeros(1))
    curve = fourier_shell_correlation(made, known.volumes.mean(0))
    assert resolution_angstrom(curve, 12.0) < 50


def test_junk_counts_for_nothing(known: Known) -> None:
    real = (known.state == 0).float()
    regression = replace(known.regression(torch.zeros(len(real), 1)), real=real)
    first, second = regression.everything
    first.merge(second)
    own = backproject(known.stack, torch.nonzero(real)[:, 0])
    torch.testing.assert_close(
        torch.from_numpy(first.voxels), torch.from_numpy(own.voxels), rtol=1e-3, atol=1e-3
    )
