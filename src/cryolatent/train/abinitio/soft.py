"""A pass over particles that weights every pose of a grid by its probability."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from cryolatent.data import Filtered, FilteredImages
from cryolatent.models.pose_grid import GridPosterior
from cryolatent.physics import NormalEquations, residual_power
from cryolatent.train.abinitio.consensus import Consensus
from cryolatent.train.em.search import Search
from cryolatent.train.em.step import mean_residual


@dataclass(frozen=True)
class SoftPass:
    """What a pass found.

    Args:
        evidence: Sum of the particles' log evidence, in nats.
        weights: Share of particles that each volume explains.
        matrix: Normal matrices of the volumes at the voxels.
        vector: Right-hand sides at the voxels.
        noise: Expected mean square residual of shells 0 to ``disc.radius``.
        shift_variance: Expected square of displacements along an axis, in square pixels.
    """

    evidence: float
    weights: Float[Tensor, " c"]
    matrix: Float[Tensor, "v c"]
    vector: Complex[Tensor, "v c"]
    noise: Float[Tensor, " shells"]
    shift_variance: float


class _Sums:
    """Images and squared transfer functions, summed at each orientation of a grid."""

    def __init__(self, posterior: GridPosterior) -> None:
        self.posterior = posterior
        components, orientations, coefficients = posterior.slices.shape
        gains = posterior.gains
        self.images = gains.new_zeros(2, components, orientations, coefficients)
        self.weights = gains.new_zeros(components, orientations, coefficients)
        self.power = gains.new_zeros(posterior.disc.radius, dtype=torch.double)
        self.shifts = gains.new_zeros(len(posterior.phases), dtype=torch.double)
        self.shares = gains.new_zeros(components, dtype=torch.double)
        self.evidence = gains.new_zeros((), dtype=torch.double)
        self.particles = 0

    def add(self, part: FilteredImages) -> None:
        """Weight a few particles' poses, and add their images to the sums."""
        posterior = self.posterior
        share = posterior.scores(part)
        evidence = share.flatten(1).logsumexp(-1)
        share.sub_(evidence[:, None, None, None, None]).exp_()
        real, imaginary = posterior.moved(part)
        for volume in range(share.shape[1]):
            straight, turned = share[:, volume].unbind(2)
            # half a turn conjugates the slice, or the image
            both = (straight + turned).flatten(0, 1).T
            self.images[0, volume].addmm_(both, real)
            self.images[1, volume].addmm_((straight - turned).flatten(0, 1).T, imaginary)
            self.weights[volume].addmm_(share[:, volume].sum((1, 2)).T, part.weights)
        self.shifts += share.sum((0, 1, 3, 4)).double()
        self.shares += share.sum((0, 2, 3, 4)).double()
        self.evidence += (evidence + posterior.hypothesis.empty(part)).double().sum()
        self.power += part.power.double().sum(0)
        self.particles += len(part)

    def finished(self) -> SoftPass:
        posterior, lattice = self.posterior, self.posterior.hypothesis.lattice
        rotations = posterior.grid.orientations.rotations.to(self.weights.device)
        values, components = posterior.hypothesis.values, len(self.weights)
        equations = NormalEquations(lattice, components, independent=True)
        gains, power = 0.5 * posterior.gains, torch.zeros(posterior.disc.radius + 1).double()
        images = torch.complex(*self.images)
        for volume in range(components):
            one = torch.eye(components, device=rotations.device)[volume].expand(len(rotations), -1)
            one = one.contiguous()
            equations.insert(images[volume], self.weights[volume], gains, (one, one), rotations)
            power += residual_power(
                values, images[volume], self.weights[volume], (one, one), rotations, lattice
            ).cpu()
        power[1:] += self.power.cpu()
        noise = mean_residual(power, self.particles, lattice.disc)
        shares = self.shifts.float() / self.particles
        square = posterior.grid.shifts.to(shares).square().mean(-1)
        return SoftPass(
            float(self.evidence),
            (self.shares / self.particles).float(),
            *equations.total(),
            noise.to(gains),
            float(shares @ square),
        )


def soft_pass(parts: Iterable[FilteredImages], posterior: GridPosterior) -> SoftPass:
    """Expectation for every particle over every pose, and the sums for maximisation.

    Args:
        parts: Particles of one image each, chunk by chunk.
        posterior: Of one or K volumes.

    Returns:
        Sums over all particles.
    """
    sums = _Sums(posterior)
    for part in parts:
        for few in posterior.parts(part):
            sums.add(few)
    return sums.finished()


def softly_improved(
    search: Search, consensus: Consensus, parts: Filtered, spacing_degrees: float
) -> Consensus:
    """One step of expectation maximisation over every pose of a grid.

    Args:
        search: Solves for volumes.
        consensus: The volume now.
        parts: The particles.
        spacing_degrees: Distance of neighbouring orientations.

    Returns:
        The volume of all particles, each at every pose by its probability.
    """
    lattice, grid = consensus.lattice, consensus.grid(spacing_degrees)
    found = soft_pass(parts.chunks(lattice.disc), GridPosterior(consensus.hypothesis, grid))
    field = search.solved(lattice, found.matrix, found.vector)
    return replace(
        consensus,
        values=search.alone(lattice).values(field),
        # a random volume explains nothing, and its residuals are not noise
        noise=consensus.noise if consensus.is_random else found.noise,
        shift_deviation=max(found.shift_variance, grid.shift_step**2 / 12) ** 0.5,
        evidence=found.evidence / len(parts),
    )
