"""Densities of latents from likelihoods: known ones, which the posterior means do not show."""

import numpy as np
import pytest
import torch

from cryolatent.analysis.density import Density, deconvolved
from cryolatent.models import Delta, DiagonalNormal, FullNormal
from cryolatent.models.latents import Latents


def latents_of(z: torch.Tensor, noise: torch.Tensor, seed: int = 0) -> Latents:
    """Exact posteriors, under a standard normal prior, of places seen with noise."""
    generator = torch.Generator().manual_seed(seed)
    seen = z + noise * torch.randn(z.shape, generator=generator)
    variance = 1 / (1 + 1 / noise.square()).expand_as(z)
    posterior = DiagonalNormal(variance * seen / noise.square(), variance.log())
    zeros = torch.zeros(len(z))
    return Latents(np.arange(len(z)).astype(str), posterior, zeros, zeros)


def grid_density(found: Density) -> tuple[torch.Tensor, torch.Tensor]:
    grid = torch.linspace(-4, 4, 321)[:, None]
    return grid[:, 0], found.at(grid)


def test_two_components_appear_of_which_the_means_show_one() -> None:
    generator = torch.Generator().manual_seed(1)
    side = torch.randint(2, (4000,), generator=generator) * 2.0 - 1
    z = (side + 0.15 * torch.randn(4000, generator=generator))[:, None]
    latents = latents_of(z, 0.9 * torch.ones(4000, 1))
    counts, _ = np.histogram(latents.distribution.mean.numpy(), bins=15)
    peak = int(counts.argmax())
    assert (np.diff(counts[: peak + 1]) >= -25).all(), "the means themselves have two maxima"
    assert (np.diff(counts[peak:]) <= 25).all(), "the means themselves have two maxima"
    found = deconvolved(latents)
    assert found is not None
    modes, share = found.modes
    assert modes == 2
    assert share > 0.6
    grid, rows = grid_density(found)
    left, right = rows[0, grid < 0], rows[0, grid > 0]
    assert abs(float(grid[grid < 0][left.argmax()]) + 1) < 0.2
    assert abs(float(grid[grid > 0][right.argmax()]) - 1) < 0.2
    assert rows[0, 160] < 0.5 * rows[0].max()
    assert found.gain > 0.01


def test_uniform_places_give_a_flat_density() -> None:
    generator = torch.Generator().manual_seed(2)
    z = 3 * torch.rand(4000, 1, generator=generator) - 1.5
    noise = 0.2 + 0.4 * torch.rand(4000, 1, generator=generator)
    found = deconvolved(latents_of(z, noise))
    assert found is not None
    grid, rows = grid_density(found)
    middle = grid.abs() < 1
    assert (rows[0, middle] - 1 / 3).abs().max() < 0.11
    assert rows[0, grid.abs() > 2.2].max() < 0.05
    error = 1.96 * rows[1:].std(0)
    covered = ((rows[0] - 1 / 3).abs() < error)[middle].float().mean()
    assert covered > 0.7
    assert float(torch.trapezoid(rows[0], grid)) == pytest.approx(1, abs=0.01)


def test_a_normal_density_gains_nothing() -> None:
    z = torch.randn(3000, 1, generator=torch.Generator().manual_seed(3))
    found = deconvolved(latents_of(z, 0.7 * torch.ones(3000, 1)))
    assert found is not None
    assert abs(found.gain) < 0.01
    assert found.modes[0] == 1


def test_clusters_in_many_dimensions_have_their_shares() -> None:
    generator = torch.Generator().manual_seed(4)
    first = torch.rand(1500, generator=generator) < 0.3
    z = torch.where(first[:, None], 1.0, -1.0) * torch.ones(1500, 4)
    posterior = latents_of(z, 0.6 * torch.ones(1500, 4))
    full = FullNormal(
        posterior.distribution.mean, torch.diag_embed(posterior.distribution.log_var.exp())
    )
    zeros = torch.zeros(1500)
    found = deconvolved(Latents(posterior.ids, full, zeros, zeros))
    assert found is not None
    share = found.weights[found.places.sum(1) > 0].sum()
    assert abs(float(share) - float(first.float().mean())) < 0.03


def test_particles_that_are_alike_or_few_are_no_error() -> None:
    alike = latents_of(torch.zeros(200, 2), torch.full((2,), 1e-4))
    assert deconvolved(alike) is not None
    assert deconvolved(latents_of(torch.zeros(40, 2), torch.ones(2))) is None


def test_points_have_no_likelihood() -> None:
    zeros = torch.zeros(5)
    points = Latents(np.arange(5).astype(str), Delta(torch.zeros(5, 2)), zeros, zeros)
    assert deconvolved(points) is None
