"""Posteriors in closed form, for decoders that are linear in the latent."""

from dataclasses import replace
from typing import ClassVar

import torch
from jaxtyping import Complex, Float, Int
from torch import Tensor

from cryolatent.data import Batch, FilteredImages
from cryolatent.models.beliefs import Beliefs
from cryolatent.models.coefficients import CoefficientPosterior
from cryolatent.models.contrast import ONE, Contrast
from cryolatent.models.decoders import SubspaceDecoder
from cryolatent.models.decoders.coefficients import CoefficientMap, Linear, Shares
from cryolatent.models.distributions import Distribution, OneOf
from cryolatent.models.everywhere import pose_posterior
from cryolatent.models.exact import Moments, class_moments, normal_moments
from cryolatent.models.generative import GenerativeModel
from cryolatent.models.hypothesis import Explained, Hypothesis
from cryolatent.models.likelihood import FourierGaussian
from cryolatent.models.posteriors.base import Posterior, Reading
from cryolatent.models.posteriors.options import CategoricalOptions, ExactOptions
from cryolatent.models.setting import Setting
from cryolatent.models.settling import PosePosterior
from cryolatent.physics import Interpolation, pack, slice_products, unpack

LEAST_CONTRAST = 0.05
"""Draws of the contrast are not smaller: no image is inserted upside down."""


