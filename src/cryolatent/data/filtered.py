"""Images as expectation maximisation needs them: filtered, moved back, and kept where they fit."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import torch
from jaxtyping import Complex, Float, Int
from torch import Tensor

from cryolatent.data.stack import ParticleStack
from cryolatent.physics import FourierDisc, displaced, shift_phases, turned
from cryolatent.physics.devices import on_device
from cryolatent.physics.grid import CPU

CHUNK_BYTES = 64 * 2**20
MEMORY_BYTES = 4 * 2**30


@dataclass(frozen=True)
class FilteredImages:
    """What a Gaussian likelihood needs to know of some particles' images.

    For an image x with transfer function C and displacement t these are sufficient statistics of
    its slice: ``C exp(2 pi i k.t) x`` and ``C²``.

    Args:
        index: Position of each particle in its stack.
        owner: For each observation, the particle's position in `index`.
        images: Filtered images, moved back to the centre.
        weights: Squared transfer functions.
        power: Power of the observed image in shells 1 to ``disc.radius``, summed over coefficients.
        rotations: Rotation of each observation.
        rows: Position of each observation in the stack.
    """

    index: Int[Tensor, " particles"]
    owner: Int[Tensor, " obs"]
    images: Complex[Tensor, "obs k"]
    weights: Float[Tensor, "obs k"]
    power: Float[Tensor, "obs shells"]
    rotations: Float[Tensor, "obs 3 3"]
    rows: Int[Tensor, " obs"]

    def __len__(self) -> int:
        return len(self.index)

    def by_particle(self, rows: Float[Tensor, "obs *rest"]) -> Float[Tensor, "n *rest"]:
        """Add up the observations of each particle.

        Args:
            rows: One entry per observation.

        Returns:
            One entry per particle.
        """
        return rows.new_zeros(len(self), *rows.shape[1:]).index_add(0, self.owner, rows)

    def filtered_power(self) -> Float[Tensor, "obs k"]:
        """``|C x|²`` of each coefficient."""
        return self.images.real.square() + self.images.imag.square()

    def moved(
        self,
        turns: Float[Tensor, "obs 3"],
        shifts_pixels: Float[Tensor, "obs 2"],
        disc: FourierDisc,
    ) -> "FilteredImages":
        """See the same images from other poses.

        Args:
            turns: Rotation vectors w in the images' frames, in radians; R becomes ``exp(-[w]×) R``.
            shifts_pixels: How much further the particles are displaced, in pixels.
            disc: Where the coefficients belong.

        Returns:
            The same particles.
        """
        return replace(
            self,
            images=displaced(self.images, -shifts_pixels, disc),
            rotations=turned(self.rotations, turns),
        )

    @staticmethod
    def read(stack: ParticleStack, index: Int[Tensor, " n"], disc: FourierDisc) -> "FilteredImages":
        """Read and filter some particles.

        Args:
            stack: The particles.
            index: Which.
            disc: The coefficients wanted.

        Returns:
            Their filtered images.
        """
        batch = replace(stack, shells=disc.radius).batch(index)
        poses, ctf = batch.poses, batch.ctf
        if poses is None or ctf is None:
            raise ValueError("filtering needs poses and transfer functions")
        transfer = ctf.evaluate(disc.cycles_per_pixel)
        shifts = poses.shifts_angstrom / ctf.pixel_size_angstrom[:, None]
        power = torch.zeros(len(batch.images), disc.radius + 1)
        power.index_add_(1, disc.shells, batch.images.real.square() + batch.images.imag.square())
        return FilteredImages(
            index,
            batch.owner,
            batch.images * (transfer * shift_phases(disc, -shifts)),
            transfer.square(),
            power[:, 1:],
            poses.rotations.contiguous(),
            stack.observations(index)[0],
        )

    def restricted(self, columns: Int[Tensor, " k2"], shells: int) -> "FilteredImages":
        """Keep some coefficients.

        Args:
            columns: Positions of the coefficients to keep.
            shells: Last shell kept.

        Returns:
            The same particles.
        """
        return replace(
            self,
            images=self.images[:, columns],
            weights=self.weights[:, columns],
            power=self.power[:, :shells],
        )


class Filtered(ABC):
    """Filtered images of some particles, chunk by chunk."""

    stack: ParticleStack

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def chunks(self, disc: FourierDisc) -> Iterator[FilteredImages]:
        """All particles, chunk by chunk.

        Args:
            disc: The coefficients wanted.

        Yields:
            Filtered images.
        """


@dataclass
class FilteredStack(Filtered):
    """The filtered images of a stack, in chunks; kept in memory if they fit, else read anew.

    Args:
        stack: The particles.
        index: Which of them, ascending.
        memory_bytes: What may be kept, on the processor.
        device: Where the images are wanted.
    """

    stack: ParticleStack
    index: Int[Tensor, " n"]
    memory_bytes: int = MEMORY_BYTES
    device: torch.device = CPU

    def __post_init__(self) -> None:
        self._whole: list[FilteredImages] = []
        self._kept: tuple[int, list[FilteredImages]] = (0, [])

    def __len__(self) -> int:
        return len(self.index)

    def chunks(self, disc: FourierDisc) -> Iterator[FilteredImages]:
        """All particles, chunk by chunk."""
        for part in self._parts(disc.to(CPU)):
            yield on_device(part, self.device)

    def _parts(self, disc: FourierDisc) -> Iterable[FilteredImages]:
        if self._bytes(self.stack.disc) <= self.memory_bytes:
            return self._from_memory(disc)
        return (FilteredImages.read(self.stack, rows, disc) for rows in self._rows(disc))

    def _from_memory(self, disc: FourierDisc) -> list[FilteredImages]:
        whole = self.stack.disc
        if not self._whole:
            self._whole = [
                FilteredImages.read(self.stack, rows, whole) for rows in self._rows(whole)
            ]
        if self._kept[0] != disc.radius:
            columns = torch.nonzero(whole.shells <= disc.radius)[:, 0]
            parts = [part.restricted(columns, disc.radius) for part in self._whole]
            self._kept = (disc.radius, self._whole if disc.radius == whole.radius else parts)
        return self._kept[1]

    def _rows(self, disc: FourierDisc) -> tuple[Tensor, ...]:
        size = max(1, int(CHUNK_BYTES * len(self) / max(1, self._bytes(disc))))
        return self.index.split(size)

    def _bytes(self, disc: FourierDisc) -> int:
        offsets = self.stack.offsets
        observations = int((offsets[self.index + 1] - offsets[self.index]).sum())
        return 12 * observations * disc.size


@dataclass
class FilteredTogether(Filtered):
    """Several sets of particles as one.

    Args:
        sets: The sets, of one stack.
    """

    sets: tuple[FilteredStack, ...]

    def __post_init__(self) -> None:
        self.stack = self.sets[0].stack

    def __len__(self) -> int:
        return sum(map(len, self.sets))

    def chunks(self, disc: FourierDisc) -> Iterator[FilteredImages]:
        """All particles, set by set, chunk by chunk."""
        for part in self.sets:
            yield from part.chunks(disc)
