"""Poses looked for everywhere, beside those near the recorded ones.

The prior of an orientation is a mixture: normal about the recorded one, or, with the probability
that the recorded one has nothing to do with the image, uniform. A grid at few shells proposes, and
the best candidates and the recorded pose are judged by what they explain at more shells. Each image
is then placed at the most probable of them, and read there as any other.
"""

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from functools import cached_property
from math import log

import torch
from jaxtyping import Float
from torch import Tensor

from cryolatent.data import FilteredImages, Placing
from cryolatent.models.hypothesis import Explained, Hypothesis
from cryolatent.models.located import PoseSearch
from cryolatent.models.nuisances import FOUND, LOG_FOUND, TRUSTED
from cryolatent.models.pose_grid import GridPosterior, PoseGrid
from cryolatent.models.settling import PosePosterior, Settling
from cryolatent.physics import turn_between

GRID_SHELLS, SPACING_DEGREES = 8, 15.0
"""Last shell at which the grid's poses are compared, and the distance of its orientations."""

SEARCHED_SHELLS = 16
"""Last shell at which candidates are judged."""

CANDIDATES = 6
"""Orientations of each image that are followed."""

ITERATIONS, LEAST_LOST = 20, 0.5
"""Steps that fit the share of lost orientations; and images added to either side, for from none
nothing would come back."""

MOST_DIMENSIONS = 3
"""Largest subspace that is integrated out at every pose of a grid; of larger ones the mean
proposes, and the candidates are judged with all dimensions."""


@dataclass(frozen=True)
class Look:
    """What images say of the recorded pose, and of others.

    Args:
        near: Log evidence of the recorded pose and all near it, relative to an empty image's.
        elsewhere: Log evidence of each candidate under the uniform prior, likewise.
        moves: From the recorded pose to the most probable one near each candidate.
        rival: What speaks for images of no particle, as `Explained.rival`.
    """

    near: Float[Tensor, " n"]
    elsewhere: Float[Tensor, "n m"]
    moves: Float[Tensor, "n m 5"]
    rival: Float[Tensor, " n"]

    @staticmethod
    def together(looks: list["Look"]) -> "Look":
        """Those of several sets of images, one after the other.

        Args:
            looks: At least one.

        Returns:
            All rows.
        """
        names = [field.name for field in fields(Look)]
        return Look(*(torch.cat([getattr(look, name) for look in looks]) for name in names))

    def fitted(self, lost: float) -> float:
        """Fit the probability that a recorded orientation says nothing, by its evidence.

        Args:
            lost: Where to begin.

        Returns:
            The share of such among the images that show a particle.
        """
        near, elsewhere = self.near.double(), self.elsewhere.double().logsumexp(-1)
        for _ in range(ITERATIONS):
            joint = torch.stack([near + log(1 - lost), elsewhere + log(lost)])
            either = joint.logsumexp(0)
            share = torch.sigmoid(either - self.rival)
            counted = (share * (joint[1] - either).exp()).sum() + LEAST_LOST
            lost = float(counted / (share.sum() + 2 * LEAST_LOST))
        return lost

    def placing(self, lost: float) -> Placing:
        """Where each image is looked at: where it is most probably.

        Args:
            lost: Prior probability that a recorded orientation says nothing.

        Returns:
            Places.
        """
        here, there = log(1 - lost), log(lost)
        joint = torch.cat([self.near[:, None] + here, self.elsewhere + there], dim=1)
        best = joint.argmax(1)
        is_lost, rows = best > 0, torch.arange(len(best), device=best.device)
        stays = torch.zeros_like(self.moves[:, :1])
        moves = torch.cat([stays, self.moves], dim=1)[rows, best]
        # the chosen place stands for all others too
        share = joint[rows, best] - joint.logsumexp(1)
        prior = self.near.new_tensor([here, there + LOG_FOUND])
        return Placing(moves, is_lost, prior[is_lost.long()] - share)


