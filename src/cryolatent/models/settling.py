"""From recorded poses to refined ones, by a fixed schedule at given volumes.

Whatever a particle's pose was during a training, its row is what this finds; so a particle that the
training did not see is read in the same way.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from cryolatent.data import FilteredImages
from cryolatent.models.hypothesis import Explained, Hypothesis

FIRST_SHELLS, GROWTH = 8, 1.5
"""Where poses begin to settle, and by how much shells grow from step to step."""


class PosePosterior(ABC):
    """What is believed of particles' poses under given volumes, latents and all else integrated."""

    @property
    @abstractmethod
    def hypothesis(self) -> Hypothesis:
        """The volumes, at all shells."""

    def placed(self, part: FilteredImages) -> FilteredImages:
        """Images where they are looked at: by default, as here, at the recorded poses.

        Args:
            part: Images at the recorded poses; what is placed already stays.

        Returns:
            The same particles.
        """
        return part

    @abstractmethod
    def explain(self, part: FilteredImages) -> Explained:
        """The posterior of some particles.

        Args:
            part: Their images at the recorded poses, or `placed`.

        Returns:
            What is found, about the most probable poses.
        """


@dataclass(frozen=True)
class Settling(PosePosterior):
    """Poses near the recorded ones, or where images were placed: volumes at more and more shells.

    Where poses are trusted they stay.

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
            steps.append((hypothesis.within(round(shells)), columns))
            shells *= GROWTH
        again = (last,) if hypothesis.nuisances.poses else ()
        return Settling((*steps, *again, last))

    @property
    def hypothesis(self) -> Hypothesis:
        """The volumes of the last step."""
        return self.steps[-1][0]

    def explain(self, part: FilteredImages) -> Explained:
        """The posterior of some particles, expanded about where they settle."""
        *before, (last, _) = self.steps
        moved = contrast = None
        for hypothesis, columns in before:
            few = part.restricted(columns, hypothesis.lattice.disc.radius)
            found = hypothesis.explain(few, moved, contrast)
            moved, contrast = found.best(), found.moments.contrast[0]
        return last.explain(part, moved, contrast)
