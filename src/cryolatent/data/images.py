"""Images on disk, read when they are needed."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from cryolatent.io import read_images


class ImageSource(Protocol):
    """Images by position, never all in memory."""

    @property
    def box(self) -> int:
        """Side of every image in pixels."""
        ...

    def __len__(self) -> int: ...

    def read(self, positions: np.ndarray) -> np.ndarray:
        """Images at some positions, float32, ``[n, y, x]``."""
        ...

    def name(self, position: int) -> str:
        """Where an image comes from, for messages: ``file, image 3``."""
        ...

    def select(self, positions: np.ndarray) -> "ImageSource":
        """The source of some of the images."""
        ...


@dataclass(frozen=True)
class MrcImages:
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

    def read(self, positions: np.ndarray) -> np.ndarray:
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

    def select(self, positions: np.ndarray) -> "MrcImages":
        """The source of some of the images."""
        return MrcImages(
            self.box, self.files, self.file_index[positions], self.row[positions], self.sign
        )
