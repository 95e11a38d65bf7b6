"""One pass over a stack: every image is checked, and the spectra that training starts from."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from cryolatent.data.stack import ParticleStack
from cryolatent.errors import InputError
from cryolatent.physics import background_spectrum, images_to_disc
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


def scan(
    stack: ParticleStack,
    radius_pixels: float,
    progress: Advance = unwatched,
) -> StackStatistics:
    """Read every image once, check it, and average the spectra.

    Args:
        stack: The particles.
        radius_pixels: Radius of the particle, in pixels; outside is background.
        progress: Called with the number of images read after each chunk.

    Returns:
        The spectra.

    Raises:
        InputError: If a pixel is not finite or an image is constant, naming file and image, or if
            the background holds no noise.
    """
    disc, count = stack.disc, len(stack.images)
    totals = torch.zeros(3, disc.radius + 1)
    for start in range(0, count, CHUNK):
        rows = torch.arange(start, min(start + CHUNK, count))
        images = torch.from_numpy(stack.images.read(rows.numpy()))
        check_images(stack, images, rows)
        totals[0] += len(rows) * disc.shell_mean(
            images_to_disc(images, disc).abs().square().mean(0)
        )
        totals[1] += len(rows) * background_spectrum(images, disc, radius_pixels)
        transfer = stack.ctf[rows].evaluate(disc.cycles_per_pixel)
        totals[2] += len(rows) * disc.shell_mean(transfer.square().mean(0))
        progress(int(rows[-1]) + 1)
    statistics = StackStatistics(*(totals / count))
    if not (statistics.background > 0).all():
        raise InputError(
            stack.source,
            "a background without noise (all pixels beyond the particle's radius are equal)",
            "images that were not masked",
            "Extract the particles without a mask.",
        )
    return statistics


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
