"""How well rendered latents explain observations."""

from abc import ABC, abstractmethod
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Complex, Float, Inexact
from torch import Tensor, nn

from cryolatent.data import Batch
from cryolatent.models.contrast import ONE, Contrast
from cryolatent.models.nuisances import TRUSTED, Nuisances
from cryolatent.models.options import BernoulliOptions, GaussianOptions
from cryolatent.models.setting import Setting
from cryolatent.physics import (
    ALL_COEFFICIENTS,
    CoefficientSubset,
    FourierDisc,
    shift_phases,
)


class Likelihood(nn.Module, ABC):
    """Density of observations given what the decoder rendered.

    `contrast` is the prior of the particles' contrast, which multiplies what is expected of all
    observations of a particle; `cryolatent.models.GenerativeModel` averages over it.
    """

    @property
    def contrast(self) -> Contrast:
        """Prior of the particles' contrast: none but one, of a density without one."""
        return ONE

    @abstractmethod
    def predict(self, rendered: Inexact[Tensor, "obs k"], batch: Batch) -> Inexact[Tensor, "obs k"]:
        """The observations expected for what the decoder rendered.

        Args:
            rendered: The decoder's output.
            batch: The observations; their images are not looked at.

        Returns:
            Expected observations.
        """

    @abstractmethod
    def negative_log(
        self,
        images: Inexact[Tensor, "obs k"],
        predicted: Inexact[Tensor, "obs k"],
        subset: CoefficientSubset = ALL_COEFFICIENTS,
    ) -> Float[Tensor, " obs"]:
        """Negative log density of observations, in nats.

        Args:
            images: Observations.
            predicted: Expected observations.
            subset: Which coefficients these are.

        Returns:
            One value per observation, an unbiased estimate of that of all coefficients.
        """

    def inner_products(
        self,
        images: Inexact[Tensor, "obs k"],
        predicted: Inexact[Tensor, "obs k"],
        subset: CoefficientSubset = ALL_COEFFICIENTS,
    ) -> tuple[Float[Tensor, " obs"], Float[Tensor, " obs"]]:
        """How the density depends on a factor a of what is expected: ``a y - ½ a² G`` in the log.

        Args:
            images: Observations.
            predicted: Expected observations.
            subset: Which coefficients these are.

        Returns:
            G and y.

        Raises:
            TypeError: If the density is not Gaussian.
        """
        raise TypeError(f"{type(self).__name__} has no contrast")

    @abstractmethod
    def mean_squared_error(
        self,
        images: Inexact[Tensor, "obs k"],
        predicted: Inexact[Tensor, "obs k"],
        subset: CoefficientSubset = ALL_COEFFICIENTS,
    ) -> Float[Tensor, " obs"]:
        """Mean squared error per real degree of freedom, relative to the data's variance.

        Args:
            images: Observations.
            predicted: Expected observations.
            subset: Which coefficients these are.

        Returns:
            One value per observation, an unbiased estimate of that of all coefficients.
        """

    @property
    @abstractmethod
    def degrees_of_freedom(self) -> int:
        """Real numbers per observation."""

    def observe(
        self,
        images: Inexact[Tensor, "obs k"],
        predicted: Inexact[Tensor, "obs k"],
        subset: CoefficientSubset = ALL_COEFFICIENTS,
        share: Float[Tensor, " obs"] | None = None,
    ) -> None:
        """Collect residuals for `refit`; nothing to do for a density without parameters.

        Args:
            images: Observations.
            predicted: Expected observations of a posterior sample.
            subset: Which coefficients these are.
            share: How much each observation counts; 1 if left out.
        """

    def refit(self) -> None:
        """Re-estimate the density's parameters from the residuals collected since the last time."""

    def noise_by_shell(self) -> Float[Tensor, " shells"]:
        """Variance of the noise in each Fourier shell, for the log.

        Returns:
            By default nothing, for a density without such noise.
        """
        return torch.zeros(0)


