"""Images of given latents, drawn from a model: what simulation-based checks put to a posterior."""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from cryolatent.data import Batch
from cryolatent.models.generative import GenerativeModel
from cryolatent.models.likelihood import FourierGaussian
from cryolatent.models.replica import beyond_disc
from cryolatent.physics import SHIFTS, TURNS, Poses, turned


@torch.no_grad()
def drawn(
    model: GenerativeModel,
    batch: Batch,
    z: Float[Tensor, "n zdim"],
    generator: torch.Generator,
) -> Batch:
    """Put images that the model draws in the place of a batch's own.

    ``x = a C exp(-2 πi k·t) V_z(k R) + ε``: noise, contrast a, and the errors of the recorded pose
    are drawn from what the model believes of them. Every image shows a particle.

    Args:
        model: Decoder and likelihood.
        batch: Particles with their recorded poses and transfer functions.
        z: What each of them is to be.
        generator: Source of randomness.

    Returns:
        The same particles at the same recorded poses, with other images, as evidence too.

    Raises:
        TypeError: If the likelihood is no Gaussian of Fourier coefficients.
        ValueError: If there are no poses or transfer functions.
    """
    likelihood = model.likelihood
    if not isinstance(likelihood, FourierGaussian):
        raise TypeError(f"{type(likelihood).__name__} draws no images")
    if batch.poses is None or batch.ctf is None:
        raise ValueError("slices need poses and transfer functions")
    nuisances, noise = likelihood.nuisances, likelihood.noise_spectrum
    size = (len(batch.images), 5)
    move = torch.randn(size, generator=generator) * torch.tensor(nuisances.poses.deviations)
    shifts = batch.poses.shifts_angstrom + move[:, SHIFTS] * batch.ctf.pixel_size_angstrom[:, None]
    there = replace(batch, poses=Poses(turned(batch.poses.rotations, move[:, TURNS]), shifts))
    contrast = 1 + nuisances.contrast.spread * torch.randn(len(batch), generator=generator)
    shells = likelihood.disc.shells
    # a complex normal number of variance one
    unit = torch.randn((*batch.images.shape, 2), generator=generator) * 0.5**0.5
    images = contrast[batch.owner, None] * model.predict(z, there)
    images = images + torch.view_as_complex(unit) * noise[shells].sqrt()
    shown, box = batch.evidence, likelihood.disc.box
    if shown.beyond is not None:
        white = torch.randn((len(images), box, box), generator=generator)
        shown = replace(shown, beyond=beyond_disc(white, likelihood.disc, noise))
    return replace(batch, images=images, evidence=replace(shown, images=images))
