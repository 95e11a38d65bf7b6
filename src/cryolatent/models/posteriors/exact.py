"""Posteriors in closed form, for decoders that are linear in the latent."""

from abc import abstractmethod
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from cryolatent.data import Batch
from cryolatent.models.contrast import ONE, Contrast
from cryolatent.models.decoders import SubspaceDecoder
from cryolatent.models.decoders.coefficients import CoefficientMap, Linear, Shares
from cryolatent.models.distributions import Distribution
from cryolatent.models.exact import Moments, class_moments, normal_moments
from cryolatent.models.generative import GenerativeModel
from cryolatent.models.likelihood import FourierGaussian
from cryolatent.models.posteriors.base import Posterior, Reading
from cryolatent.models.posteriors.options import CategoricalOptions, ExactOptions
from cryolatent.models.setting import Setting
from cryolatent.physics import pack, unpack


class ClosedForm(Posterior):
    """A posterior that follows from the inner products of slices and images.

    Expectation maximisation, `infer` and analyses all ask `moments`, and so agree.
    """

    reads_images = True
    is_closed_form = True
    independent: ClassVar[bool]
    """Whether an image holds one component only, so that products of different ones vanish."""
    coefficients: ClassVar[type[CoefficientMap]]
    """Weights of the subspace decoder under which the posterior has this form."""

    @abstractmethod
    def moments(
        self, gram: Float[Tensor, "n p"], inner: Float[Tensor, "n c"], contrast: Contrast = ONE
    ) -> Moments:
        """The posterior of each particle, averaged over its contrast.

        Args:
            gram: Packed ``2 Re(gᴴ Σ⁻¹ g)``: lower triangles, or diagonals where `independent`.
            inner: ``2 Re(gᴴ Σ⁻¹ x)``.
            contrast: Prior of the contrast.

        Returns:
            Moments; `Moments.second` unpacked.
        """

    def packed(self, products: Float[Tensor, "n *c"]) -> Float[Tensor, "n p"]:
        """Pack products of components as `moments` and the normal equations want them.

        Args:
            products: Matrices, or diagonals where `independent`.

        Returns:
            Lower triangles, or diagonals.
        """
        return products if self.independent else pack(products).contiguous()

    def forward(self, batch: Batch, model: GenerativeModel) -> Distribution:
        """The distribution of each particle's latent, from its evidence and the model."""
        return self._explained(batch, model).posterior

    @torch.no_grad()
    def read(
        self, batch: Batch, model: GenerativeModel, generator: torch.Generator, samples: int = 1
    ) -> Reading:
        """The distribution and the evidence itself, where it is that of the images explained."""
        shown = batch.of_evidence()
        if batch.evidence.images is not batch.images:
            return super().read(batch, model, generator, samples)
        found = self._explained(batch, model)
        empty = model.likelihood.negative_log(shown.images, torch.zeros_like(shown.images))
        evidence, kl = found.gain - shown.sum_by_particle(empty), found.posterior.kl()
        return Reading(found.posterior, -evidence - kl, kl, evidence)

    def _explained(self, batch: Batch, model: GenerativeModel) -> Moments:
        gram, inner = _inner_products(batch, model, self.coefficients)
        products = gram.diagonal(dim1=-2, dim2=-1) if self.independent else gram
        return self.moments(self.packed(products), inner, model.likelihood.contrast)


class ExactGaussian(ClosedForm):
    """The normal posterior of a standard normal latent under a linear decoder.

    ``Λ = 1 + 2 Re(Gᴴ Σ⁻¹ G)`` and ``μ = Λ⁻¹ 2 Re(Gᴴ Σ⁻¹ (x - C P U_0))`` with G the filtered slices
    of the volumes ``U_1 ... U_J``. It has no parameters: decoder and noise define it.

    Args:
        z_dim: Number of latent dimensions.
    """

    independent = False
    coefficients = Linear

    def __init__(self, z_dim: int) -> None:
        super().__init__()
        self.z_dim = z_dim

    @classmethod
    def build(cls, options: ExactOptions, setting: Setting) -> "ExactGaussian":
        """Of the setting's dimensions."""
        return cls(setting.z_dim)

    def moments(
        self, gram: Float[Tensor, "n p"], inner: Float[Tensor, "n c"], contrast: Contrast = ONE
    ) -> Moments:
        """The normal posterior of each particle."""
        return normal_moments(unpack(gram), inner, contrast)


class Categorical(ClosedForm):
    """The responsibilities of K volumes for each particle.

    Args:
        states: Number K of volumes.
        log_weights: Logarithms of the volumes' prior probabilities; equal if left out.

    Source:
        Scheres et al. 2007, doi:10.1038/nmeth992; Edelberg and Lederman 2023, YALEU/TR-1565,
        section 2.2.1.
    """

    gives_states = True
    independent = True
    coefficients = Shares

    def __init__(self, states: int, log_weights: Float[Tensor, " k"] | None = None) -> None:
        super().__init__()
        self.z_dim = states
        equal = torch.full((states,), 1 / states).log()
        self.register_buffer("log_weights", equal if log_weights is None else log_weights)
        self.log_weights: Tensor

    @classmethod
    def build(cls, options: CategoricalOptions, setting: Setting) -> "Categorical":
        """Of as many states as the setting has dimensions; how many are wanted is kept aside."""
        posterior = cls(setting.z_dim)
        posterior.states_asked = options.states
        return posterior

    def moments(
        self, gram: Float[Tensor, "n p"], inner: Float[Tensor, "n c"], contrast: Contrast = ONE
    ) -> Moments:
        """The responsibilities of each particle."""
        return class_moments(gram, inner, self.log_weights, contrast)


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
    gain = (2 / likelihood.noise_spectrum[decoder.disc.to(evidence.images.device).shells]).sqrt()
    rows = torch.view_as_real((expected * gain[:, None]).movedim(-1, 1).contiguous()).flatten(2)
    image = torch.view_as_real(evidence.images * gain).flatten(1)
    gram, inner = rows @ rows.mT, (rows @ image[..., None])[..., 0]
    return shown.sum_by_particle(gram), shown.sum_by_particle(inner)