class FourierGaussian(Likelihood):
    """Independent complex Gaussian noise, with one variance per shell.

    ``x(k) = CTF(k) exp(-2 pi i k.t) V(k R) + ε(k)``, ``ε(k) ~ CN(0, σ²(|k|))``.

    Args:
        disc: The coefficients that are compared.
        noise_spectrum: Variance σ² of a complex coefficient, shells 0 to ``disc.radius``.
        power_spectrum: Mean power of the data, same shells; scales `mean_squared_error`.
        nuisances: What is doubted of poses, contrast and particles.
    """

    def __init__(
        self,
        disc: FourierDisc,
        noise_spectrum: Float[Tensor, " shells"],
        power_spectrum: Float[Tensor, " shells"],
        nuisances: Nuisances = TRUSTED,
    ) -> None:
        super().__init__()
        self.disc = disc
        for name, tensor in nuisances.to_tensors(disc.radius).items():
            self.register_buffer(name, tensor)
        self._nuisances = nuisances
        variance = float(power_spectrum[disc.shells].mean())
        self.register_buffer("noise_spectrum", noise_spectrum.clone())
        self.register_buffer("data_variance", torch.tensor(variance))
        self.register_buffer("residual_power", torch.zeros_like(noise_spectrum, dtype=torch.double))
        self.register_buffer("residual_count", torch.zeros_like(noise_spectrum, dtype=torch.double))
        self.noise_spectrum: Tensor
        self.data_variance: Tensor
        self.residual_power: Tensor
        self.residual_count: Tensor

    @classmethod
    def build(cls, options: GaussianOptions, setting: Setting) -> "FourierGaussian":
        """Noise that begins with the spectrum of the images' backgrounds."""
        spectra = setting.spectra
        nuisances = Nuisances(contrast=Contrast(options.contrast_spread))
        return cls(setting.disc, spectra.background, spectra.power, nuisances)

    @property
    def nuisances(self) -> Nuisances:
        """What is doubted of poses, contrast and particles; kept in buffers, as plain numbers."""
        return self._nuisances

    @nuisances.setter
    def nuisances(self, nuisances: Nuisances) -> None:
        self._nuisances = nuisances
        for name, tensor in nuisances.to_tensors(self.disc.radius).items():
            getattr(self, name).copy_(tensor)

    @property
    def contrast(self) -> Contrast:
        """Prior of the particles' contrast."""
        return self._nuisances.contrast

    @contrast.setter
    def contrast(self, contrast: Contrast) -> None:
        self.nuisances = replace(self._nuisances, contrast=contrast)

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *rest: Any, **more: Any) -> None:
        # a run of before poses were doubted has none of these: they stay as they are
        own = self._nuisances.to_tensors(self.disc.radius)
        for name, tensor in own.items():
            state_dict.setdefault(prefix + name, tensor)
        super()._load_from_state_dict(state_dict, prefix, *rest, **more)
        self._nuisances = Nuisances.from_tensors({n: state_dict[prefix + n] for n in own})

    @property
    def degrees_of_freedom(self) -> int:
        """Two per coefficient."""
        return 2 * self.disc.size

    def predict(self, rendered: Complex[Tensor, "obs k"], batch: Batch) -> Complex[Tensor, "obs k"]:
        """Apply transfer function and displacement to slices."""
        if batch.poses is None or batch.ctf is None:
            raise ValueError("a Fourier likelihood needs poses and transfer functions")
        shifts = batch.poses.shifts_angstrom / batch.ctf.pixel_size_angstrom[:, None]
        index = batch.subset.index
        disc = self.disc.to(rendered.device)
        transfer = batch.ctf.evaluate(disc.cycles_per_pixel[index])
        return rendered * (transfer * shift_phases(self.disc, shifts, index))

    def negative_log(
        self,
        images: Complex[Tensor, "obs k"],
        predicted: Complex[Tensor, "obs k"],
        subset: CoefficientSubset = ALL_COEFFICIENTS,
    ) -> Float[Tensor, " obs"]:
        """``Σ_k |r(k)|² / σ² + log(π σ²)``."""
        variance = self.noise_spectrum[self.disc.to(images.device).shells[subset.index]]
        normaliser = torch.log(torch.pi * variance).sum()
        misfit = (_squared(images - predicted) / variance).sum(-1)
        return subset.weight * (misfit + normaliser)

    def inner_products(
        self,
        images: Complex[Tensor, "obs k"],
        predicted: Complex[Tensor, "obs k"],
        subset: CoefficientSubset = ALL_COEFFICIENTS,
    ) -> tuple[Float[Tensor, " obs"], Float[Tensor, " obs"]]:
        """``2 Σ_k |p|² / σ²`` and ``2 Σ_k Re(p* x) / σ²``."""
        variance = self.noise_spectrum[self.disc.to(images.device).shells[subset.index]]
        weight = 2 * subset.weight / variance
        cross = images.real * predicted.real + images.imag * predicted.imag
        return (_squared(predicted) * weight).sum(-1), (cross * weight).sum(-1)

    def mean_squared_error(
        self,
        images: Complex[Tensor, "obs k"],
        predicted: Complex[Tensor, "obs k"],
        subset: CoefficientSubset = ALL_COEFFICIENTS,
    ) -> Float[Tensor, " obs"]:
        """Mean square over the real Hartley coefficients of the disc, both signs of k.

        With ``H(k) = Re - Im`` a pair ±k has ``H(k)² + H(-k)² = 2 |r(k)|²``.
        """
        squared = 2 * subset.weight * _squared(images - predicted).sum(-1)
        return squared / (self.degrees_of_freedom * self.data_variance)

    @torch.no_grad()
    def observe(
        self,
        images: Complex[Tensor, "obs k"],
        predicted: Complex[Tensor, "obs k"],
        subset: CoefficientSubset = ALL_COEFFICIENTS,
        share: Float[Tensor, " obs"] | None = None,
    ) -> None:
        """Collect the residual power of a posterior sample."""
        power, count = _squared(images - predicted).double(), len(images)
        if share is not None:
            power, count = power * share[:, None], share.double().sum()
        self.residual_power += self.disc.shell_sum(power.sum(0), subset.index)
        self.residual_count += count * self.disc.to(images.device).shell_count(subset.index)

    def noise_by_shell(self) -> Float[Tensor, " shells"]:
        """Variance σ² of a complex coefficient."""
        return self.noise_spectrum

    def refit(self) -> None:
        """Set the noise to the mean residual power, the expectation over the posterior.

        Shells of which no coefficient was collected keep theirs.
        """
        seen = self.residual_count > 0
        mean = self.residual_power[seen] / self.residual_count[seen]
        self.noise_spectrum[seen] = mean.to(self.noise_spectrum.dtype)
        self.noise_spectrum[0] = self.noise_spectrum[1]
        self.residual_power.zero_()
        self.residual_count.zero_()


