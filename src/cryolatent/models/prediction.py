"""How well half of an image's coefficients foretell the other half, under given volumes."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from cryolatent.data import FilteredImages
from cryolatent.models.posteriors.exact import ClosedForm
from cryolatent.models.settling import PosePosterior
from cryolatent.models.system import System
from cryolatent.physics import FourierDisc

PERIOD = 6
"""Shells after which the division repeats: two of one part, a guard, two of the other, a guard."""


@dataclass(frozen=True)
class Division:
    """Two parts of a disc's coefficients that do not touch.

    Args:
        first: Coefficients of one part.
        second: Coefficients of the other.
    """

    first: Bool[Tensor, " k"]
    second: Bool[Tensor, " k"]

    @staticmethod
    def of(disc: FourierDisc) -> "Division":
        """Pairs of shells in turns, a shell of neither between them.

        Args:
            disc: The coefficients.

        Returns:
            The parts.
        """
        place = (disc.shells - 1) % PERIOD
        return Division(place < 2, (place == 3) | (place == 4))


def read_as(system: System) -> PosePosterior:
    """How a system's particles are read.

    Args:
        system: A linear decoder with its posterior in closed form.

    Returns:
        The posterior of poses and all else.

    Raises:
        ValueError: If the system is another.
    """
    if not isinstance(system.posterior, ClosedForm):
        raise ValueError("no posterior in closed form")
    with torch.no_grad():
        return system.posterior.poses(system.model)


class Foretelling:
    """The predictive density of each part of an image's coefficients, given the other.

    Latent, pose, contrast and kind are inferred from one part alone, about the recorded pose, and
    integrated out: ``log p(A, B) - log p(A)``. What explains an image by its noise foretells
    nothing of coefficients that it has not seen.

    Args:
        system: A linear decoder with its posterior in closed form.

    Raises:
        ValueError: If the system is another.
    """

    def __init__(self, system: System) -> None:
        self._poses = read_as(system)
        self.disc = self._poses.hypothesis.lattice.disc
        self._division = Division.of(self.disc)

    @torch.no_grad()
    def score(self, part: FilteredImages) -> Float[Tensor, " n"]:
        """Mean of both parts' log predictive densities, but for what no model knows of.

        Args:
            part: Images at the recorded poses, all coefficients of the disc.

        Returns:
            Nats, to be compared between models of the same images.
        """
        first, second = self._division.first, self._division.second
        both, *alone = (self._evidence(part, seen) for seen in (first | second, first, second))
        return both - 0.5 * (alone[0] + alone[1])

    def _evidence(self, part: FilteredImages, seen: Bool[Tensor, " k"]) -> Float[Tensor, " n"]:
        shown = replace(part, images=part.images * seen, weights=part.weights * seen)
        return self._poses.explain(shown).evidence.double()
