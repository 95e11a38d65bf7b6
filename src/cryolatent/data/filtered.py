"""Images as expectation maximisation needs them: filtered, moved back, and kept."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path

import torch
from jaxtyping import Bool, Complex, Float, Int
from torch import Tensor

from cryolatent.data.shell_store import BYTES, ShellStore
from cryolatent.data.source import expanded
from cryolatent.data.stack import ParticleStack
from cryolatent.errors import NonFiniteError
from cryolatent.physics import SHIFTS, TURNS, FourierDisc, displaced, turned, view_order
from cryolatent.physics.devices import on_device
from cryolatent.physics.grid import CPU
from cryolatent.progress import Advance, unwatched

CHUNK, DEVICE_CHUNK = 24 * 2**20, 512 * 2**20
"""Bytes of a chunk's images: allocators keep blocks of less than 32 MB for the next chunk."""

MOST_AT_ONCE = 4096
"""Observations of a chunk; what is found of each takes room too."""

MEMORY_BYTES = 4 * 2**30
READ_AT_ONCE = 256


@dataclass(frozen=True)
class Placing:
    """Where images are looked at of which the recorded orientation may say nothing.

    Args:
        moves: From the recorded pose to there: turns in radians and shifts in pixels, in the
            images' frames; zeros for those that stay.
        lost: Whether the recorded orientation is taken to say nothing.
        log_prior: Log prior probability of that choice, less that of all that it stands for, in
            nats.
    """

    moves: Float[Tensor, "obs 5"]
    lost: Bool[Tensor, " obs"]
    log_prior: Float[Tensor, " obs"]

    @staticmethod
    def none(images: int, device: torch.device) -> "Placing":
        """All at the recorded poses.

        Args:
            images: How many.
            device: Where everything lies.

        Returns:
            Zeros.
        """
        zeros = torch.zeros(images, 5, device=device)
        return Placing(zeros, zeros[:, 0] > 0, zeros[:, 0])

    def updated(self, rows: Int[Tensor, " m"], others: "Placing") -> "Placing":
        """Replace some of them.

        Args:
            rows: Which.
            others: By what.

        Returns:
            As many as before.
        """
        pairs = [(getattr(self, f.name), getattr(others, f.name)) for f in fields(self)]
        return Placing(*(mine.index_copy(0, rows, other) for mine, other in pairs))

    def at(self, rows: slice | Int[Tensor, " m"]) -> "Placing":
        """Some of the images.

        Args:
            rows: Which.

        Returns:
            Their places.
        """
        return Placing(self.moves[rows], self.lost[rows], self.log_prior[rows])


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
        placing: Where they were placed; None if they are at the recorded poses.
    """

    index: Int[Tensor, " particles"]
    owner: Int[Tensor, " obs"]
    images: Complex[Tensor, "obs k"]
    weights: Float[Tensor, "obs k"]
    power: Float[Tensor, "obs shells"]
    rotations: Float[Tensor, "obs 3 3"]
    rows: Int[Tensor, " obs"]
    placing: Placing | None = None

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

    @property
    def log_prior(self) -> Float[Tensor, " n"]:
        """Log prior probability of where each particle is looked at (`Placing`)."""
        if self.placing is None:
            return self.weights.new_zeros(len(self))
        return self.by_particle(self.placing.log_prior)

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

    def placed(self, placing: Placing, disc: FourierDisc) -> "FilteredImages":
        """The same images where they are to be looked at.

        Args:
            placing: A row for each.
            disc: Where the coefficients belong.

        Returns:
            The same particles.
        """
        there = self
        if placing.lost.any():
            there = self.moved(placing.moves[:, TURNS], placing.moves[:, SHIFTS], disc)
        return replace(there, placing=placing)

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
        stack = replace(stack, shells=disc.radius)
        batch = stack.batch(index)
        poses, ctf = batch.poses, batch.ctf
        if poses is None or ctf is None:
            raise ValueError("filtering needs poses and transfer functions")
        transfer = ctf.evaluate(disc.cycles_per_pixel)
        shifts = poses.shifts_angstrom / ctf.pixel_size_angstrom[:, None]
        images = batch.images[:, stack.disc.by_shell_order] if disc.by_shell else batch.images
        power = torch.zeros(len(images), disc.radius + 1)
        power.index_add_(1, disc.shells, images.real.square() + images.imag.square())
        return FilteredImages(
            index,
            batch.owner,
            displaced(images * transfer, -shifts, disc),
            transfer.square(),
            power[:, 1:],
            poses.rotations.contiguous(),
            stack.observations(index)[0],
        )

    def within(self, shells: int, disc: FourierDisc) -> "FilteredImages":
        """Keep the first shells.

        Args:
            shells: Last shell kept.
            disc: Where the coefficients belong.

        Returns:
            The same particles.
        """
        if shells >= disc.radius:
            return self
        return self.restricted(torch.nonzero(disc.shells <= shells)[:, 0], shells)

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

    @abstractmethod
    def place(self, placing: Placing | None) -> None:
        """Look at images elsewhere from now on.

        Args:
            placing: A row for each image of the stack; None for the recorded poses.
        """


@dataclass
class FilteredStack(Filtered):
    """The filtered images of a stack, read once and kept, in chunks of particles seen alike.

    Neighbours among the views touch the same voxels, which are then in the processor's cache; so
    particles come in the order of their views, whatever the order of `index`.

    Args:
        stack: The particles.
        index: Which of them.
        memory_bytes: Memory of the processor that may be taken; more goes to a file.
        device: Where the images are wanted.
        scratch: Folder of the file; the system's own by default.
    """

    stack: ParticleStack
    index: Int[Tensor, " n"]
    memory_bytes: int = MEMORY_BYTES
    device: torch.device = CPU
    scratch: Path | None = None

    def __post_init__(self) -> None:
        offsets = self.stack.offsets
        self.index = self.index[view_order(self.stack.poses.rotations[offsets[self.index]])]
        counts = offsets[self.index + 1] - offsets[self.index]
        self._offsets = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
        self._kept: tuple[ShellStore, FilteredImages] | None = None
        self._placing: Placing | None = None

    def __len__(self) -> int:
        return len(self.index)

    def place(self, placing: Placing | None) -> None:
        """Look at images elsewhere from now on."""
        self._placing = placing

    def chunks(self, disc: FourierDisc) -> Iterator[FilteredImages]:
        """All particles, chunk by chunk; the disc's coefficients are to come shell by shell."""
        if not disc.by_shell:
            raise ValueError("a disc whose coefficients come row by row")
        at_once = DEVICE_CHUNK if self.device.type == "cuda" else CHUNK
        each = max(1.0, int(self._offsets[-1]) / max(1, len(self)))
        step = max(1, int(min(at_once / (BYTES * disc.size), MOST_AT_ONCE) / each))
        for first in range(0, len(self), step):
            yield self._part(first, min(first + step, len(self)), disc)

    def read(self, progress: Advance = unwatched) -> tuple[ShellStore, FilteredImages]:
        """Read and filter all images, if that is not done yet.

        Args:
            progress: Called with the number of particles read.

        Returns:
            Coefficients, and all else that is known of the images.

        Raises:
            InputError: If there is no room for them.
        """
        if self._kept is None:
            self._kept = self._read(progress)
        return self._kept

    def _read(self, progress: Advance) -> tuple[ShellStore, FilteredImages]:
        disc, rows = replace(self.stack.disc, by_shell=True), int(self._offsets[-1])
        store = ShellStore(disc, rows, self.memory_bytes, self.device, self.scratch)
        power, done = torch.empty(rows, disc.radius), 0
        # in the order of the file, as disks read best
        for some in torch.argsort(self.index).split(READ_AT_ONCE):
            part = FilteredImages.read(self.stack, self.index[some], disc)
            _check_finite(part, self.stack)
            at, _ = expanded(self._offsets, some)
            store.write(at, part.images, part.weights)
            power[at] = part.power
            done += len(some)
            progress(done)
        stack_rows, owner = self.stack.observations(self.index)
        rotations = self.stack.poses.rotations[stack_rows].contiguous()
        images, weights = torch.empty(rows, 0, dtype=torch.complex64), torch.empty(rows, 0)
        found = images, weights, power, rotations, stack_rows
        bare = FilteredImages(self.index, owner, *found)
        return store, on_device(bare, self.device)

    def _part(self, first: int, last: int, disc: FourierDisc) -> FilteredImages:
        store, bare = self.read()
        rows = slice(int(self._offsets[first]), int(self._offsets[last]))
        images, weights = store.read(rows, disc.size)
        part = FilteredImages(
            bare.index[first:last],
            bare.owner[rows] - first,
            images,
            weights,
            bare.power[rows, : disc.radius],
            bare.rotations[rows],
            bare.rows[rows],
        )
        placing = self._placing
        return part if placing is None else part.placed(placing.at(part.rows), disc)


def _check_finite(part: FilteredImages, stack: ParticleStack) -> None:
    bad = torch.nonzero(~part.power.isfinite().all(dim=1))
    if len(bad):
        at = int(bad[0, 0])
        particle = stack.ids[int(part.index[part.owner[at]])]
        raise NonFiniteError(
            f"{stack.images.name(int(part.rows[at]))}: particle {particle} has pixels that are not "
            "finite, or too large to square. Remove it or extract it again, and begin a new run."
        )


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

    def place(self, placing: Placing | None) -> None:
        """Look at images elsewhere from now on, those of every set."""
        for part in self.sets:
            part.place(placing)
