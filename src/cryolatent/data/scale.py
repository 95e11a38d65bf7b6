"""Images in a unit that single precision can compute in."""

import math
import warnings
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from cryolatent.data.images import ImageSource
from cryolatent.errors import InputWarning

SMALLEST, LARGEST = 1e-4, 1e5
"""Standard deviations of images that are used as they are; squares of sums of them are far from the
ends of single precision (1e-38 and 3e38)."""

SAMPLES = 9


@dataclass(frozen=True)
class ScaledImages(ImageSource):
    """Images that are multiplied by a power of two as they are read, which changes no digit.

    Args:
        box: Side of every image in pixels.
        source: The images as they are stored.
        scale: The factor.
    """

    box: int
    source: ImageSource
    scale: float

    def __len__(self) -> int:
        return len(self.source)

    def read(self, positions: Int[np.ndarray, " n"]) -> Float[np.ndarray, "n y x"]:
        """Images at some positions, float32, ``[n, y, x]``."""
        images = self.source.read(positions)
        # in one step the factor itself may be beyond single precision
        power = round(math.log2(self.scale))
        return np.ldexp(images, power)

    def name(self, position: int) -> str:
        """Where an image comes from, for messages."""
        return self.source.name(position)

    def fingerprint(self) -> bytes:
        """That of the stored images."""
        return self.source.fingerprint()

    def select(self, positions: Int[np.ndarray, " n"]) -> "ScaledImages":
        """The source of some of the images."""
        return ScaledImages(self.box, self.source.select(positions), self.scale)


def scaled(images: ImageSource, scale: float) -> ImageSource:
    """The images in another unit.

    Args:
        images: Images, perhaps in another unit than they are stored in.
        scale: What the stored ones are multiplied by, a power of two.

    Returns:
        The images in that unit.
    """
    stored = images.source if isinstance(images, ScaledImages) else images
    return stored if scale == 1 else ScaledImages(stored.box, stored, scale)


def fitting_scale(images: ImageSource, source: object) -> float:
    """What images are to be multiplied by before anything is computed of them; said unless 1.

    Args:
        images: Images as they are stored, of which nine are read.
        source: Where they come from, for the message.

    Returns:
        A power of two: 1 of images of a usual unit, and of some that are not finite.
    """
    picked = np.unique(np.linspace(0, len(images) - 1, SAMPLES).astype(int))
    pixels = images.read(picked).astype(np.float64)
    # some of nine may be bad, which is found and said later
    spread = [float(image.std()) for image in pixels if np.isfinite(image).all()]
    typical = float(np.median([value for value in spread if value > 0] or [1.0]))
    if SMALLEST <= typical <= LARGEST:
        return 1.0
    power = -round(math.log2(typical))
    warnings.warn(
        f"{source}: pixels have a standard deviation of {typical:.0e}, so images are multiplied by "
        f"2^{power} as they are read, and maps come in that unit. `cryolatent prepare` normalises "
        "images",
        InputWarning,
        stacklevel=3,
    )
    return 2.0**power