def _squared(values: Tensor) -> Tensor:
    return values.real.square() + values.imag.square()


class Bernoulli(Likelihood):
    """Independent pixels, each on with a probability of its own.

    Predictions are log-odds: their sigmoids are the expected images, but their logarithms do not
    saturate. Grey values between 0 and 1 are taken as shares of on; their "density" is then the
    cross entropy, which is not normalised.

    Args:
        box: Side of the images.

    Source:
        Kingma and Welling 2014, arXiv:1312.6114, appendix C.1; for grey values: Loaiza-Ganem and
        Cunningham 2019, arXiv:1907.06845.
    """

    def __init__(self, box: int) -> None:
        super().__init__()
        self.box = box

    @classmethod
    def build(cls, options: BernoulliOptions, setting: Setting) -> "Bernoulli":
        """For the setting's box."""
        return cls(setting.geometry.box)

    @property
    def degrees_of_freedom(self) -> int:
        """One per pixel."""
        return self.box**2

    def predict(self, rendered: Float[Tensor, "obs k"], batch: Batch) -> Float[Tensor, "obs k"]:
        """The log-odds as they are rendered."""
        return rendered

    def negative_log(
        self,
        images: Float[Tensor, "obs k"],
        predicted: Float[Tensor, "obs k"],
        subset: CoefficientSubset = ALL_COEFFICIENTS,
    ) -> Float[Tensor, " obs"]:
        """``-Σ x log p + (1 - x) log(1 - p)``, ``p = sigmoid(a)``, as ``Σ log(1 + eᵃ) - x a``."""
        # two sums are a third faster than the sum of a difference
        normaliser = torch.nn.functional.softplus(predicted).sum(-1)
        return subset.weight * (normaliser - (images * predicted).sum(-1))

    def mean_squared_error(
        self,
        images: Float[Tensor, "obs k"],
        predicted: Float[Tensor, "obs k"],
        subset: CoefficientSubset = ALL_COEFFICIENTS,
    ) -> Float[Tensor, " obs"]:
        """Mean square of the difference of images and expectation, in squared grey values."""
        squared = (images - torch.sigmoid(predicted)).square().sum(-1)
        return subset.weight * squared / self.degrees_of_freedom
