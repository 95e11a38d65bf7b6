"""What parts are made for: the data's size and spectra, and what the other parts are."""

from dataclasses import dataclass
from functools import cached_property

from cryolatent.data import StackStatistics
from cryolatent.data.source import Geometry
from cryolatent.physics import FourierDisc


@dataclass(frozen=True)
class Setting:
    """What a part is made for.

    Args:
        geometry: Box, last Fourier shell (0 of images that are compared pixel by pixel) and pixel
            size.
        examples: Number of examples ("particles").
        z_dim: Number of latent dimensions.
        seed: Seed of the training, for what is drawn once and kept.
        statistics: Spectra of the data; None of images that are compared pixel by pixel.
        particle_radius_angstrom: Radius of the particle, in Å; None where it is not known.
    """

    geometry: Geometry
    examples: int
    z_dim: int
    seed: int = 0
    statistics: StackStatistics | None = None
    particle_radius_angstrom: float | None = None

    @cached_property
    def disc(self) -> FourierDisc:
        """The Fourier coefficients in use.

        Raises:
            ValueError: If images are compared pixel by pixel.
        """
        if not self.geometry.shells:
            raise ValueError("images that are compared pixel by pixel have no Fourier disc")
        return FourierDisc(self.geometry.box, self.geometry.shells)

    @property
    def spectra(self) -> StackStatistics:
        """Spectra of the data.

        Raises:
            ValueError: If there are none.
        """
        if self.statistics is None:
            raise ValueError("this part needs the data's spectra")
        return self.statistics
