"""From recorded poses to refined ones, by a fixed schedule at given volumes.

Whatever a particle's pose was during a training, its row is what this finds; so a particle that the
training did not see is read in the same way.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Int
from torch import Tensor

from cryolatent.data import FilteredImages
from cryolatent.models.hypothesis import Explained, Hypothesis
from cryolatent.physics import FourierLattice

FIRST_SHELLS, GROWTH = 8, 1.5
"""Where poses begin to settle, and by how much shells grow from step to step."""


@dataclass(frozen=True)
class Settling:
    """Volumes at more and more shells.

    Args:
        steps: Hypotheses, each with the coefficients of the last one's that it compares.
    """

    steps: tuple[tuple[Hypothesis, Int[Tensor, " _"]], ...]

    @staticmethod
    def of(hypothesis: Hypothesis) -> "Settling":
        """The schedule that leads to a hypothesis.

        Args:
            hypothesis: Volumes at all shells.

        Returns:
            Gauss-Newton steps at growing shells, the last of them twice; where poses are trusted
            only the hypothesis itself.
        """
        disc = hypothesis.lattice.disc
        everything = torch.arange(disc.size, device=disc.shells.device)
        last, shells = (hypothesis, everything), float(FIRST_SHELLS)
        steps = []
        while hypothesis.nuisances.poses and round(shells) < disc.radius:
            columns = torch.nonzero(disc.shells <= round(shells))[:, 0]
            steps.append((_within(hypothesis, round(shells)), columns))
            shells *= GROWTH
        again = (last,) if hypothesis.nuisances.poses else ()
        return Settling((*steps, *again, last))

    def explain(self, part: FilteredImages) -> Explained:
        """The posterior of some particles, expanded about where they settle.

        Args:
            part: Their images at the recorded poses.

        Returns:
            What is found.
        """
        *before, (last, _) = self.steps
        moved = contrast = None
        for hypothesis, columns in before:
            few = part.restricted(columns, hypothesis.lattice.disc.radius)
            found = hypothesis.explain(few, moved, contrast)
            moved, contrast = found.best(), found.moments.contrast[0]
        return last.explain(part, moved, contrast)


def _within(hypothesis: Hypothesis, shells: int) -> Hypothesis:
    lattice = hypothesis.lattice
    smaller = FourierLattice(lattice.disc.within(shells), lattice.oversampling)
    values = lattice.cropped(hypothesis.values, smaller)
    return replace(hypothesis, lattice=smaller, values=values, noise=hypothesis.noise[: shells + 1])
