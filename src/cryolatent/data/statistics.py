"""One pass over a stack: every image is checked, and the spectra that training starts from."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from cryolatent.data.noise import NoiseLevels, noise_levels
from cryolatent.data.stack import ParticleStack
from cryolatent.errors import InputError
from cryolatent.physics import FourierDisc, background_spectrum, images_to_disc
from cryolatent.progress import Advance, unwatched

CHUNK = 256


@dataclass(frozen=True)
class StackStatistics:
    """Mean spectra of a stack, in variance per complex coefficient, shells 0 to ``disc.radius``.

    Args:
        power: Mean power of the images.
        background: Noise variance, from the pixels outside the particle.
        ctf_squared: Mean square of the transfer functions.
    """

    power: Float[Tensor, " shells"]
    background: Float[Tensor, " shells"]
    ctf_squared: Float[Tensor, " shells"]

    @property
    def signal_amplitude(self) -> Float[Tensor, " shells"]:
        """Root mean square of the volumes' coefficients that the spectra suggest.

        At least a tenth of the noise's is assumed, so that no shell is closed to a decoder that
        is scaled by it.
        """
        signal = (self.power - self.background).clamp(min=0) / self.ctf_squared.clamp(min=0.05)
        amplitude = torch.maximum(signal, 0.01 * self.background).sqrt()
        amplitude[0] = 0
        return amplitude


@dataclass(frozen=True)
class Scan:
    """What one reading of all images tells.

    Args:
        statistics: Mean spectra, at the noise levels found.
        levels: Noise levels of the groups; None if there are none or they are alike.
    """

    statistics: StackStatistics
    levels: NoiseLevels | None


def scan(
    stack: ParticleStack,
    radius_pixels: float,
    progress: Advance = unwatched,
) -> Scan:
    """Read every image once, check it, average the spectra, and compare the groups' noise.

    Args:
        stack: The particles, without noise levels.
        radius_pixels: Radius of the particle, in pixels; outside is background.
        progress: Called with the number of images read after each chunk.

    Returns:
        Spectra and levels.

    Raises:
        InputError: If a pixel is not finite or an image is constant, naming file and image, or if
            the background holds no noise.
    """
    disc, count = stack.disc, len(stack.images)
    names, group = _groups(stack)
    totals = torch.zeros(len(names), 3, disc.radius + 1)
    level = np.empty(count)
    for start in range(0, count, CHUNK):
        rows = torch.arange(start, min(start + CHUNK, count))
        images = torch.from_numpy(stack.images.read(rows.numpy()))
        check_images(stack, images, rows)
        power = disc.shell_mean(images_to_disc(images, disc).abs().square())
        background = background_spectrum(images, disc, radius_pixels)
        transfer = stack.ctf[rows].evaluate(disc.cycles_per_pixel)
        spectra = [power, background, disc.shell_mean(transfer.square())]
        totals.index_add_(0, group[rows], torch.stack(spectra, dim=1))
        level[rows] = _outer(background, disc)
        progress(int(rows[-1]) + 1)
    if not (totals[:, 1].sum(0) > 0).all():
        raise InputError(
            stack.source,
            "a background without noise (all pixels beyond the particle's radius are equal)",
            "images that were not masked",
            "Extract the particles without a mask.",
        )
    levels = noise_levels(names[group.numpy()], level)
    if levels is not None:
        totals /= torch.from_numpy(levels.of(names)).float()[:, None, None]
    return Scan(StackStatistics(*(totals.sum(0) / count)), levels)


def further_levels(stack: ParticleStack, levels: NoiseLevels, radius_pixels: float) -> NoiseLevels:
    """Measure the noise of groups of which nothing is known yet; images of others are not read.

    Args:
        stack: Particles.
        levels: What is known.
        radius_pixels: Radius of the particle, in pixels; outside is background.

    Returns:
        Levels of all groups of the stack.
    """
    if stack.noise_groups is None:
        return levels
    unknown = np.flatnonzero(~np.isin(stack.noise_groups, list(levels.levels)))
    if not len(unknown):
        return levels
    power = []
    for rows in torch.from_numpy(unknown).split(CHUNK):
        images = torch.from_numpy(stack.images.read(rows.numpy()))
        check_images(stack, images, rows)
        power.append(_outer(background_spectrum(images, stack.disc, radius_pixels), stack.disc))
    return levels.joined(stack.noise_groups[unknown], torch.cat(power).numpy())


def _outer(background: Float[Tensor, "n shells"], disc: FourierDisc) -> Float[Tensor, " n"]:
    """Mean noise power in the outer half of the shells, which ice and neighbours hardly reach."""
    outer = torch.arange(disc.radius + 1) > disc.radius // 2
    count = disc.shell_count() * outer
    return background @ count.float() / count.sum()


def _groups(stack: ParticleStack) -> tuple[np.ndarray, Int[Tensor, " obs"]]:
    """Names of the groups of images, and the group of each image."""
    if stack.noise_groups is None:
        return np.array([""]), torch.zeros(len(stack.images), dtype=torch.long)
    names, group = np.unique(stack.noise_groups, return_inverse=True)
    return names, torch.from_numpy(group)


def check_images(
    stack: ParticleStack, images: Float[Tensor, "n y x"], rows: Int[Tensor, " n"]
) -> None:
    """Make sure that images can be used.

    Args:
        stack: Where they come from.
        images: The images.
        rows: Their positions among the stack's observations.

    Raises:
        InputError: If a pixel is not finite or an image is constant, naming file and image.
    """
    spread = images.flatten(1).std(dim=1)
    for bad, found in (
        (~spread.isfinite(), "pixels that are not finite"),
        (spread == 0, "an image in which all pixels are equal"),
    ):
        if bad.any():
            row = int(rows[torch.nonzero(bad)[0, 0]])
            raise InputError(
                stack.images.name(row),
                found,
                "a finite, varying image",
                "Remove the particle or extract it again.",
                row=f"{stack.source} particle row {int(stack.source_rows[row]) + 1}",
            )
