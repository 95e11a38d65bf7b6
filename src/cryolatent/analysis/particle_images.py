"""Images of single particles beside what a run's model expects of them."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Complex, Float, Int
from torch import Tensor

from cryolatent.data import Batch, ParticleStack
from cryolatent.models.contrast import ONE
from cryolatent.models.generative import GenerativeModel
from cryolatent.models.latents import Latents
from cryolatent.physics import disc_to_images

DETAIL_PIXELS = 8.0
"""Finest detail of filtered images if nothing else is asked."""

EDGE_SHELLS = 2.0
"""Width over which a low-pass filter falls."""


@dataclass(frozen=True)
class ParticleImages:
    """The first image of each of some particles.

    Args:
        raw: As the stack gives it.
        low_passed: Without its high frequencies.
        expected: What the model draws at the particle's latent, pose, transfer function and
            contrast, with the same frequencies; None without a model.
        residual: The image less what is expected, every shell divided by the root of its noise;
            white if the model is right.
        chi_squared: Power of that in each shell, 1 on average if the model is right; shells 0 (NaN,
            it holds nothing) to the last one used.
        contrast: What multiplies what is expected.
    """

    raw: Float[np.ndarray, "n y x"]
    low_passed: Float[np.ndarray, "n y x"]
    expected: Float[np.ndarray, "n y x"] | None = None
    residual: Float[np.ndarray, "n y x"] | None = None
    chi_squared: Float[np.ndarray, "n shells"] | None = None
    contrast: Float[np.ndarray, " n"] | None = None


@torch.no_grad()
def particle_images(
    stack: ParticleStack,
    latents: Latents,
    model: GenerativeModel | None,
    index: Int[Tensor, " n"],
    low_pass_angstrom: float,
) -> ParticleImages:
    """Show particles as they are, filtered, as a model expects them, and what it leaves over.

    The fit of a model to the very images that it was trained on is a little too good: χ² lies
    below 1 by what the latent and the volumes have taken up of the noise.

    Args:
        stack: The particles in the order of the latents, where they are believed to be.
        latents: What is believed of them.
        model: Decoder and likelihood; None of latents alone.
        index: Which particles.
        low_pass_angstrom: Finest detail of `low_passed` and `expected`, in Å.

    Returns:
        One row per particle.
    """
    disc = stack.disc
    chosen = stack.select(index)
    chosen = chosen.of_images(chosen.offsets[:-1])
    every = torch.arange(len(index))
    raw, batch = chosen.pixels(every.numpy()), chosen.batch(every)
    last = disc.box * stack.pixel_size_angstrom / low_pass_angstrom
    kept = ((last + EDGE_SHELLS / 2 - disc.shells) / EDGE_SHELLS).clamp(0, 1)

    def filtered(coefficients: Complex[Tensor, "n k"]) -> Float[np.ndarray, "n y x"]:
        return disc_to_images(coefficients * kept, disc).numpy()

    low_passed = filtered(batch.images)
    if model is None:
        return ParticleImages(raw, low_passed)
    predicted = model.predict(latents.distribution.mean[index], batch)
    contrast = _contrast(latents, model, index, batch, predicted)
    expected = contrast[:, None] * predicted
    noise = model.likelihood.noise_by_shell()[disc.shells]
    residual = (batch.images - expected) / noise.sqrt()
    chi_squared = disc.shell_mean(residual.abs().square())
    chi_squared[:, 0] = torch.nan
    return ParticleImages(
        raw,
        low_passed,
        filtered(expected),
        disc_to_images(residual, disc).numpy(),
        chi_squared.numpy(),
        contrast.numpy(),
    )


def _contrast(
    latents: Latents,
    model: GenerativeModel,
    index: Int[Tensor, " n"],
    batch: Batch,
    predicted: Complex[Tensor, "n k"],
) -> Float[Tensor, " n"]:
    """The believed contrast; without beliefs, the one that the images show."""
    if latents.beliefs is not None:
        return latents.beliefs.contrast[index]
    if model.likelihood.contrast == ONE:
        return torch.ones(len(index))
    found = model.likelihood.inner_products(batch.images, predicted, batch.subset)
    return model.likelihood.contrast.scaled(*found).mean