@dataclass(frozen=True)
class Everywhere(PosePosterior):
    """Poses near the recorded ones or anywhere else.

    Args:
        settled: How images are read where they are placed, at all shells.
        near: The same of recorded poses, at the shells at which candidates are judged.
        search: Proposes candidates, and judges them.
    """

    settled: Settling
    near: Settling
    search: PoseSearch

    @staticmethod
    def of(hypothesis: Hypothesis) -> "Everywhere":
        """The usual grid.

        Args:
            hypothesis: Volumes at all shells, and what is doubted.

        Returns:
            The posterior.
        """
        judged = hypothesis.within(SEARCHED_SHELLS)
        coarse = replace(_proposing(judged.within(GRID_SHELLS)), nuisances=TRUSTED)
        grid = PoseGrid.resolving(coarse.lattice.disc, SPACING_DEGREES, FOUND.shift)
        search = PoseSearch(GridPosterior(coarse, grid), judged, CANDIDATES)
        return Everywhere(Settling.of(hypothesis), Settling.of(judged), search)

    @property
    def hypothesis(self) -> Hypothesis:
        """The volumes, at all shells."""
        return self.settled.hypothesis

    @cached_property
    def _candidates(self) -> Settling:
        return self.search.settling()

    def look(self, part: FilteredImages) -> Look:
        """Judge the recorded pose and others.

        Args:
            part: Images at the recorded poses, one of each particle, at all shells.

        Returns:
            What they say.
        """
        shells = self.near.hypothesis.lattice.disc.radius
        few = part.within(shells, self.hypothesis.lattice.disc)
        near, found = self.near.explain(few), self.search.locate(few, self._candidates)
        there = found.log_weights + (found.evidence - near.compared.empty)[:, None]
        rotations, shifts = found.poses()
        recorded = few.rotations[:, None].expand_as(rotations)
        turns = turn_between(recorded.flatten(0, 1), rotations.flatten(0, 1))
        moves = torch.cat([turns.view_as(rotations[..., 0]), shifts], dim=-1)
        return Look(near.moments.gain, there, moves, near.rival)

    def placed(self, part: FilteredImages) -> FilteredImages:
        """Images where they are most probably."""
        if part.placing is not None:
            return part
        placing = self.look(part).placing(self.hypothesis.nuisances.lost)
        return part.placed(placing, self.hypothesis.lattice.disc)

    def explain(self, part: FilteredImages) -> Explained:
        """The posterior of some particles, expanded about where they settle."""
        return self.settled.explain(self.placed(part))


def look_everywhere(
    hypothesis: Hypothesis, parts: Iterable[FilteredImages], images: int
) -> tuple[Placing, float]:
    """Place images where they are most probably, and fit how many recorded orientations are lost.

    Args:
        hypothesis: Volumes and priors.
        parts: Images at the recorded poses.
        images: How many there are in the stack.

    Returns:
        A row for each image of the stack, those of others as recorded; and the fitted probability.
    """
    posterior = Everywhere.of(hypothesis)
    found = [(part.rows, posterior.look(part)) for part in parts]
    rows = torch.cat([rows for rows, _ in found])
    look = Look.together([look for _, look in found])
    lost = look.fitted(hypothesis.nuisances.lost)
    return Placing.none(images, rows.device).updated(rows, look.placing(lost)), lost


def pose_posterior(hypothesis: Hypothesis) -> PosePosterior:
    """How images are read: wherever what is doubted of them says that they may be.

    Args:
        hypothesis: Volumes, and what is doubted.

    Returns:
        The recorded poses alone, near them, or everywhere.
    """
    if hypothesis.nuisances.lost:
        return Everywhere.of(hypothesis)
    return Settling.of(hypothesis)


def _proposing(hypothesis: Hypothesis) -> Hypothesis:
    """The volumes that a grid compares."""
    dimensions = hypothesis.values.shape[1] - 1
    if hypothesis.posterior.independent or dimensions <= MOST_DIMENSIONS:
        return hypothesis
    return replace(hypothesis, values=hypothesis.values[:, :1].contiguous())
