"""Images as they are packed: background of mean 0 and variance 1, and a window if one is asked."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from cryolatent.data.images import ImageSource
from cryolatent.errors import InputError
from cryolatent.physics import soft_disc

WINDOW_END, LEAST = 0.99, 1e-6


@dataclass(frozen=True)
class NormalisedImages(ImageSource):
    """Images brought to a background of mean 0 and variance 1, each by its own pixels.

    This is RELION's convention (``relion_preprocess --norm``): what is outside the particle's
    radius decides, so that the signal does not.

    Args:
        box: Side of every image in pixels.
        source: The images.
        radius_pixels: Radius of the particle; beyond it is background. None changes no value.
        window: Share of half the box within which images stay whole; they fall to zero at 0.99 of
            it. None leaves them whole everywhere.
    """

    box: int
    source: ImageSource
    radius_pixels: float | None
    window: float | None

    def __len__(self) -> int:
        return len(self.source)

    def read(self, positions: Int[np.ndarray, " n"]) -> Float[np.ndarray, "n y x"]:
        """Images at some positions, float32, ``[n, y, x]``."""
        images = self.source.read(positions)
        if self.radius_pixels is not None:
            varies = normalise(images, self.radius_pixels)
            self._check(varies, positions)
        if self.window is not None:
            half = self.box / 2
            edge = max((WINDOW_END - self.window) * half, 1e-3)
            images = images * soft_disc(self.box, self.window * half, edge).numpy()
        return images

    def _check(self, varies: Bool[np.ndarray, " n"], positions: Int[np.ndarray, " n"]) -> None:
        bad = np.flatnonzero(~varies)
        if len(bad):
            raise InputError(
                self.name(int(positions[bad[0]])),
                "a background without noise",
                "pixels beyond the particle's radius that vary",
                'Extract the particles without a mask, or pack them with `normalise="none"`.',
            )

    def name(self, position: int) -> str:
        """Where an image comes from, for messages."""
        return self.source.name(position)

    def fingerprint(self) -> bytes:
        """That of the stored images."""
        return self.source.fingerprint()

    def select(self, positions: Int[np.ndarray, " n"]) -> "NormalisedImages":
        """The source of some of the images."""
        return NormalisedImages(
            self.box, self.source.select(positions), self.radius_pixels, self.window
        )


def normalise(images: Float[np.ndarray, "n y x"], radius_pixels: float) -> Bool[np.ndarray, " n"]:
    """Bring images to a background of mean 0 and variance 1, in place.

    Args:
        images: Images, which are overwritten; those whose background is flat with anything.
        radius_pixels: Radius beyond which is background.

    Returns:
        For each image whether its background varies.
    """
    flat = images.reshape(len(images), -1)
    outside = _outside(images.shape[-1], radius_pixels)
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        # a large mean would leave the variance few digits
        level = flat.mean(axis=1, keepdims=True)
        flat -= level
        background = flat[:, outside]
        mean = background.mean(axis=1)
        background -= mean[:, None]
        spread = np.sqrt(np.einsum("ij,ij->i", background, background) / background.shape[1])
        # rounding leaves a trace in pixels that are all equal
        varies = spread > LEAST * (np.abs(level[:, 0]) + np.abs(mean))
        flat -= mean[:, None]
        flat /= spread[:, None]
    return varies


def _outside(box: int, radius_pixels: float) -> Int[np.ndarray, " m"]:
    axis = torch.arange(box) - box // 2
    distance = torch.sqrt((axis[:, None] ** 2 + axis**2).float()).flatten()
    return torch.nonzero(distance > radius_pixels)[:, 0].numpy()
