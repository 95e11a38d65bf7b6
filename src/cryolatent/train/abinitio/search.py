"""From images without poses to a volume and poses: random starts, the best of which goes on."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from cryolatent.data import Filtered, FilteredStack, ParticleStack, StackStatistics
from cryolatent.errors import InputError
from cryolatent.models.contrast import ONE
from cryolatent.models.everywhere import GRID_SHELLS
from cryolatent.physics import Poses
from cryolatent.physics.grid import CPU
from cryolatent.train.abinitio.consensus import Consensus, random_consensus
from cryolatent.train.abinitio.followed import FoundPoses, followed
from cryolatent.train.abinitio.soft import softly_improved
from cryolatent.train.em.results import first_tensors, start_search
from cryolatent.train.em.search import Search
from cryolatent.train.progress import Watch


@dataclass(frozen=True)
class Halt:
    """Some passes at one resolution.

    Args:
        shells: Last shell.
        spacing_degrees: Distance of neighbouring orientations.
        passes: How many.
    """

    shells: int
    spacing_degrees: float
    passes: int


@dataclass(frozen=True)
class Plan:
    """What a search does.

    Args:
        starting: Of every random start: all poses of a grid, some of the particles.
        soft: The same of the best start, all particles.
        followed: A few poses of each particle, found anew in each pass and followed so far.
    """

    starting: tuple[Halt, ...] = (Halt(5, 20.0, 10), Halt(6, 15.0, 5), Halt(8, 15.0, 4))
    soft: tuple[Halt, ...] = (Halt(8, 15.0, 2),)
    followed: tuple[Halt, ...] = (
        Halt(8, 15.0, 1),
        Halt(10, 15.0, 2),
        Halt(12, 15.0, 2),
        Halt(16, 15.0, 2),
    )


PLAN = Plan()

MASK_SHELLS = 8
"""Shells from which the volume shows where the molecule is."""

START_PARTICLES = 2500
"""Particles that random starts are tried on."""

FOLLOWED_EFFORT = 100
"""What a pass that follows poses costs, in square shells of one that only weights a grid."""


@dataclass(frozen=True)
class AbInitio:
    """What was found.

    Args:
        poses: One pose per image of the stack.
        certainty: Probability of the orientations near each.
        volume: The map of all particles, in the scale of the images.
        starts: Log evidence per particle that each random start came to, in nats.
        chosen: Which start went on.
        shells: Last shell of the map.
        evidence: Log evidence per particle at these shells, in nats.
    """

    poses: Poses
    certainty: Float[Tensor, " n"]
    volume: Float[Tensor, "z y x"]
    starts: tuple[float, ...]
    chosen: int
    shells: int
    evidence: float


class AbInitioSearch:
    """One search.

    Args:
        stack: Particles of one image each; what is recorded of their poses is not looked at.
        spectra: Mean spectra of the data.
        radius_pixels: Radius of the particle, in pixels.
        shift_deviation: Standard deviation of displacements to begin with, in pixels.
        seed: Fixes every random choice.
        watch: Told of the progress.
        device: Where it works.
        plan: At which resolutions; `PLAN` if left out.

    Raises:
        InputError: If a particle has several images.
    """

    def __init__(
        self,
        stack: ParticleStack,
        spectra: StackStatistics,
        radius_pixels: float,
        *,
        shift_deviation: float,
        seed: int = 0,
        watch: Watch | None = None,
        device: torch.device = CPU,
        plan: Plan | None = None,
    ) -> None:
        if len(stack) != len(stack.images):
            raise InputError(
                stack.source,
                f"{len(stack.images)} images of {len(stack)} particles",
                "one image of each particle",
                "Poses of tilted images are found together, which this search cannot do.",
            )
        plan = plan or PLAN
        halts = (*plan.starting, *plan.soft, *plan.followed)
        last = min(stack.disc.radius, max(halt.shells for halt in halts))
        self.stack = replace(unposed(stack), shells=last)
        self.spectra = StackStatistics(
            *(s[: last + 1] for s in (spectra.power, spectra.background, spectra.ctf_squared))
        )
        self.watch, self.seed, self.device, self.plan = watch or Watch(), seed, device, plan
        self.shift_deviation, self.radius_pixels = shift_deviation, radius_pixels
        self._done = self._passes = 0

    def run(self, starts: int) -> AbInitio:
        """Find volume and poses.

        Args:
            starts: Number of random starts.

        Returns:
            The volume of the best start, at all particles, and their poses.
        """
        last = self.stack.disc.radius
        parts = FilteredStack(self.stack, torch.arange(len(self.stack)), device=self.device)
        self.watch.stage("filtering images", len(parts))
        parts.read(self.watch.advance)
        some = self._some(parts)
        effort = starts * _effort(self.plan.starting, last, len(some)) + _effort(
            self.plan.soft, last, len(parts)
        )
        passes = sum(halt.passes for halt in self.plan.followed)
        total = effort + FOLLOWED_EFFORT * passes * len(parts)
        self.watch.stage("searching poses", total)
        found = [self._start(some, parts, number, starts) for number in range(starts)]
        evidence = tuple(consensus.evidence for _, consensus in found)
        chosen = max(range(starts), key=evidence.__getitem__)
        search, consensus = found[chosen]
        consensus = self._soft(search, consensus, parts, self.plan.soft, "all particles")
        consensus, poses = self._followed(search, consensus)
        lattice, pixel = consensus.lattice, self.stack.pixel_size_angstrom
        return AbInitio(
            Poses(poses.rotations.cpu(), pixel * poses.shifts.cpu()),
            poses.certainty.cpu(),
            lattice.to_volumes(consensus.values, 1)[0].cpu(),
            evidence,
            chosen,
            lattice.disc.radius,
            consensus.evidence,
        )

    def _some(self, parts: FilteredStack) -> Filtered:
        """The particles that starts are tried on."""
        count = len(self.stack)
        if count <= START_PARTICLES:
            return parts
        generator = torch.Generator().manual_seed(self.seed)
        rows = torch.randperm(count, generator=generator)[:START_PARTICLES].sort().values
        some = FilteredStack(self.stack, rows, device=self.device)
        some.read()
        return some

    def _start(
        self, some: Filtered, parts: Filtered, number: int, starts: int
    ) -> tuple[Search, Consensus]:
        tensors = first_tensors(self.stack, self.spectra, self.radius_pixels, {})
        search = start_search(parts, parts, tensors, ONE, seed=self.seed, device=self.device)
        generator = torch.Generator().manual_seed(1000 * self.seed + number)
        shells = min(self.plan.starting[0].shells, self.stack.disc.radius)
        consensus = random_consensus(search, shells, self.shift_deviation, generator)
        name = f"start {number + 1} of {starts}"
        return search, self._soft(search, consensus, some, self.plan.starting, name)

    def _soft(
        self,
        search: Search,
        consensus: Consensus,
        parts: Filtered,
        halts: tuple[Halt, ...],
        name: str,
    ) -> Consensus:
        for halt in halts:
            shells = min(halt.shells, self.stack.disc.radius)
            consensus = consensus.at(search.lattice(shells), search.noise)
            for _ in range(halt.passes):
                consensus = softly_improved(search, consensus, parts, halt.spacing_degrees)
                self._tell(consensus, shells**2 * len(parts), name)
        return consensus

    def _followed(self, search: Search, consensus: Consensus) -> tuple[Consensus, FoundPoses]:
        poses = FoundPoses.none(len(self.stack.images), self.device)
        for halt in self.plan.followed:
            shells = min(halt.shells, self.stack.disc.radius)
            consensus = consensus.at(search.lattice(shells), search.noise)
            for _ in range(halt.passes):
                spacing = halt.spacing_degrees
                consensus, poses = followed(search, consensus, GRID_SHELLS, spacing)
                self._tell(consensus, FOLLOWED_EFFORT * len(search.parts), "refining")
        return consensus, poses

    def _tell(self, consensus: Consensus, effort: int, name: str) -> None:
        self._done += effort
        self.watch.advance(self._done)
        shells, geometry = consensus.lattice.disc.radius, self.stack.geometry
        self.watch.epoch(
            {
                "epoch": self._passes,
                "curve": 0,
                "angstrom": round(geometry.box * geometry.pixel_size_angstrom / shells, 2),
                "volumes": 1,
                "objective": consensus.evidence,
                "remarks": [name],
            }
        )
        self._passes += 1


def unposed(stack: ParticleStack) -> ParticleStack:
    """The same particles with nothing known of their poses.

    Args:
        stack: The particles.

    Returns:
        All at the same rotation, in the centre.
    """
    return replace(stack, poses=Poses.unknown(len(stack.images)))


def _effort(halts: tuple[Halt, ...], last: int, particles: int) -> int:
    """About how long passes take, in coefficients passed over."""
    return sum(halt.passes * min(halt.shells, last) ** 2 for halt in halts) * particles
