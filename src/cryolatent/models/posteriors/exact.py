"""Posteriors in closed form, for decoders that are linear in the latent."""

import torch
from jaxtyping import Float
from torch import Tensor

from cryolatent.data import Batch
from cryolatent.models.decoders import SubspaceDecoder
from cryolatent.models.decoders.coefficients import CoefficientMap, Linear, Shares
from cryolatent.models.distributions import Distribution
from cryolatent.models.exact import Contrast, class_moments, normal_moments
from cryolatent.models.generative import GenerativeModel
from cryolatent.models.likelihood import FourierGaussian
from cryolatent.models.posteriors.base import Posterior


class ExactGaussian(Posterior):
    """The normal posterior of a standard normal latent under a linear decoder.

    ``Λ = 1 + 2 Re(Gᴴ Σ⁻¹ G)`` and ``μ = Λ⁻¹ 2 Re(Gᴴ Σ⁻¹ (x - C P U_0))`` with G the filtered slices
    of the volumes ``U_1 ... U_J``. It has no parameters: decoder and noise define it.

    Args:
        z_dim: Number of latent dimensions.
        contrast_spread: Standard deviation of the particles' contrast about one; with it the
            posterior is that of z, averaged over contrasts.
    """

    def __init__(self, z_dim: int, *, contrast_spread: float = 0.0) -> None:
        super().__init__()
        self.z_dim = z_dim
        self.contrast = Contrast.of_spread(contrast_spread)

    def forward(self, batch: Batch, model: GenerativeModel) -> Distribution:
        """The distribution of each particle's latent, from its evidence and the model."""
        gram, inner = _inner_products(batch, model, Linear)
        return normal_moments(gram, inner, self.contrast).posterior


class Categorical(Posterior):
    """The responsibilities of K volumes for each particle.

    Args:
        states: Number K of volumes.
        contrast_spread: Standard deviation of the particles' contrast about one.

    Source:
        Scheres et al. 2007, doi:10.1038/nmeth992; Edelberg and Lederman 2023, YALEU/TR-1565,
        section 2.2.1.
    """

    def __init__(self, states: int, *, contrast_spread: float = 0.0) -> None:
        super().__init__()
        self.z_dim = states
        self.contrast = Contrast.of_spread(contrast_spread)
        self.register_buffer("log_weights", torch.full((states,), 1 / states).log())
        self.log_weights: Tensor

    def forward(self, batch: Batch, model: GenerativeModel) -> Distribution:
        """The distribution over states, from the evidence and the model."""
        gram, inner = _inner_products(batch, model, Shares)
        diagonal = gram.diagonal(dim1=-2, dim2=-1)
        return class_moments(diagonal, inner, self.log_weights, self.contrast).posterior


def _inner_products(
    batch: Batch, model: GenerativeModel, wanted: type[CoefficientMap]
) -> tuple[Float[Tensor, "n c c"], Float[Tensor, "n c"]]:
    """``2 Re(gᴴ Σ⁻¹ g)`` and ``2 Re(gᴴ Σ⁻¹ x)`` of each particle's evidence."""
    decoder, likelihood, evidence = model.decoder, model.likelihood, batch.evidence
    if not isinstance(decoder, SubspaceDecoder) or not isinstance(decoder.coefficients, wanted):
        raise ValueError(f"this posterior needs a subspace decoder with weights {wanted.__name__}")
    if not isinstance(likelihood, FourierGaussian):
        raise ValueError("this posterior needs Gaussian noise")
    shown = batch.of_evidence()
    slices = decoder.components(evidence.poses)
    expected = torch.stack(
        [likelihood.predict(slices[..., c], shown) for c in range(slices.shape[-1])], dim=-1
    )
    gain = (2 / likelihood.noise_spectrum[decoder.disc.shells]).sqrt()
    rows = torch.view_as_real((expected * gain[:, None]).movedim(-1, 1).contiguous()).flatten(2)
    image = torch.view_as_real(evidence.images * gain).flatten(1)
    gram, inner = rows @ rows.mT, (rows @ image[..., None])[..., 0]
    return batch.sum_by_particle(gram), batch.sum_by_particle(inner)
