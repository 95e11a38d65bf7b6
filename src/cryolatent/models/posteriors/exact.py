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
from cryolatent.physics import Interpolation, pack, slice_products, unpack


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
        gram, inner = self._inner_products(batch, model)
        return self.moments(gram, inner, model.likelihood.contrast)

    def _inner_products(
        self, batch: Batch, model: GenerativeModel
    ) -> tuple[Float[Tensor, "n p"], Float[Tensor, "n c"]]:
        """Packed ``2 Re(gᴴ Σ⁻¹ g)`` and ``2 Re(gᴴ Σ⁻¹ x)`` of each particle's evidence."""
        decoder, likelihood = model.decoder, model.likelihood
        wanted = self.coefficients
        if not isinstance(decoder, SubspaceDecoder) or not isinstance(decoder.coefficients, wanted):
            raise ValueError(
                f"this posterior needs a subspace decoder with weights {wanted.__name__}"
            )
        if not isinstance(likelihood, FourierGaussian):
            raise ValueError("this posterior needs Gaussian noise")
        shown = batch.of_evidence()
        learning = torch.is_grad_enabled() and decoder.volumes.requires_grad
        nearest = decoder.interpolation is Interpolation.NEAREST
        products = self._compiled if nearest and not learning else self._sampled
        gram, inner = products(decoder, likelihood, shown)
        return shown.sum_by_particle(gram), shown.sum_by_particle(inner)

    def _compiled(
        self, decoder: SubspaceDecoder, likelihood: FourierGaussian, shown: Batch
    ) -> tuple[Tensor, Tensor]:
        """Products as expectation maximisation computes them, from the nearest voxels."""
        if shown.poses is None:
            raise ValueError("slices need poses")
        # what a Gaussian likelihood expects is the slice times transfer function and phase
        factor = likelihood.predict(torch.ones_like(shown.images), shown)
        gains = 2 / likelihood.noise_spectrum[decoder.disc.to(factor.device).shells]
        return slice_products(
            decoder.at_voxels(),
            shown.images * factor.conj(),
            factor.abs().square(),
            gains,
            shown.poses.rotations,
            decoder.lattice.to(factor.device),
            independent=self.independent,
        )

    def _sampled(
        self, decoder: SubspaceDecoder, likelihood: FourierGaussian, shown: Batch
    ) -> tuple[Tensor, Tensor]:
        """Products of sampled slices, by any interpolation, differentiable in the volumes."""
        slices = decoder.components(shown.poses)
        expected = slices * likelihood.predict(torch.ones_like(slices[..., 0]), shown)[..., None]
        shells = decoder.disc.to(expected.device).shells
        gain = (2 / likelihood.noise_spectrum[shells]).sqrt()
        weighted = (expected * gain[:, None]).movedim(-1, 1).contiguous()
        rows = torch.view_as_real(weighted).flatten(2)
        image = torch.view_as_real(shown.images * gain).flatten(1)
        gram, inner = rows @ rows.mT, (rows @ image[..., None])[..., 0]
        products = gram.diagonal(dim1=-2, dim2=-1) if self.independent else gram
        return self.packed(products), inner


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
