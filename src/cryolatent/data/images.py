"""Images on disk, read when they are needed."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from cryolatent.io import read_images


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
        sign: +1, or -1 to invert the contrast of every image.
    """

    box: int
    files: tuple[Path, ...]
    file_index: np.ndarray
    row: np.ndarray
    sign: int = 1

    def __len__(self) -> int:
        return len(self.row)

    def read(self, positions: Int[np.ndarray, " n"]) -> Float[np.ndarray, "n y x"]:
        """Images at some positions, float32, ``[n, y, x]``."""
        images = np.empty((len(positions), self.box, self.box), dtype=np.float32)
        owner = self.file_index[positions]
        for file in np.unique(owner):
            here = owner == file
            images[here] = read_images(self.files[file], self.row[positions[here]])
        return images if self.sign > 0 else -images

    def name(self, position: int) -> str:
        """Where an image comes from, for messages."""
        return f"{self.files[self.file_index[position]]}, image {self.row[position] + 1}"

    def fingerprint(self) -> bytes:
        """Sizes and headers of the stacks; headers hold the images' statistics."""
        parts = []
        for file in self.files:
            with file.open("rb") as stream:
                parts += [str(file.stat().st_size).encode(), stream.read(1024)]
        return b"".join(parts)

    def select(self, positions: Int[np.ndarray, " n"]) -> "MrcImages":
        """The source of some of the images."""
        return MrcImages(
            self.box, self.files, self.file_index[positions], self.row[positions], self.sign
        )
