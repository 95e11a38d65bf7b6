"""One volume of all particles, improved by passes that know no pose."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from cryolatent.models import Categorical
from cryolatent.models.hypothesis import Hypothesis
from cryolatent.models.pose_grid import PoseGrid
from cryolatent.physics import FourierLattice
from cryolatent.train.em.search import Search


@dataclass(frozen=True)
class Consensus:
    """What is known while poses are searched.

    Args:
        lattice: Where slices are taken.
        values: The volume at its voxels.
        noise: Noise variance of shells 0 to the lattice's last.
        shift_deviation: Standard deviation of displacements along an axis, in pixels.
        evidence: Log evidence per particle of the volume before this one, in nats.
    """

    lattice: FourierLattice
    values: Complex[Tensor, "v 1"]
    noise: Float[Tensor, " shells"]
    shift_deviation: float
    evidence: float = -torch.inf

    @property
    def is_random(self) -> bool:
        """Whether no image has come into the volume yet."""
        return self.evidence == -torch.inf

    @property
    def hypothesis(self) -> Hypothesis:
        """The volume, and nothing doubted."""
        return Hypothesis(self.lattice, self.values, self.noise, Categorical(1))

    def grid(self, spacing_degrees: float) -> PoseGrid:
        """Poses as far apart as the resolution asks.

        Args:
            spacing_degrees: Distance of neighbouring orientations.

        Returns:
            The grid.
        """
        return PoseGrid.resolving(self.lattice.disc, spacing_degrees, self.shift_deviation)

    def at(self, lattice: FourierLattice, noise: Float[Tensor, " shells"]) -> "Consensus":
        """The same volume on a lattice of more shells, or fewer.

        Args:
            lattice: Where slices are to be taken.
            noise: Noise variance of shells that were not looked at.

        Returns:
            The consensus; the volume has nothing in new shells.
        """
        if lattice == self.lattice:
            return self
        own, shells = self.lattice.disc.radius, lattice.disc.radius
        if shells < own:
            values = self.lattice.cropped(self.values, lattice)
            return replace(self, lattice=lattice, values=values, noise=self.noise[: shells + 1])
        values = lattice.grown_from(self.values, self.lattice)
        known = torch.cat([self.noise, noise[own + 1 : shells + 1]])
        return replace(self, lattice=lattice, values=values, noise=known)


def random_consensus(
    search: Search, shells: int, shift_deviation: float, generator: torch.Generator
) -> Consensus:
    """A volume of random phases inside the mask, of the power that the images show.

    Args:
        search: Knows spectra and mask.
        shells: Last shell.
        shift_deviation: Standard deviation of displacements, in pixels.
        generator: Source of the phases.

    Returns:
        Where a search may begin.
    """
    lattice = search.lattice(shells)
    white = torch.randn(1, *(lattice.side,) * 3, generator=generator).to(search.device)
    values = lattice.from_field(white * lattice.field_of(search.mask))
    power = lattice.shell_mean(values.real.square() + values.imag.square())[:, 0]
    gain = (search.signal(shells) / power.clamp(min=1e-30)).sqrt()
    values = values * (lattice.per_shell(gain) * lattice.inside)[:, None]
    return Consensus(lattice, values, search.noise[: shells + 1].clone(), shift_deviation)
