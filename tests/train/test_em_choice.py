"""Numbers of dimensions and states chosen by held-out evidence."""

from dataclasses import replace

import pytest
import torch

from cryolatent.models.contrast import ONE
from cryolatent.train.em.choice import (
    choose,
    choose_dimensions,
    choose_states,
    principal_axes,
)
from cryolatent.train.em.subspace import Terms


def terms(zeta: torch.Tensor, dimensions: int, pixels: int = 40, size: float = 0.5) -> Terms:
    """Images of `zeta` under random slices; components beyond those of `zeta` are never used."""
    count, used = zeta.shape
    g = size * torch.randn(count, pixels, dimensions + 1)
    x = (g[..., :used] @ zeta[..., None])[..., 0] + torch.randn(count, pixels)
    inner = (g.mT @ x[..., None])[..., 0]
    nothing = torch.full((count,), -torch.inf)
    return Terms(torch.arange(count), g.mT @ g, inner, torch.zeros(count), nothing)


def at_points(points: torch.Tensor, count: int) -> torch.Tensor:
    z = points[torch.arange(count) % len(points)]
    return torch.cat([torch.ones(count, 1), z], dim=-1)


def test_smallest_number_within_one_standard_error_is_chosen() -> None:
    best = torch.tensor([2.0, 2.0, 2.0, 2.0])
    # mean 0.75, standard deviation 0.5, standard error 0.25: clearly worse
    worse = best - torch.tensor([1.0, 1.0, 1.0, 0.0])
    # mean 0.5, standard deviation sqrt(11 / 3), standard error 0.957: as good
    as_good = best - torch.tensor([3.0, -1.0, 1.0, -1.0])
    choice = choose("things", [1, 2, 3, 4], torch.stack([worse, as_good, best, worse]))
    assert (choice.chosen, choice.enough(0.0)) == (2, 3)
    assert [c.number for c in choice.candidates] == [1, 2, 3, 4]
    assert [c.behind for c in choice.candidates] == [0.75, 0.5, 0.0, 0.75]
    expected = [0.25, (11 / 3) ** 0.5 / 2, 0.0, 0.25]
    assert [c.error for c in choice.candidates] == pytest.approx(expected)
    assert choose("things", [1, 3], torch.stack([worse, best])).chosen == 3


def test_what_is_better_by_nothing_is_not_taken() -> None:
    """Six states in place of two can be better by 0.002 nats, many standard errors."""
    two, six = torch.zeros(4000), torch.full((4000,), 0.002)
    assert choose("states", [2, 6], torch.stack([two, six])).chosen == 2
    assert choose("states", [2, 6], torch.stack([two, 10 * six])).chosen == 6


def test_two_dimensions_of_four_are_chosen() -> None:
    z = torch.randn(200, 2)
    held = terms(torch.cat([torch.ones(200, 1), z], dim=-1), dimensions=4)
    choice, axes = choose_dimensions(held, ONE, torch.arange(len(held.inner)) % 4)
    assert axes[:, :2].norm(dim=0).min() > 0.8
    assert axes[2:, :2].abs().max() < 0.3
    assert (choice.name, choice.chosen) == ("dimensions", 2)
    assert len(choice.candidates) == 5


def mixed_up(count: int, zeta: torch.Tensor, turn: torch.Tensor) -> Terms:
    """Images of `zeta` under slices of which each is of several dimensions and of noise."""
    g = 0.5 * torch.randn(count, 40, zeta.shape[1])
    x = (g @ zeta[..., None])[..., 0] + torch.randn(count, 40)
    g = torch.cat([g[..., :1], g[..., 1:] @ turn[: g.shape[-1] - 1]], dim=-1)
    g[..., 1:] += 0.3 * torch.randn(count, 40, len(turn))
    nothing = torch.full((count,), -torch.inf)
    inner = (g.mT @ x[..., None])[..., 0]
    return Terms(torch.arange(count), g.mT @ g, inner, torch.zeros(count), nothing)


def test_what_differs_is_one_dimension_however_the_subspace_lies() -> None:
    """A subspace of four dimensions, in which noise is as large as the one that is there."""
    turn = torch.linalg.qr(torch.randn(4, 4)).Q
    z = torch.randn(400, 1)
    held = mixed_up(400, torch.cat([torch.ones(400, 1), z], dim=1), turn)
    choice, axes = choose_dimensions(held, ONE, torch.arange(len(held.inner)) % 4)
    assert choice.chosen == 1
    first = axes[:, 0] / axes[:, 0].norm()
    assert abs(float(first @ turn[0])) > 0.9
    assert axes[:, 1:].norm(dim=0).max() < 0.5 * axes[:, 0].norm()


def test_a_subspace_of_noise_has_no_dimensions() -> None:
    for seed in range(5):
        torch.manual_seed(seed)
        held = mixed_up(400, torch.ones(400, 1), torch.zeros(4, 4))
        choice, axes = choose_dimensions(held, ONE, torch.arange(len(held.inner)) % 4)
        assert choice.chosen == 0
        assert axes.norm(dim=0).max() < 0.5


def test_all_may_be_in_one_part() -> None:
    held = terms(torch.ones(2, 1), dimensions=2)
    choice, axes = choose_dimensions(held, ONE, torch.tensor([1, 1]))
    assert choice.chosen == 0
    assert axes.isfinite().all()


def test_axes_are_as_long_as_latents_spread() -> None:
    spread = torch.tensor([1.5, 0.6])
    z = spread * torch.randn(2000, 2)
    held = terms(torch.cat([torch.ones(2000, 1), z], dim=1), dimensions=2)
    axes = principal_axes(held, ONE)
    torch.testing.assert_close(axes.abs(), torch.diag(spread), atol=0.1, rtol=0.05)


def test_a_particle_that_is_none_does_not_widen_the_latents() -> None:
    z = torch.cat([torch.randn(400, 1), 10 * torch.randn(100, 1)])
    held = terms(torch.cat([torch.ones(500, 1), z], dim=1), dimensions=1)
    rival = torch.full((500,), -torch.inf)
    rival[400:] = 1e4
    believing = principal_axes(held, ONE)
    assert float(principal_axes(replace(held, rival=rival), ONE)) == pytest.approx(1, abs=0.15)
    assert float(believing) > 3


def test_three_states_of_three_are_chosen() -> None:
    points = torch.tensor([[1.2, 0.0], [-0.8, 1.0], [-0.5, -1.2]])
    chosen = []
    for seed in range(5):
        torch.manual_seed(seed)
        train, held = (terms(at_points(points, count), dimensions=2) for count in (200, 100))
        choice, mixture = choose_states(train, held, ONE, seed=0)
        assert choice.name == "states"
        assert len(mixture.points) == choice.chosen
        assert torch.cdist(points, mixture.points).min(1).values.max() < 0.4
        # no more are tried once three in a row are worse
        assert len(choice.candidates) < 12
        chosen.append(choice.chosen)
    # one standard error is exceeded by chance now and then
    assert min(chosen) == 3
    assert chosen.count(3) >= 4


def test_one_state_is_chosen_where_there_is_one() -> None:
    one = torch.tensor([[0.5, -0.5]])
    train, held = (terms(at_points(one, count), dimensions=2) for count in (200, 100))
    assert choose_states(train, held, ONE, seed=0)[0].chosen == 1
