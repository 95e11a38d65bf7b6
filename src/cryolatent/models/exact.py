"""Closed-form posteriors of linear models, from inner products of slices.

An observation is explained by ``a Σ_c ζ_c g_c`` with noise of known variance, contrast a, and
coefficients ζ: ``(1, z)`` with z normal, or one of K unit vectors. All that the image says of them
is the Gram matrix ``G = 2 Re(gᴴ Σ⁻¹ g)`` and the vector ``y = 2 Re(gᴴ Σ⁻¹ x)``.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from cryolatent.models.contrast import ONE, Contrast
from cryolatent.models.distributions import Distribution, FullNormal, OneOf

NEWTON_STEPS = 8
NODES = 5
"""Gauss-Hermite nodes about each particle's most probable contrast."""


@dataclass(frozen=True)
class Moments:
    """What an expectation step finds of each particle.

    Args:
        posterior: Distribution of z.
        first: ``E[a ζ]``.
        second: ``E[a² ζ ζᵀ]`` (normal z), or its diagonal (unit vectors).
        gain: Log evidence of the image, relative to an empty image's.
        contrast: Mean and variance of a.
        bases: Probability of each alternative that coefficients are given under: of each volume, or
            of the one normal distribution.
        given: Mean and covariance of its coefficients, under each of them.
    """

    posterior: Distribution
    first: Float[Tensor, "n c"]
    second: Float[Tensor, "n *c"]
    gain: Float[Tensor, " n"]
    contrast: tuple[Float[Tensor, " n"], Float[Tensor, " n"]]
    bases: Float[Tensor, "n t"]
    given: tuple[Float[Tensor, "n t m"], Float[Tensor, "n t m m"]]


def normal_moments(
    gram: Float[Tensor, "n c c"], inner: Float[Tensor, "n c"], contrast: Contrast = ONE
) -> Moments:
    """The posterior of ``ζ = (1, z)``, z standard normal: ``Λ = 1 + a² G``, ``μ = Λ⁻¹ r``.

    Over an unknown contrast a the posterior of z is a mixture, of which mean and covariance are
    given: Gauss-Hermite quadrature centred on each particle's own posterior, which is much narrower
    than the prior.

    Args:
        gram: ``2 Re(gᴴ Σ⁻¹ g)``, the mean volume first.
        inner: ``2 Re(gᴴ Σ⁻¹ x)``.
        contrast: Prior of the contrast.

    Returns:
        Moments and evidence of each particle.
    """
    given = _Given.of(gram, inner)
    a, log_weights = given.contrasts(contrast.spread)
    right, precision = given.right(a), given.precision(a)
    gain = given.gain(a) + log_weights
    share = (gain - gain.logsumexp(-1, keepdim=True)).exp()
    mu, variance = right / precision, 1 / precision
    mean = torch.einsum("nq,nqj->nj", share, mu)
    a_mean, a_square = (share * a).sum(-1), (share * a.square()).sum(-1)
    plain, scaled = share, share * a.square()
    square, a_second = (_second(w, mu, variance) for w in (plain, scaled))
    turn = given.turn
    mean_z = (turn @ mean[..., None])[..., 0]
    # ζ = (1, z) times a: borders and block of the second moments
    first = torch.cat(
        [a_mean[:, None], _turned(turn, torch.einsum("nq,nqj->nj", share * a, mu))], 1
    )
    border = _turned(turn, torch.einsum("nq,nqj->nj", scaled, mu))
    second = torch.cat(
        [
            torch.cat([a_square[:, None], border], 1)[:, None],
            torch.cat([border[:, :, None], turn @ a_second @ turn.mT], 2),
        ],
        1,
    )
    covariance = turn @ (square - mean[:, :, None] * mean[:, None]) @ turn.mT
    q = FullNormal(mean_z, covariance)
    deviations = a_mean, a_square - a_mean.square()
    spread = second - first[:, :, None] * first[:, None]
    given_ = first[:, None], spread[:, None]
    evidence = gain.logsumexp(-1)
    return Moments(q, first, second, evidence, deviations, torch.ones_like(a_mean)[:, None], given_)


