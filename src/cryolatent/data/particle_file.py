"""What every kind of particle file can say, whoever wrote it."""

from abc import ABC, abstractmethod
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from cryolatent.data.stacks import ImageNames
from cryolatent.physics import CTF, Poses


class ParticleFile(ABC):
    """A file that lists particles, one image a row.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @cached_property
    @abstractmethod
    def names(self) -> ImageNames:
        """The images.

        Raises:
            InputError: If a name cannot be read.
        """

    @property
    def ids(self) -> np.ndarray:
        """A unique, stable name per particle."""
        return self.names.ids

    @property
    def particles(self) -> np.ndarray | None:
        """For each image the name of its particle; None if every image is a particle of its own."""
        return None

    @property
    def sign(self) -> Int[np.ndarray, " n"]:
        """For each image +1, or -1 if the file says that its contrast is to be inverted."""
        return np.ones(len(self.names), dtype=np.int64)

    @property
    def half_set(self) -> Int[np.ndarray, " n"]:
        """For each particle the half-set (1 or 2) that the file assigns, or 0."""
        return np.zeros(len(self.names), dtype=np.int64)

    @property
    def tables(self) -> tuple[Path, ...]:
        """The files whose content was read, images excepted."""
        return (self.path,)

    @abstractmethod
    def ctf(self) -> CTF:
        """The transfer functions, with the pixel sizes.

        Raises:
            InputError: If the file lacks something, or says something that is not modelled.
        """

    @abstractmethod
    def poses(self) -> Poses:
        """The poses.

        Raises:
            InputError: If the file has none.
        """

    def phases(self) -> Float[np.ndarray, "n 6"] | None:
        """Odd aberrations, as coefficients of `cryolatent.physics.aberrations.ODD`, if any."""
        return None

    def magnification(self) -> Float[np.ndarray, "n 2 2"] | None:
        """Magnification matrices, as of `UnmagnifiedImages`, if any is not the identity."""
        return None

    def group(self, particle: int) -> str:
        """The optics group of a particle, for messages.

        Args:
            particle: Its row, counted from zero.

        Returns:
            By default, its row.
        """
        return f"particle row {particle + 1}"
