"""Images of any box and pixel size brought to one, below the Nyquist frequency of both."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import scipy.fft
from jaxtyping import Float, Int

from cryolatent.data.images import ImageSource

SAME_FIELD = 1e-4


@dataclass(frozen=True)
class Frame:
    """Box and pixel size of images.

    Args:
        box: Side in pixels, even.
        pixel_size_angstrom: Pixel size, in Å.
    """

    box: int
    pixel_size_angstrom: float

    @property
    def side_angstrom(self) -> float:
        """Side in Å."""
        return self.box * self.pixel_size_angstrom

    def same_field(self, other: "Frame") -> bool:
        """Whether images of both show the same field of view."""
        return abs(self.side_angstrom / other.side_angstrom - 1) < SAME_FIELD


def common_frame(frames: list[Frame], box: int | None = None) -> Frame:
    """The frame that images of several frames can all be brought to without making anything up.

    Args:
        frames: What there is.
        box: Box wanted; the largest possible if left out.

    Returns:
        The smallest field of view, at the largest pixel size or at the one that `box` asks for.

    Raises:
        ValueError: If the box is odd, below 4, or would need smaller pixels than there are.
    """
    side = min(frame.side_angstrom for frame in frames)
    pixel = max(frame.pixel_size_angstrom for frame in frames)
    largest = 2 * int(side / pixel * (1 + SAME_FIELD) / 2)
    if box is None:
        of_that_side = [frame for frame in frames if frame.box == largest]
        return min(
            of_that_side, key=lambda frame: frame.side_angstrom, default=Frame(largest, pixel)
        )
    if box % 2 or not 4 <= box <= largest:
        raise ValueError(f"an even number from 4 to {largest}")
    return Frame(box, side / box)


def fourier_crop(images: Float[np.ndarray, "n y x"], box: int) -> Float[np.ndarray, "n y2 x2"]:
    """Reduce the box at the same field of view: keep the low frequencies.

    Pixel 0 stays where it is in Å, so pixel ``D / 2`` comes to ``box / 2``. Values keep their
    scale. The Nyquist frequency of the new box, whose two halves cannot be told apart, is left out.

    Args:
        images: Images of an even box.
        box: New box, even and not larger.

    Returns:
        The images as float32; the same array if the box is the same.
    """
    old = images.shape[-1]
    if box == old:
        return images
    half = box // 2
    transform = np.asarray(scipy.fft.rfft(images, axis=-1))[..., :half]
    transform = np.asarray(scipy.fft.fft(transform, axis=-2))
    kept = np.zeros((len(images), box, half + 1), dtype=transform.dtype)
    kept[:, :half, :half] = transform[:, :half]
    kept[:, half + 1 :, :half] = transform[:, old - half + 1 :]
    kept *= np.float32((box / old) ** 2)
    return np.asarray(scipy.fft.irfft2(kept, s=(box, box), overwrite_x=True))


def resample(
    images: Float[np.ndarray, "n y x"], pixel_size_angstrom: float, frame: Frame
) -> Float[np.ndarray, "n y2 x2"]:
    """Bring images to another box and pixel size, centre on centre (pixel ``box / 2``).

    At the same field of view this is `fourier_crop`; otherwise the images' Fourier series is
    evaluated at the new pixels, below the smaller of both Nyquist frequencies.

    Args:
        images: Images of an even box.
        pixel_size_angstrom: Their pixel size, in Å.
        frame: What is wanted; its field of view lies within the images'.

    Returns:
        The images as float32.
    """
    own = Frame(images.shape[-1], pixel_size_angstrom)
    if own.same_field(frame) and frame.box <= own.box:
        return fourier_crop(images, frame.box)
    matrix = _series(own, frame)
    return matrix @ images @ matrix.T


@lru_cache(maxsize=32)
def _series(own: Frame, frame: Frame) -> Float[np.ndarray, "y2 y"]:
    """What each old pixel gives each new one, along one axis."""
    ratio = frame.pixel_size_angstrom / own.pixel_size_angstrom
    places = (np.arange(frame.box) - frame.box / 2) * ratio + own.box / 2
    last = int(np.ceil(min(own.box / 2, own.box / (2 * ratio)) - 1e-6)) - 1
    angle = 2 * np.pi / own.box * (places[:, None] - np.arange(own.box))
    terms = np.cos(angle[..., None] * np.arange(1, last + 1)).sum(axis=-1)
    return ((1 + 2 * terms) / own.box).astype(np.float32)


@dataclass(frozen=True)
class Part:
    """Images of one box and pixel size.

    Args:
        images: The images.
        frame: Their box and pixel size.
    """

    images: ImageSource
    frame: Frame


@dataclass(frozen=True)
class ResampledImages(ImageSource):
    """Images of several boxes and pixel sizes, brought to one as they are read.

    Args:
        box: Side of every image in pixels, as in `frame`.
        frame: Box and pixel size.
        parts: The images as they are.
        part: For each image, its part.
        position: For each image, its place in its part.
    """

    box: int
    frame: Frame
    parts: tuple[Part, ...]
    part: np.ndarray
    position: np.ndarray

    def __len__(self) -> int:
        return len(self.part)

    def read(self, positions: Int[np.ndarray, " n"]) -> Float[np.ndarray, "n y x"]:
        """Images at some positions, float32, ``[n, y, x]``."""
        owner = self.part[positions]
        if len(self.parts) == 1:
            return self._resampled(0, self.position[positions])
        images = np.empty((len(positions), self.box, self.box), dtype=np.float32)
        for number in np.unique(owner).tolist():
            here = owner == number
            images[here] = self._resampled(number, self.position[positions[here]])
        return images

    def _resampled(self, number: int, places: Int[np.ndarray, " n"]) -> np.ndarray:
        part = self.parts[number]
        return resample(part.images.read(places), part.frame.pixel_size_angstrom, self.frame)

    def name(self, position: int) -> str:
        """Where an image comes from, for messages."""
        return self.parts[self.part[position]].images.name(int(self.position[position]))

    def fingerprint(self) -> bytes:
        """Those of the stored images."""
        return b"".join(part.images.fingerprint() for part in self.parts)

    def select(self, positions: Int[np.ndarray, " n"]) -> "ResampledImages":
        """The source of some of the images."""
        where = self.part[positions], self.position[positions]
        return ResampledImages(self.box, self.frame, self.parts, *where)
