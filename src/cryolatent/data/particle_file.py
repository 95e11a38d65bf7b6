"""What every kind of particle file can say, whoever wrote it."""

from abc import ABC, abstractmethod
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np
from jaxtyping import Float, Int

from cryolatent.data.stacks import ImageNames
from cryolatent.errors import InputError
from cryolatent.physics import CTF, Poses

AUTO, NONE = "auto", "none"
"""Whose noise is held to be alike: that of the first known column; or all images'."""


class ParticleFile(ABC):
    """A file that lists particles, one image a row.

    Args:
        path: The file.
    """

    group_columns: ClassVar[tuple[str, ...]] = ()
    """Columns that say which images share their noise, the best first."""

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

    def labels(self, column: str) -> np.ndarray | None:
        """A column as text.

        Args:
            column: Its name.

        Returns:
            One entry per image; by default None, as of a column that is not there.
        """
        return None

    def noise_groups(self, wanted: str = AUTO) -> np.ndarray | None:
        """For each image the name of the group that shares its noise.

        Args:
            wanted: A column; or `AUTO`, the first of `group_columns` with more than one entry; or
                `NONE`.

        Returns:
            Names; None if there are no groups.

        Raises:
            InputError: If there is no such column.
        """
        if wanted == NONE:
            return None
        if wanted != AUTO:
            found = self.labels(wanted)
            if found is None:
                known = [name for name in self.group_columns if self.labels(name) is not None]
                choice = ", ".join(known) or "none of the usual columns is there"
                expected = f"{AUTO}, {NONE} or a column ({choice})"
                raise InputError(self.path, f"no column {wanted}", expected, "See `noise_groups`.")
            return found
        columns = map(self.labels, self.group_columns)
        several = (found for found in columns if found is not None and len(np.unique(found)) > 1)
        return next(several, None)

    def group(self, particle: int) -> str:
        """The optics group of a particle, for messages.

        Args:
            particle: Its row, counted from zero.

        Returns:
            By default, its row.
        """
        return f"particle row {particle + 1}"
