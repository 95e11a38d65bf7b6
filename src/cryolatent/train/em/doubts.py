"""What a search doubts of its inputs, and with which priors it begins."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from cryolatent.models.contrast import ONE, Contrast
from cryolatent.models.nuisances import Nuisances, PoseErrors
from cryolatent.train.options import EmOptions

FIRST_TURN, FIRST_SHIFT, FIRST_SPREAD = 0.05, 0.7, 0.1
"""Widths at the beginning, in radians, pixels, and of the contrast: wide, for they soon fit."""

FIRST_SHARES = (0.94, 0.03, 0.03)


@dataclass(frozen=True)
class Doubts:
    """Which inputs may be wrong, by an amount that is learned.

    Args:
        rotations: The recorded rotations.
        shifts: The recorded shifts.
        contrast: That all particles have the same contrast.
        particles: That every image shows the molecule.
    """

    rotations: bool = True
    shifts: bool = True
    contrast: bool = True
    particles: bool = True

    @staticmethod
    def of(options: EmOptions, contrast: Contrast) -> "Doubts":
        """All that is not trusted.

        Args:
            options: The method's.
            contrast: The prior that was given; one that was is not learned.

        Returns:
            The doubts.
        """
        names = ("rotations", "shifts", "contrast", "particles")
        rotations, shifts, spread, particles = (
            options.trust is None or ("all" not in options.trust and name not in options.trust)
            for name in names
        )
        return Doubts(rotations, shifts, spread and contrast == ONE, particles)

    def __bool__(self) -> bool:
        return self.rotations or self.shifts or self.contrast or self.particles

    def begin(self, contrast: Contrast, signal: Float[Tensor, " shells"]) -> Nuisances:
        """Priors before anything is known.

        Args:
            contrast: The prior that was given.
            signal: Power of the particle's Fourier coefficients.

        Returns:
            Wide priors of what is doubted.
        """
        turn = FIRST_TURN if self.rotations else 0.0
        poses = PoseErrors(turn, turn, FIRST_SHIFT if self.shifts else 0.0)
        spread = Contrast(FIRST_SPREAD) if self.contrast else contrast
        if not self.particles:
            return Nuisances(poses, spread)
        return Nuisances(poses, spread, FIRST_SHARES, signal.clone())


TRUST = Doubts(rotations=False, shifts=False, contrast=False, particles=False)
"""Everything is as recorded."""
