"""Mixtures read from quadratic log likelihoods of a problem whose answer is known."""

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from cryolatent.models.exact import normal_moments
from cryolatent.models.mixture import Mixture, fit_mixture, likelihood_terms

POINTS = torch.tensor([[1.5, 0.0], [-1.0, 1.0], [0.0, -1.5], [-1.2, -0.8]])
WEIGHTS = torch.tensor([0.4, 0.3, 0.2, 0.1])


@dataclass(frozen=True)
class Problem:
    """Particles at one of four points, seen with a precision of their own."""

    gram: Tensor
    inner: Tensor
    state: Tensor


@pytest.fixture(scope="module")
def problem() -> Problem:
    return make(4000)


def make(count: int) -> Problem:
    """Images ``g ζ + noise`` of unit variance, of lengths that differ from particle to particle."""
    generator = torch.Generator().manual_seed(3)
    state = torch.multinomial(WEIGHTS, count, replacement=True, generator=generator)
    strength = 0.1 + 0.7 * torch.rand(count, 1, 1, generator=generator)
    g = strength * torch.randn(count, 12, 3, generator=generator)
    zeta = torch.cat([torch.ones(count, 1), POINTS[state]], dim=-1)
    x = (g @ zeta[..., None])[..., 0] + torch.randn(count, 12, generator=generator)
    return Problem(g.mT @ g, (g.mT @ x[..., None])[..., 0], state)


def fitted(problem: Problem, states: int = 4) -> Mixture:
    candidates = normal_moments(problem.gram, problem.inner).posterior.mean
    return fit_mixture(problem.gram, problem.inner, candidates, states, seed=1)


def test_points_and_weights_are_recovered(problem: Problem) -> None:
    found = fitted(problem)
    torch.testing.assert_close(found.points, POINTS, rtol=0, atol=0.15)
    torch.testing.assert_close(found.log_weights.exp(), WEIGHTS, rtol=0, atol=0.04)
    assert float(found.log_weights.exp().sum()) == pytest.approx(1, abs=1e-5)
    # a fit of posterior means would be shrunk towards zero
    assert (found.points.norm(dim=-1) / POINTS.norm(dim=-1)).min() > 0.9


def test_evidence_is_that_of_the_particles(problem: Problem) -> None:
    found = fitted(problem)
    again = found.moments(problem.gram, problem.inner).gain.double().sum()
    assert found.evidence == pytest.approx(float(again), rel=1e-6)
    assert found.evidence > fitted(problem, 3).evidence


def test_responsibilities_are_calibrated(problem: Problem) -> None:
    truth = Mixture(POINTS, WEIGHTS.log(), 0.0)
    shares = truth.moments(problem.gram, problem.inner).posterior.mean.flatten()
    is_state = torch.nn.functional.one_hot(problem.state, 4).flatten().float()
    for low in (0.0, 0.2, 0.4, 0.6, 0.8):
        rows = (shares >= low) & (shares < low + 0.2)
        count = int(rows.sum())
        assert count > 100
        error = float((shares[rows] * (1 - shares[rows])).sum().sqrt()) / count
        assert abs(float(is_state[rows].mean() - shares[rows].mean())) < 4 * error + 1e-3


def test_posteriors_imply_the_same_responsibilities(problem: Problem) -> None:
    mixture = Mixture(POINTS, WEIGHTS.log(), 0.0)
    posterior = normal_moments(problem.gram, problem.inner).posterior
    expected = mixture.moments(problem.gram, problem.inner).posterior.mean
    found = mixture.moments(*likelihood_terms(posterior.loc, posterior.covariance)).posterior.mean
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-3)


def test_same_seed_same_mixture(problem: Problem) -> None:
    assert torch.equal(fitted(problem).points, fitted(problem).points)


def test_states_come_by_falling_weight(problem: Problem) -> None:
    weights = fitted(problem).log_weights
    assert torch.equal(weights, weights.sort(descending=True).values)
