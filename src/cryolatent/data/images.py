"""Images on disk, read when they are needed."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import scipy.fft
import torch
from jaxtyping import Float, Int

from cryolatent.io import read_images
from cryolatent.physics import ODD, evaluate_polynomial

SAMPLE, SAMPLES = 1024, 9
"""Bytes of a stack that are looked at together, and how often, to see whether it was changed."""


class ImageSource(ABC):
    """Images by position, never all in memory."""

    box: int
    """Side of every image in pixels."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def read(self, positions: Int[np.ndarray, " n"]) -> Float[np.ndarray, "n y x"]:
        """Read images.

        Args:
            positions: Which, in the order wanted.

        Returns:
            The images as float32.
        """

    @abstractmethod
    def name(self, position: int) -> str:
        """Say where an image comes from, for messages.

        Args:
            position: Which image.

        Returns:
            ``file, image 3``.
        """

    @abstractmethod
    def fingerprint(self) -> bytes:
        """Bytes that change when the images are replaced, without reading them all.

        Returns:
            For instance the files' sizes and headers.
        """

    @abstractmethod
    def select(self, positions: Int[np.ndarray, " n"]) -> "ImageSource":
        """The source of some of the images.

        Args:
            positions: Which, in the order wanted.

        Returns:
            A source whose image i is image ``positions[i]`` of this one.
        """


@dataclass(frozen=True)
class MrcImages(ImageSource):
    """Images in MRC stacks.

    Args:
        box: Side of every image in pixels.
        files: The stacks.
        file_index: For each image, its stack.
        row: For each image, its zero-based position in the stack.
        sign: For each image, +1, or -1 to invert its contrast.
        header_angstrom: For each stack, the pixel size in its header, or 0.
    """

    box: int
    files: tuple[Path, ...]
    file_index: np.ndarray
    row: np.ndarray
    sign: np.ndarray
    header_angstrom: np.ndarray

    def __len__(self) -> int:
        return len(self.row)

    def read(self, positions: Int[np.ndarray, " n"]) -> Float[np.ndarray, "n y x"]:
        """Images at some positions, float32, ``[n, y, x]``."""
        images = np.empty((len(positions), self.box, self.box), dtype=np.float32)
        owner = self.file_index[positions]
        for file in np.unique(owner):
            here = owner == file
            images[here] = read_images(self.files[file], self.row[positions[here]])
        images *= self.sign[positions, None, None]
        return images

    def name(self, position: int) -> str:
        """Where an image comes from, for messages."""
        return f"{self.files[self.file_index[position]]}, image {self.row[position] + 1}"

    def fingerprint(self) -> bytes:
        """Sizes and headers of the stacks, which hold the images' statistics, and some pixels."""
        parts = []
        for file in self.files:
            size = file.stat().st_size
            parts.append(str(size).encode())
            with file.open("rb") as stream:
                for place in np.linspace(0, max(0, size - SAMPLE), SAMPLES).astype(int).tolist():
                    stream.seek(place)
                    parts.append(stream.read(SAMPLE))
        return b"".join(parts)

    def select(self, positions: Int[np.ndarray, " n"]) -> "MrcImages":
        """The source of some of the images."""
        parts = (values[positions] for values in (self.file_index, self.row, self.sign))
        return MrcImages(self.box, self.files, *parts, header_angstrom=self.header_angstrom)


@dataclass(frozen=True)
class TrimmedImages(ImageSource):
    """Images of an odd box without their last row and column.

    The centre, about which particles are posed, is pixel ``box // 2`` of both boxes, so nothing is
    displaced and nothing made up.

    Args:
        box: Side of every image in pixels, even.
        source: The images as they are stored, one pixel larger.
    """

    box: int
    source: ImageSource

    def __len__(self) -> int:
        return len(self.source)

    def read(self, positions: Int[np.ndarray, " n"]) -> Float[np.ndarray, "n y x"]:
        """Images at some positions, float32, ``[n, y, x]``."""
        return np.ascontiguousarray(self.source.read(positions)[:, :-1, :-1])

    def name(self, position: int) -> str:
        """Where an image comes from, for messages."""
        return self.source.name(position)

    def fingerprint(self) -> bytes:
        """That of the stored images."""
        return self.source.fingerprint()

    def select(self, positions: Int[np.ndarray, " n"]) -> "TrimmedImages":
        """The source of some of the images."""
        return TrimmedImages(self.box, self.source.select(positions))


@dataclass(frozen=True)
class PhaseCorrectedImages(ImageSource):
    """Images from which odd aberrations are divided out as they are read.

    An odd aberration turns the phase of each Fourier coefficient and keeps an image real, so
    turning it back is exact, leaves white noise as it is, and no reader need know.

    Args:
        box: Side of every image in pixels.
        source: The images as they are stored.
        phases: For each image, coefficients of `cryolatent.physics.aberrations.ODD`.
        pixel_size_angstrom: For each image.
    """

    box: int
    source: ImageSource
    phases: Float[np.ndarray, "n 6"]
    pixel_size_angstrom: Float[np.ndarray, " n"]

    def __len__(self) -> int:
        return len(self.phases)

    def read(self, positions: Int[np.ndarray, " n"]) -> Float[np.ndarray, "n y x"]:
        """Images at some positions, float32, ``[n, y, x]``."""
        images = self.source.read(positions)
        keys = np.column_stack([self.phases[positions], self.pixel_size_angstrom[positions]])
        distinct, group = np.unique(keys, axis=0, return_inverse=True)
        for number, key in enumerate(distinct):
            if not key[:-1].any():
                continue
            here = group == number
            turned = scipy.fft.rfft2(images[here]) * _correction(tuple(key.tolist()), self.box)
            images[here] = scipy.fft.irfft2(turned, s=images.shape[1:])
        return images

    def name(self, position: int) -> str:
        """Where an image comes from, for messages."""
        return self.source.name(position)

    def fingerprint(self) -> bytes:
        """That of the stored images; what they are corrected by is in the particle file."""
        return self.source.fingerprint()

    def select(self, positions: Int[np.ndarray, " n"]) -> "PhaseCorrectedImages":
        """The source of some of the images."""
        parts = self.phases[positions], self.pixel_size_angstrom[positions]
        return PhaseCorrectedImages(self.box, self.source.select(positions), *parts)


@lru_cache(maxsize=32)
def _correction(key: tuple[float, ...], box: int) -> np.ndarray:
    """The factor ``exp(-i phase)`` at each coefficient of `scipy.fft.rfft2`."""
    *coefficients, pixel_size = key
    ky, kx = np.meshgrid(np.fft.fftfreq(box), np.fft.rfftfreq(box), indexing="ij")
    frequencies = torch.from_numpy(np.stack([kx, ky], axis=-1).reshape(-1, 2) / pixel_size)
    phase = evaluate_polynomial(torch.tensor(coefficients).double(), frequencies, ODD)
    # on the lines of the Nyquist frequency a real image has no phase to turn
    phase = phase.reshape(kx.shape).masked_fill(torch.from_numpy(abs(ky) == 0.5), 0)
    phase[:, -1] = 0
    return torch.exp(-1j * phase).to(torch.complex64).numpy()
