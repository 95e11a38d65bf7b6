"""Distinct states in a latent space: mixtures read from each particle's own posterior.

Particle i's images enter through its quadratic log likelihood ``yᵀ ζ - ½ ζᵀ G ζ``, ``ζ = (1, z)``,
which is all that a linear model keeps of them. So a particle with a broad posterior counts for
little, and no point estimate is clustered.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from cryolatent.models.contrast import ONE, Contrast
from cryolatent.models.exact import Moments, class_moments

STARTS = 10
ITERATIONS = 100
GAIN = 1e-4


@dataclass(frozen=True)
class Mixture:
    """States at points of the latent space.

    Args:
        points: One latent per state.
        log_weights: Logarithms of the states' probabilities.
        evidence: Sum of the particles' log evidence, relative to empty images'.
    """

    points: Float[Tensor, "k zdim"]
    log_weights: Float[Tensor, " k"]
    evidence: float

    def contracted(self, factor: float) -> "Mixture":
        """The same states nearer to their mean.

        Args:
            factor: Of their distances from it.

        Returns:
            The mixture.
        """
        mean = self.log_weights.exp() @ self.points
        return replace(self, points=mean + factor * (self.points - mean))

    def moments(
        self,
        gram: Float[Tensor, "n c c"],
        inner: Float[Tensor, "n c"],
        contrast: Contrast = ONE,
    ) -> Moments:
        """The responsibilities of each particle.

        Args:
            gram: Quadratic terms of the particles' log likelihoods.
            inner: Their linear terms.
            contrast: Prior of the contrast.

        Returns:
            Posteriors over states, and evidence.
        """
        zeta = torch.cat([torch.ones_like(self.points[:, :1]), self.points], dim=-1)
        outer = (zeta[:, :, None] * zeta[:, None]).flatten(1)
        return class_moments(gram.flatten(1) @ outer.T, inner @ zeta.T, self.log_weights, contrast)


def fit_mixture(
    gram: Float[Tensor, "n c c"],
    inner: Float[Tensor, "n c"],
    candidates: Float[Tensor, "n zdim"],
    states: int,
    *,
    seed: int = 0,
    contrast: Contrast = ONE,
    rival: Float[Tensor, " n"] | None = None,
) -> Mixture:
    """Place states where they explain the particles best: several starts, the best evidence kept.

    Args:
        gram: Quadratic terms of the particles' log likelihoods.
        inner: Their linear terms.
        candidates: Latents among which the starts are drawn, such as posterior means.
        states: Number of states.
        seed: Fixes the starts.
        contrast: Prior of the contrast.
        rival: Log evidence that a particle is of no state, relative to its being of one; of none
            if left out.

    Returns:
        The mixture, states in the order of falling weight.
    """
    generator = torch.Generator().manual_seed(seed)
    draws = [torch.randperm(len(candidates), generator=generator)[:states] for _ in range(STARTS)]
    rival = inner.new_full((len(inner),), -torch.inf) if rival is None else rival
    found = [_climb(gram, inner, candidates[draw], contrast, rival) for draw in draws]
    best = max(found, key=lambda mixture: mixture.evidence)
    order = best.log_weights.argsort(descending=True)
    return Mixture(best.points[order], best.log_weights[order], best.evidence)


def likelihood_terms(
    mean: Float[Tensor, "n zdim"], covariance: Float[Tensor, "n zdim zdim"]
) -> tuple[Float[Tensor, "n c c"], Float[Tensor, "n c"]]:
    """The log likelihoods that normal posteriors under a standard normal prior imply.

    Args:
        mean: Means μ.
        covariance: Covariances ``Λ⁻¹``.

    Returns:
        Quadratic and linear terms as `fit_mixture` wants them, but for a constant: ``Λ - 1`` and
        ``Λ μ``, zero for the constant coefficient.
    """
    precision = torch.linalg.inv(covariance)
    n, size = mean.shape
    gram, inner = torch.zeros(n, size + 1, size + 1), torch.zeros(n, size + 1)
    gram[:, 1:, 1:] = precision - torch.eye(size)
    inner[:, 1:] = (precision @ mean[..., None])[..., 0]
    return gram, inner


def _climb(
    gram: Tensor, inner: Tensor, points: Tensor, contrast: Contrast, rival: Tensor
) -> Mixture:
    """Expectation maximisation from given points, under a standard normal prior of the points."""
    states, z_dim = points.shape
    mixture = Mixture(points, torch.full((states,), 1 / states).log(), -torch.inf)
    for _ in range(ITERATIONS):
        q = mixture.moments(gram, inner, contrast)
        evidence = float(torch.logaddexp(q.gain, rival).double().sum())
        if evidence - mixture.evidence < GAIN * len(gram):
            return Mixture(mixture.points, mixture.log_weights, evidence)
        share = torch.sigmoid(q.gain - rival)[:, None]
        quadratic = ((share * q.second).T @ gram.flatten(1)).view(states, z_dim + 1, z_dim + 1)
        linear = (share * q.first).T @ inner
        right = linear[:, 1:] - quadratic[:, 1:, 0]
        points = torch.linalg.solve(quadratic[:, 1:, 1:] + torch.eye(z_dim), right)
        weights = (share * q.posterior.mean).mean(0).clamp(min=1e-6)
        mixture = Mixture(points, (weights / weights.sum()).log(), evidence)
    return mixture
