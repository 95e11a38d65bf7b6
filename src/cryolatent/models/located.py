"""Poses found: a grid's most probable orientations, each made a normal distribution of its own."""

from dataclasses import dataclass, replace
from math import log, radians

import torch
from jaxtyping import Float, Int
from torch import Tensor

from cryolatent.data import FilteredImages
from cryolatent.models.hypothesis import Explained, Hypothesis
from cryolatent.models.nuisances import Nuisances, PoseErrors
from cryolatent.models.pose_grid import GridPosterior, chosen
from cryolatent.models.settling import Settling
from cryolatent.physics import CELL, SHIFTS, TURNS, FourierDisc, turned


@dataclass(frozen=True)
class Located:
    """Posteriors of poses: mixtures of normal distributions.

    Args:
        explained: What every candidate's image says at that candidate's pose; candidates of a
            particle follow each other.
        starts: Where the candidates' normal distributions were begun: rotations, and displacements
            in pixels.
        log_weights: Logarithms of the candidates' probabilities.
        evidence: Log evidence of each particle, its grid's cells integrated, in nats.
    """

    explained: Explained
    starts: tuple[Float[Tensor, "n m 3 3"], Float[Tensor, "n m 2"]]
    log_weights: Float[Tensor, "n m"]
    evidence: Float[Tensor, " n"]

    @property
    def images(self) -> Int[Tensor, " n"]:
        """Position of each image in the stack."""
        return self.explained.part.rows.view(self.log_weights.shape)[:, 0]

    def poses(self) -> tuple[Float[Tensor, "n m 3 3"], Float[Tensor, "n m 2"]]:
        """The most probable pose near each candidate: rotations, and displacements in pixels."""
        (rotations, shifts), moved = self.starts, self.explained.best()
        there = turned(rotations.flatten(0, 1), moved[:, TURNS]).view_as(rotations)
        return there, shifts + moved[:, SHIFTS].view_as(shifts)

    def best(self) -> tuple[Float[Tensor, "n 3 3"], Float[Tensor, "n 2"]]:
        """The pose of the most probable candidate."""
        rows, most = torch.arange(len(self.evidence)), self.log_weights.argmax(-1)
        rotations, shifts = self.poses()
        return rotations[rows, most], shifts[rows, most]

    def insertion(
        self, normal: Float[Tensor, "nm w"], errors: Float[Tensor, "nm 5"], least: float = 1e-3
    ) -> tuple[FilteredImages, Float[Tensor, "r c"], Float[Tensor, "r *c"]]:
        """Where images belong in a reconstruction: at a draw about every probable candidate.

        Args:
            normal: Standard normal numbers, for draws of contrast and latent.
            errors: Standard normal numbers, for draws of poses.
            least: Probability below which candidates are left out.

        Returns:
            The images, and first and second moments of the components' coefficients, times the
            candidates' probabilities.
        """
        there, first, second = self.explained.insertion(normal, errors)
        weight = self.log_weights.exp().flatten()
        rows = torch.nonzero(weight >= least)[:, 0]
        weight = weight[rows]
        first, second = (m[rows] * weight.view(-1, *[1] * (m.ndim - 1)) for m in (first, second))
        return chosen(there, rows), first, second


@dataclass(frozen=True)
class PoseSearch:
    """From a grid of poses at few shells to normal distributions at more.

    Args:
        coarse: The grid, under volumes at few shells.
        fine: The same volumes at more shells; of what it doubts only the contrast counts.
        candidates: Orientations of each particle that are followed.
    """

    coarse: GridPosterior
    fine: Hypothesis
    candidates: int

    @property
    def errors(self) -> PoseErrors:
        """Widths of a cell of the grid."""
        grid = self.coarse.grid
        turn = CELL * radians(grid.orientations.spacing_degrees)
        return PoseErrors(turn, turn, grid.shift_deviation)

    def settling(self) -> Settling:
        """How candidates find the pose that is most probable near them."""
        nuisances = Nuisances(self.errors, self.fine.nuisances.contrast)
        return Settling.of(replace(self.fine, nuisances=nuisances))

    def locate(self, part: FilteredImages, settling: Settling) -> Located:
        """Find the poses of some particles.

        Args:
            part: Particles of one image each, at all coefficients of the finer volumes.
            settling: From `settling`.

        Returns:
            Mixtures of normal distributions.
        """
        shells, disc = self.coarse.disc.radius, self.fine.lattice.disc
        found = self.coarse.candidates(part.within(shells, disc), self.candidates)
        there = placed(part, found.rotations, found.shifts, disc)
        explained = settling.explain(there)
        shape = found.log_weights.shape
        # each candidate stands for a cell of the grid, of equal prior probability
        joint = explained.evidence.view(shape) - log(len(self.coarse.grid.orientations))
        evidence = joint.logsumexp(-1)
        starts = found.rotations, found.shifts
        return Located(explained, starts, joint - evidence[:, None], evidence)


def placed(
    part: FilteredImages,
    rotations: Float[Tensor, "n m 3 3"],
    shifts_pixels: Float[Tensor, "n m 2"],
    disc: FourierDisc,
) -> FilteredImages:
    """Each image at several poses, as if it were several particles.

    Args:
        part: Particles of one image each.
        rotations: Their rotations.
        shifts_pixels: Their displacements about the recorded ones, in pixels.
        disc: Where the coefficients belong.

    Returns:
        Images; those of a particle follow each other.
    """
    most = rotations.shape[1]
    rows = torch.arange(len(part), device=rotations.device).repeat_interleave(most)
    there = chosen(part, rows)
    there = there.moved(torch.zeros(len(rows), 3), shifts_pixels.flatten(0, 1), disc)
    return replace(there, rotations=rotations.flatten(0, 1).contiguous())