def class_moments(
    gram: Float[Tensor, "n k"],
    inner: Float[Tensor, "n k"],
    log_weights: Float[Tensor, "*n k"],
    contrast: Contrast = ONE,
) -> Moments:
    """The posterior of one of K volumes: responsibilities.

    Args:
        gram: ``2 gᴴ Σ⁻¹ g`` of each volume's slice.
        inner: ``2 Re(gᴴ Σ⁻¹ x)``.
        log_weights: Logarithms of the volumes' prior probabilities, or of what they are multiplied
            by for each particle.
        contrast: Prior of the contrast.

    Returns:
        Moments and evidence of each particle.
    """
    scaled = contrast.scaled(gram, inner)
    score = scaled.gain + log_weights
    gain = score.logsumexp(-1)
    share = (score - gain[:, None]).exp()
    first, second = share * scaled.mean, share * (scaled.variance + scaled.mean.square())
    mean = first.sum(-1)
    q = OneOf(share, log_weights.expand_as(share))
    given = scaled.mean[..., None], scaled.variance[..., None, None]
    return Moments(q, first, second, gain, (mean, second.sum(-1) - mean.square()), share, given)


@dataclass(frozen=True)
class _Given:
    """Normal posteriors given the contrast, in the basis in which their precision is diagonal."""

    power: Float[Tensor, " n"]
    pull: Float[Tensor, " n"]
    turn: Float[Tensor, "n j j"]
    values: Float[Tensor, "n j"]
    inner: Float[Tensor, "n j"]
    cross: Float[Tensor, "n j"]

    @staticmethod
    def of(gram: Tensor, inner: Tensor) -> "_Given":
        values, turn = torch.linalg.eigh(gram[:, 1:, 1:])
        back = turn.mT
        return _Given(
            gram[:, 0, 0],
            inner[:, 0],
            turn,
            values.clamp(min=0),
            _turned(back, inner[:, 1:]),
            _turned(back, gram[:, 1:, 0]),
        )

    def right(self, a: Tensor) -> Tensor:
        return a[..., None] * self.inner[:, None] - a.square()[..., None] * self.cross[:, None]

    def precision(self, a: Tensor) -> Tensor:
        return 1 + a.square()[..., None] * self.values[:, None]

    def gain(self, a: Float[Tensor, "n q"]) -> Float[Tensor, "n q"]:
        """Log evidence at each contrast."""
        precision = self.precision(a)
        mean = a * self.pull[:, None] - 0.5 * a.square() * self.power[:, None]
        explained = self.right(a).square() / precision - precision.log()
        return mean + 0.5 * explained.sum(-1)

    def slopes(self, a: Float[Tensor, " n"]) -> tuple[Tensor, Tensor]:
        """First derivative of the log evidence by the contrast, and minus the second."""
        a_, right, precision = a[:, None], self.right(a[:, None])[:, 0], self.precision(a[:, None])
        p, d = precision[:, 0], self.values
        r1, r2, p1, p2 = self.inner - 2 * a_ * self.cross, -2 * self.cross, 2 * a_ * d, 2 * d
        first = right * r1 / p - 0.5 * right.square() * p1 / p.square() - 0.5 * p1 / p
        second = (r1.square() + right * r2) / p - 2 * right * r1 * p1 / p.square()
        second = second + right.square() * (p1.square() / p**3 - 0.5 * p2 / p.square())
        second = second - 0.5 * (p2 / p - p1.square() / p.square())
        return (
            self.pull - a * self.power + first.sum(-1),
            self.power - second.sum(-1),
        )

    def contrasts(self, spread: float) -> tuple[Float[Tensor, "n q"], Float[Tensor, "n q"]]:
        """Nodes of the contrast, and the logarithms of what they count."""
        if spread == 0:
            one = torch.ones_like(self.power)[:, None]
            return one, torch.zeros_like(one)
        prior, a = spread**-2, torch.ones_like(self.power)
        curvature = torch.full_like(a, prior)
        for _ in range(NEWTON_STEPS):
            slope, bend = self.slopes(a)
            curvature = (bend + prior).clamp(min=0.25 * prior)
            step = (slope - (a - 1) * prior) / curvature
            a = a + step.clamp(-2 * spread, 2 * spread)
        nodes, weights = np.polynomial.hermite_e.hermegauss(NODES)
        u, log_w = (
            torch.from_numpy(array).to(a) for array in (nodes, np.log(weights / weights.sum()))
        )
        width = curvature.rsqrt()
        at = a[:, None] + width[:, None] * u
        log_prior = -0.5 * prior * (at - 1).square()
        return at, log_prior + log_w + 0.5 * u.square() + (width / spread).log()[:, None]


def _turned(turn: Tensor, vectors: Tensor) -> Tensor:
    return (turn @ vectors[..., None])[..., 0]


def _second(weights: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    """``Σ_q w (μ μᵀ + diag σ²)``."""
    outer = torch.einsum("nq,nqi,nqj->nij", weights, mean, mean)
    return outer + torch.diag_embed(torch.einsum("nq,nqj->nj", weights, variance))
