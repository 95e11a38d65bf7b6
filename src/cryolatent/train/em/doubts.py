"""What a search doubts of its inputs, and with which priors it begins."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import radians

from jaxtyping import Float
from torch import Tensor

from cryolatent.errors import InputError
from cryolatent.models.contrast import ONE, Contrast
from cryolatent.models.nuisances import Nuisances, PoseErrors
from cryolatent.train.options import EmOptions

FIRST_TURN, FIRST_SHIFT, FIRST_SPREAD = 0.05, 0.7, 0.1
"""Widths at the beginning, in radians, pixels, and of the contrast: wide, for they soon fit."""

FIRST_SHARES = (0.94, 0.03, 0.03)

FIRST_LOST = 0.1
"""Share of recorded orientations that say nothing, at the beginning."""


@dataclass(frozen=True)
class Doubts:
    """Which inputs may be wrong, by an amount that is learned.

    Args:
        rotations: The recorded rotations.
        shifts: The recorded shifts.
        contrast: That all particles have the same contrast.
        particles: That every image shows the molecule.
        lost: That recorded orientations have anything to do with their images.
        known: Widths of errors of ``rotations`` (degrees) and ``shifts`` (pixels) that are given
            and not learned.
    """

    rotations: bool = True
    shifts: bool = True
    contrast: bool = True
    particles: bool = True
    lost: bool = False
    known: Mapping[str, float] = field(default_factory=dict)

    @staticmethod
    def of(options: EmOptions, contrast: Contrast) -> "Doubts":
        """All that is not trusted.

        Args:
            options: The method's.
            contrast: The prior that was given; one that was is not learned.

        Returns:
            The doubts.

        Raises:
            InputError: If the error of something is given that is trusted.
        """
        names = ("rotations", "shifts", "contrast", "particles")
        rotations, shifts, spread, particles = (
            options.trust is None or ("all" not in options.trust and name not in options.trust)
            for name in names
        )
        known, lost = options.known_errors, options.pose_search == "global"
        if options.pose_search == "recorded":
            rotations = shifts = False
        for name, doubted in (("rotations", rotations), ("shifts", shifts)):
            if name in known and not doubted:
                found, way_out = f"{name} with a width of their errors", "Leave one of them out."
                raise InputError("`trust`", found, "to trust, or a width", way_out)
        return Doubts(rotations, shifts, spread and contrast == ONE, particles, lost, known)

    @property
    def learned(self) -> "Doubts":
        """What a survey fits."""
        return replace(
            self,
            rotations=self.rotations and "rotations" not in self.known,
            shifts=self.shifts and "shifts" not in self.known,
        )

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
        turn, shift = FIRST_TURN if self.rotations else 0.0, FIRST_SHIFT if self.shifts else 0.0
        if "rotations" in self.known:
            turn = radians(self.known["rotations"])
        poses = PoseErrors(turn, turn, self.known.get("shifts", shift))
        spread = Contrast(FIRST_SPREAD) if self.contrast else contrast
        lost = FIRST_LOST if self.lost else 0.0
        if not self.particles:
            return Nuisances(poses, spread, lost=lost)
        return Nuisances(poses, spread, FIRST_SHARES, signal.clone(), lost)


TRUST = Doubts(rotations=False, shifts=False, contrast=False, particles=False)
"""Everything is as recorded."""