class ClosedForm(Posterior, CoefficientPosterior):
    """A posterior that follows from the inner products of slices and images.

    Expectation maximisation, `infer` and analyses all ask `moments`, and so agree.
    """

    reads_images = True
    is_closed_form = True
    coefficients: ClassVar[type[CoefficientMap]]
    """Weights of the subspace decoder under which the posterior has this form."""
    _kept: Hypothesis | None = None
    _poses: PosePosterior

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
        if self._doubts(model):
            return self._settled(batch, model).moments.posterior
        return self._explained(batch, model).posterior

    @torch.no_grad()
    def read(
        self, batch: Batch, model: GenerativeModel, generator: torch.Generator, samples: int = 1
    ) -> Reading:
        """The distribution and the evidence itself, where it is that of the images explained."""
        shown = batch.of_evidence()
        if batch.evidence.images is not batch.images:
            return super().read(batch, model, generator, samples)
        if self._doubts(model):
            settled = self._settled(batch, model)
            q, evidence, beliefs = settled.moments.posterior, settled.evidence, Beliefs.of(settled)
        else:
            found, beliefs = self._explained(batch, model), None
            empty = model.likelihood.negative_log(shown.images, torch.zeros_like(shown.images))
            q, evidence = found.posterior, found.gain - shown.sum_by_particle(empty)
        kl = q.kl()
        return Reading(q, -evidence - kl, kl, evidence, beliefs)

    def _doubts(self, model: GenerativeModel) -> bool:
        """Whether poses or particles are doubted, which volumes that learn do not know of."""
        likelihood, decoder = model.likelihood, model.decoder
        if not isinstance(likelihood, FourierGaussian) or not isinstance(decoder, SubspaceDecoder):
            return False
        nearest = decoder.interpolation is Interpolation.NEAREST
        learning = torch.is_grad_enabled() and decoder.volumes.requires_grad
        return nearest and not learning and likelihood.nuisances.doubts_images

    def poses(self, model: GenerativeModel) -> PosePosterior:
        """How a model's particles are read where poses or particles are doubted.

        Args:
            model: Decoder and likelihood.

        Returns:
            The posterior of poses and all else, kept until volumes, noise or nuisances are others.

        Raises:
            ValueError: If the model is not one that this posterior has a form for.
        """
        decoder, likelihood = self._parts(model)
        values, noise = decoder.at_voxels(), likelihood.noise_spectrum
        nuisances, kept = likelihood.nuisances, self._kept
        same = kept is not None and kept.values is values and kept.nuisances is nuisances
        if kept is None or not same or not torch.equal(kept.noise, noise):
            # volumes and their derivatives at every step: made once, not for every batch
            lattice = decoder.lattice.to(values.device)
            self._kept = kept = Hypothesis(lattice, values, noise.clone(), self, nuisances)
            self._poses = pose_posterior(kept)
        return self._poses

    def _settled(self, batch: Batch, model: GenerativeModel) -> Explained:
        likelihood = self._parts(model)[1]
        shown = self._filtered(batch.of_evidence(), likelihood)
        return self.poses(model).explain(shown)

    def _filtered(self, shown: Batch, likelihood: FourierGaussian) -> FilteredImages:
        """Evidence as the compiled products want it."""
        if shown.poses is None:
            raise ValueError("slices need poses")
        # what a Gaussian likelihood expects is the slice times transfer function and phase
        factor = likelihood.predict(torch.ones_like(shown.images), shown)
        disc = likelihood.disc.to(factor.device)
        power = factor.real.new_zeros(len(factor), disc.radius + 1)
        power.index_add_(1, disc.shells, shown.images.real.square() + shown.images.imag.square())
        return FilteredImages(
            shown.index,
            shown.owner,
            shown.images * factor.conj(),
            factor.real.square() + factor.imag.square(),
            power[:, 1:],
            shown.poses.rotations.contiguous(),
            torch.arange(len(factor), device=factor.device),
        )

    def _parts(self, model: GenerativeModel) -> tuple[SubspaceDecoder, FourierGaussian]:
        """Decoder and likelihood, if they are such as this posterior has a form for."""
        decoder, likelihood = model.decoder, model.likelihood
        wanted = self.coefficients
        if not isinstance(decoder, SubspaceDecoder) or not isinstance(decoder.coefficients, wanted):
            raise ValueError(
                f"this posterior needs a subspace decoder with weights {wanted.__name__}"
            )
        if not isinstance(likelihood, FourierGaussian):
            raise ValueError("this posterior needs Gaussian noise")
        return decoder, likelihood

    def _explained(self, batch: Batch, model: GenerativeModel) -> Moments:
        gram, inner = self._inner_products(batch, model)
        return self.moments(gram, inner, model.likelihood.contrast)

    def _inner_products(
        self, batch: Batch, model: GenerativeModel
    ) -> tuple[Float[Tensor, "n p"], Float[Tensor, "n c"]]:
        """Packed ``2 Re(gᴴ Σ⁻¹ g)`` and ``2 Re(gᴴ Σ⁻¹ x)`` of each particle's evidence."""
        decoder, likelihood = self._parts(model)
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
        part = self._filtered(shown, likelihood)
        disc = decoder.disc.to(part.weights.device)
        return slice_products(
            decoder.at_voxels(),
            part.images,
            part.weights,
            2 / likelihood.noise_spectrum[disc.shells],
            part.rotations,
            decoder.lattice.to(part.weights.device),
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
        self,
        gram: Float[Tensor, "n p"],
        inner: Float[Tensor, "n c"],
        contrast: Contrast = ONE,
        gain: Float[Tensor, "n 1"] | None = None,
    ) -> Moments:
        """The normal posterior of each particle."""
        found = normal_moments(unpack(gram), inner, contrast)
        return found if gain is None else replace(found, gain=found.gain + gain[:, 0])

    def bases(self, values: Complex[Tensor, "v c"]) -> Complex[Tensor, "v 1"]:
        """The mean volume."""
        return values[:, :1]

    def drawn(
        self, found: Moments, normal: Float[Tensor, "n w"]
    ) -> tuple[Int[Tensor, " n"], Float[Tensor, " n"], Float[Tensor, "n 1 c"]]:
        """Contrasts, and latents ``μ + L ε``."""
        a, q = _contrast(*found.contrast, normal[:, 0]), found.posterior
        covariance = q.covariance_or_none
        if covariance is None:
            raise TypeError(f"expected normal latents, found {type(q)}")
        size = covariance.shape[-1]
        # rounding may leave a covariance slightly indefinite: its diagonal is never below this
        floor = 1e-6 * torch.eye(size, device=covariance.device)
        root = torch.linalg.cholesky(covariance + floor)
        z = q.mean + (root @ normal[:, 1 : 1 + size, None])[..., 0]
        zeta = torch.cat([torch.ones_like(a)[:, None], z], dim=-1)
        return torch.zeros_like(a, dtype=torch.long), a, (a[:, None] * zeta)[:, None]


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
        self,
        gram: Float[Tensor, "n p"],
        inner: Float[Tensor, "n c"],
        contrast: Contrast = ONE,
        gain: Float[Tensor, "n k"] | None = None,
    ) -> Moments:
        """The responsibilities of each particle."""
        weights = self.log_weights if gain is None else self.log_weights + gain
        found = class_moments(gram, inner, weights, contrast)
        # whatever else speaks for a volume, the prior is that of the weights
        prior = self.log_weights.expand_as(found.bases)
        return replace(found, posterior=OneOf(found.bases, prior))

    def prior_sample(self, count: int, generator: torch.Generator) -> Float[Tensor, "n k"]:
        """States of the prior's probabilities, as unit vectors."""
        drawn = torch.multinomial(self.log_weights.exp(), count, True, generator=generator)
        return torch.nn.functional.one_hot(drawn, self.z_dim).float()

    def bases(self, values: Complex[Tensor, "v k"]) -> Complex[Tensor, "v k"]:
        """Every volume."""
        return values

    def drawn(
        self, found: Moments, normal: Float[Tensor, "n w"]
    ) -> tuple[Int[Tensor, " n"], Float[Tensor, " n"], Float[Tensor, "n k 1"]]:
        """One state each, where the shares' running sum passes a uniform number."""
        share, (mean, variance) = found.bases, found.given
        uniform = torch.special.ndtr(normal[:, 1:2])
        base = (share.cumsum(-1) < uniform).sum(-1).clamp(max=share.shape[1] - 1)
        rows = torch.arange(len(base), device=base.device)
        a = _contrast(mean[rows, base, 0], variance[rows, base, 0, 0], normal[:, 0])
        return base, a, a[:, None, None].expand(-1, share.shape[1], 1)


def _contrast(
    mean: Float[Tensor, " n"], variance: Float[Tensor, " n"], normal: Float[Tensor, " n"]
) -> Float[Tensor, " n"]:
    return (mean + variance.clamp(min=0).sqrt() * normal).clamp(min=LEAST_CONTRAST)
