"""What the core knows of any data: examples that own a latent each, read in batches."""

import re
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Literal, TypeVar

import numpy as np
import torch
from jaxtyping import Float, Inexact, Int
from torch import Tensor

from cryolatent.data.batch import Batch, Evidence, Twin

Domain = Literal["particles", "digits", "latents"]
"""What examples are; latents that were imported without their particles."""
Same = TypeVar("Same", bound="Source")


def original_names(ids: np.ndarray) -> list[str]:
    """Names of the particles that some particles are copies of.

    Args:
        ids: Particle names; those of copies end in ``#2`` (of a repeated row) or ``#1``, ``#2`` ...
            (of a symmetry), or both.

    Returns:
        The names without these endings.
    """
    return [re.sub(r"(#\d+)+$", "", name) for name in ids.tolist()]


def original_groups(ids: np.ndarray) -> Int[np.ndarray, " n"]:
    """Number the particles that some particles are copies of, in the order of their names.

    Args:
        ids: Particle names.

    Returns:
        The same number for all copies of one particle.
    """
    names = ids.copy()
    marked = np.flatnonzero(np.strings.find(ids, "#") >= 0)
    names[marked] = original_names(ids[marked])
    return np.unique(names, return_inverse=True)[1]


@dataclass(frozen=True)
class Geometry:
    """What a model needs to know of its images before it sees one.

    Args:
        box: Side in pixels.
        shells: Last Fourier shell used; 0 of images that are compared pixel by pixel.
        pixel_size_angstrom: Pixel size in Å; 1 of images whose pixels have no size.
    """

    box: int
    shells: int = 0
    pixel_size_angstrom: float = 1.0


class Source(ABC):
    """Examples ("particles") with their observations, whatever field they come from.

    Example p owns observations ``offsets[p]`` to ``offsets[p + 1] - 1``. Posteriors, twins,
    objective and trainer know of their data what is written here.
    """

    domain: ClassVar[Domain]
    """Which field the data come from: the key of what runs and trainings do in their own way."""

    ids: np.ndarray
    source: Path
    offsets: Int[Tensor, " n1"]
    twin: Twin | None
    datadir: Path | None

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    @abstractmethod
    def geometry(self) -> Geometry:
        """What a model needs to know of the images."""

    @abstractmethod
    def pixels(self, rows: Int[np.ndarray, " obs"]) -> Float[np.ndarray, "obs y x"]:
        """Read images.

        Args:
            rows: Observations.

        Returns:
            Pixels as float32.
        """

    @abstractmethod
    def from_pixels(self, pixels: Float[Tensor, "obs y x"]) -> Inexact[Tensor, "obs k"]:
        """Write images as this source's batches hold them.

        Args:
            pixels: Images of the source's side.

        Returns:
            Coefficients, or pixels in a row.
        """

    @abstractmethod
    def evidence(self, rows: Int[Tensor, " obs"], owner: Int[Tensor, " obs"]) -> Evidence:
        """Read observations with all that is recorded of them.

        Args:
            rows: Observations.
            owner: For each, the position in a batch of the particle that it is shown for.

        Returns:
            One row each.
        """

    @abstractmethod
    def fingerprint(self) -> bytes:
        """Bytes that change when the data are replaced."""

    @abstractmethod
    def select(self: Same, index: Int[Tensor, " n"]) -> Same:
        """The source of some examples.

        Args:
            index: Examples, in the order wanted.

        Returns:
            A source whose example i is example ``index[i]`` of this one.
        """

    @abstractmethod
    def showing(self: Same, twin: Twin | None) -> Same:
        """The same examples with another twin.

        Args:
            twin: What the posterior is shown in place of the observations; None for themselves.

        Returns:
            A source that shares all else.
        """

    def observations(
        self, index: Int[Tensor, " n"]
    ) -> tuple[Int[Tensor, " obs"], Int[Tensor, " obs"]]:
        """The observations of some examples.

        Args:
            index: Examples.

        Returns:
            Positions of the observations, and for each its example's position in `index`.
        """
        return expanded(self.offsets, index)

    def batch(self, index: Int[Tensor, " n"]) -> Batch:
        """Read some examples.

        Args:
            index: Examples.

        Returns:
            Their observations; the evidence is the same tensors, or the twin's.
        """
        rows, owner = self.observations(index)
        own = self.evidence(rows, owner)
        batch = Batch(index, owner, own.images, own.poses, own.ctf, own)
        if self.twin is None:
            return batch
        return replace(batch, evidence=self.shown(self.twin, batch))

    def shown(self, twin: Twin, batch: Batch) -> Evidence:
        """What a twin shows the posterior in place of some examples.

        Args:
            twin: The twin.
            batch: The examples, with their own evidence.

        Returns:
            One row per observation of the batch.
        """
        return twin.evidence(self.ids[batch.index.numpy()], batch)

    def hold_out(self, share: float, seed: int) -> tuple[Int[Tensor, " a"], Int[Tensor, " b"]]:
        """Keep some examples aside at random, copies of one together.

        Args:
            share: Share of the examples to keep aside.
            seed: Fixes the choice.

        Returns:
            The other examples, and those kept aside, each in ascending order.
        """
        held = self._drawn(seed) < share
        return torch.from_numpy(np.flatnonzero(~held)), torch.from_numpy(np.flatnonzero(held))

    def _drawn(self, seed: int) -> np.ndarray:
        """A number between 0 and 1 for each example, evenly spread; copies share theirs."""
        names, original = np.unique(original_names(self.ids), return_inverse=True)
        order = np.random.default_rng(seed).permutation(len(names))
        return (order / len(names))[original]


AnySource = TypeVar("AnySource", bound=Source)


def expanded(
    offsets: Int[Tensor, " n1"], index: Int[Tensor, " n"]
) -> tuple[Int[Tensor, " obs"], Int[Tensor, " obs"]]:
    """The rows of some examples.

    Args:
        offsets: Where each example's rows begin, and their number at the end.
        index: Examples.

    Returns:
        Positions of the rows, and for each its example's position in `index`.
    """
    count = offsets[index + 1] - offsets[index]
    owner = torch.repeat_interleave(torch.arange(len(index)), count)
    first = torch.cumsum(count, 0) - count
    return offsets[index][owner] + torch.arange(len(owner)) - first[owner], owner
