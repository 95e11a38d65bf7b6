"""A pass over particles that follows a few poses of each, normal distributions all."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from cryolatent.models.everywhere import CANDIDATES
from cryolatent.models.hypothesis import ERRORS
from cryolatent.models.located import Located, PoseSearch
from cryolatent.models.pose_grid import GridPosterior
from cryolatent.physics import NormalEquations, residual_power
from cryolatent.train.abinitio.consensus import Consensus
from cryolatent.train.em.search import Search
from cryolatent.train.em.step import mean_residual
from cryolatent.train.randomness import seeded

LEAST_DEVIATION = 0.1
"""Smallest standard deviation that displacements are held to have, in pixels."""


@dataclass(frozen=True)
class FoundPoses:
    """Poses of images, by their positions in a stack.

    Args:
        rotations: The most probable rotation R of each.
        shifts: The displacement (x, y) about what was recorded, in pixels.
        certainty: Probability of the orientations near that rotation.
    """

    rotations: Float[Tensor, "n 3 3"]
    shifts: Float[Tensor, "n 2"]
    certainty: Float[Tensor, " n"]

    @staticmethod
    def none(images: int, device: torch.device) -> "FoundPoses":
        """Room for some.

        Args:
            images: Their number.
            device: Where they lie.

        Returns:
            Zeros.
        """
        rotations = torch.zeros(images, 3, 3, device=device)
        return FoundPoses(rotations, rotations[:, 0, :2].clone(), rotations[:, 0, 0].clone())

    def note(self, found: Located) -> None:
        """Take what was found of some particles."""
        rows = found.images
        self.rotations[rows], self.shifts[rows] = found.best()
        self.certainty[rows] = found.log_weights.amax(-1).exp()


def followed(
    search: Search, consensus: Consensus, coarse_shells: int, spacing_degrees: float
) -> tuple[Consensus, FoundPoses]:
    """Search all poses again, and follow the best of them to all shells of the consensus.

    Args:
        search: The particles; solves for volumes.
        consensus: The volume now.
        coarse_shells: Last shell at which the grid is compared.
        spacing_degrees: Distance of neighbouring orientations of the grid.

    Returns:
        The volume of all particles at draws of their poses, and the best poses.
    """
    lattice, parts = consensus.lattice, search.parts
    few = consensus.at(search.lattice(min(coarse_shells, lattice.disc.radius)), search.noise)
    coarse = GridPosterior(few.hypothesis, few.grid(spacing_degrees))
    poses = PoseSearch(coarse, consensus.hypothesis, CANDIDATES)
    equations = NormalEquations(lattice, 1, independent=True)
    settling, gains = poses.settling(), 1 / consensus.noise[lattice.disc.shells]
    found = FoundPoses.none(len(parts.stack.images), search.device)
    power, evidence = gains.new_zeros(lattice.disc.radius + 1, dtype=torch.double), 0.0
    normal = _normal(search, len(found.rotations))
    for part in (few for chunk in parts.chunks(lattice.disc) for few in coarse.parts(chunk)):
        there = poses.locate(part, settling)
        found.note(there)
        drawn = normal[part.rows].flatten(0, 1)
        images, first, second = there.insertion(drawn[:, ERRORS:], drawn[:, :ERRORS])
        equations.insert(images.images, images.weights, gains, (second, first), images.rotations)
        power += residual_power(
            consensus.values,
            images.images,
            images.weights,
            (second, first),
            images.rotations,
            lattice,
        )
        power[1:] += part.power.double().sum(0)
        evidence += float(there.evidence.double().sum())
    field = search.solved(lattice, *equations.total())
    improved = replace(
        consensus,
        values=search.alone(lattice).values(field),
        noise=mean_residual(power, len(parts), lattice.disc),
        shift_deviation=_deviation(found, consensus.shift_deviation),
        evidence=evidence / len(parts),
    )
    return improved, found


def _normal(search: Search, images: int) -> Float[Tensor, "n m w"]:
    """Standard normal numbers of a pass, the same for an image however images are divided."""
    search.passes += 1
    generator = seeded(search.seed, search.passes, "pose")
    return torch.randn(images, CANDIDATES, ERRORS + 2, generator=generator).to(search.device)


def _deviation(found: FoundPoses, before: float) -> float:
    """Standard deviation of displacements along an axis."""
    some = found.certainty > 0
    return max(float(found.shifts[some].square().mean()) ** 0.5, LEAST_DEVIATION)
