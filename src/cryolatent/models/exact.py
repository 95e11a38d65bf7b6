"""Closed-form posteriors of linear models, from inner products of slices.

An observation is explained by ``a Σ_c ζ_c g_c`` with noise of known variance, contrast a, and
coefficients ζ: ``(1, z)`` with z normal, or one of K unit vectors. All that the image says of them
is the Gram matrix ``G = 2 Re(gᴴ Σ⁻¹ g)`` and the vector ``y = 2 Re(gᴴ Σ⁻¹ x)``.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from cryolatent.models.contrast import ONE, Contrast
from cryolatent.models.distributions import Distribution, FullNormal, OneOf


@dataclass(frozen=True)
class Moments:
    """What an expectation step finds of each particle.

    Args:
        posterior: Distribution of z.
        first: ``E[a ζ]``.
        second: ``E[a² ζ ζᵀ]`` (normal z), or its diagonal (unit vectors).
        gain: Log evidence of the image, relative to an empty image's.
    """

    posterior: Distribution
    first: Float[Tensor, "n c"]
    second: Float[Tensor, "n *c"]
    gain: Float[Tensor, " n"]


def normal_moments(
    gram: Float[Tensor, "n c c"], inner: Float[Tensor, "n c"], contrast: Contrast = ONE
) -> Moments:
    """The posterior of ``ζ = (1, z)``, z standard normal: ``Λ = 1 + a² G``, ``μ = Λ⁻¹ r``.

    With several contrasts the posterior of z is a mixture, of which mean and covariance are given.

    Args:
        gram: ``2 Re(gᴴ Σ⁻¹ g)``, the mean volume first.
        inner: ``2 Re(gᴴ Σ⁻¹ x)``.
        contrast: Prior of the contrast.

    Returns:
        Moments and evidence of each particle.
    """
    parts = [_normal_at(gram, inner, a) for a in contrast.values.tolist()]
    gain = torch.stack([part[2] for part in parts], dim=-1)
    gain = gain + contrast.log_weights.to(gain.device)
    share = (gain - gain.logsumexp(-1, keepdim=True)).exp()
    mean = torch.zeros_like(parts[0][0])
    first, second = torch.zeros_like(inner), torch.zeros_like(gram)
    square = torch.zeros_like(parts[0][1])
    for (mu, covariance, _), a, w in zip(
        parts, contrast.values.tolist(), share.unbind(-1), strict=True
    ):
        zeta = torch.cat([torch.ones_like(mu[:, :1]), mu], dim=-1)
        outer = zeta[:, :, None] * zeta[:, None]
        outer[:, 1:, 1:] += covariance
        mean = mean + w[:, None] * mu
        first = first + a * w[:, None] * zeta
        second = second + a * a * w[:, None, None] * outer
        square = square + w[:, None, None] * outer[:, 1:, 1:]
    covariance = square - mean[:, :, None] * mean[:, None]
    return Moments(FullNormal(mean, covariance), first, second, gain.logsumexp(-1))


def class_moments(
    gram: Float[Tensor, "n k"],
    inner: Float[Tensor, "n k"],
    log_weights: Float[Tensor, " k"],
    contrast: Contrast = ONE,
) -> Moments:
    """The posterior of one of K volumes: responsibilities.

    Args:
        gram: ``2 gᴴ Σ⁻¹ g`` of each volume's slice.
        inner: ``2 Re(gᴴ Σ⁻¹ x)``.
        log_weights: Logarithms of the volumes' prior probabilities.
        contrast: Prior of the contrast.

    Returns:
        Moments and evidence of each particle.
    """
    a, log_contrast = contrast.values.to(inner.device), contrast.log_weights.to(inner.device)
    score = inner[..., None] * a - 0.5 * gram[..., None] * a.square()
    score = score + log_weights[:, None] + log_contrast
    gain = score.flatten(1).logsumexp(-1)
    share = (score - gain[:, None, None]).exp()
    mean = share.sum(-1)
    first, second = (share * a).sum(-1), (share * a.square()).sum(-1)
    return Moments(OneOf(mean, log_weights.expand_as(mean)), first, second, gain)


def _normal_at(gram: Tensor, inner: Tensor, contrast: float) -> tuple[Tensor, Tensor, Tensor]:
    """Mean, covariance and log evidence at one contrast."""
    a, z_dim = contrast, inner.shape[1] - 1
    precision = a * a * gram[:, 1:, 1:] + torch.eye(z_dim, device=gram.device)
    right = a * inner[:, 1:] - a * a * gram[:, 1:, 0]
    root = torch.linalg.cholesky(precision)
    covariance = torch.cholesky_inverse(root)
    mean = (covariance @ right[..., None])[..., 0]
    half_log_det = root.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    gain = a * inner[:, 0] - 0.5 * a * a * gram[:, 0, 0] + 0.5 * (right * mean).sum(-1)
    return mean, covariance, gain - half_log_det
