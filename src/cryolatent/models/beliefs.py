"""What is believed of particles beside their latents: poses, contrast, and what they are."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int
from torch import Tensor

from cryolatent.models.nuisances import KINDS
from cryolatent.physics import SHIFTS, TURNS, Poses, turned

if TYPE_CHECKING:
    from cryolatent.models.hypothesis import Explained

ERRORS = ("turn_x", "turn_y", "turn_z", "shift_x", "shift_y")
"""Errors of recorded poses, in the image's frame: turns in radians, shifts in pixels."""

PAIRS = tuple((j, k) for j in range(len(ERRORS)) for k in range(j + 1))


@dataclass(frozen=True)
class Beliefs:
    """Posteriors of what is doubted.

    Args:
        kinds: Probability of each of `KINDS`.
        contrast: Posterior means of the contrast.
        contrast_error: Posterior standard deviations.
        observations: How many observations each particle has.
        moved: Means of the recorded poses' errors, `ERRORS`, observations particle by particle.
        covariance: Their covariances.
    """

    kinds: Float[Tensor, "n 3"]
    contrast: Float[Tensor, " n"]
    contrast_error: Float[Tensor, " n"]
    observations: Int[Tensor, " n"]
    moved: Float[Tensor, "obs 5"]
    covariance: Float[Tensor, "obs 5 5"]

    @staticmethod
    def of(found: "Explained") -> "Beliefs":
        """What an expectation step found.

        Args:
            found: Its posteriors.

        Returns:
            One row per particle, or per observation.
        """
        shares, part = found.shares, found.part
        kinds = shares.new_zeros(len(part), len(KINDS))
        kinds[:, : shares.shape[1]] = shares
        mean, variance = found.moments.contrast
        counts = torch.bincount(part.owner, minlength=len(part))
        error = variance.clamp(min=0).sqrt()
        moved = found.from_recorded(found.best())
        return Beliefs(kinds, mean, error, counts, moved, found.errors[1])

    @staticmethod
    def together(parts: list["Beliefs"]) -> "Beliefs":
        """Those of several sets of particles, one after the other.

        Args:
            parts: At least one.

        Returns:
            All rows, on the processor.
        """
        columns = zip(*(vars(part).values() for part in parts), strict=True)
        return Beliefs(*(torch.cat(column).cpu() for column in columns))

    @property
    def probability(self) -> Float[Tensor, " n"]:
        """Probability to be a particle."""
        return self.kinds[:, 0]

    def refined(self, poses: Poses, pixel_size_angstrom: float) -> Poses:
        """Where the particles are most probably.

        Args:
            poses: The recorded poses, observations particle by particle.
            pixel_size_angstrom: Side of a pixel.

        Returns:
            Refined poses.
        """
        turns, shifts = self.moved[:, TURNS], self.moved[:, SHIFTS]
        rotations = turned(poses.rotations, turns.to(poses.rotations))
        return Poses(rotations, poses.shifts_angstrom + pixel_size_angstrom * shifts)

    def to_columns(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Columns of a table.

        Returns:
            Those with a row per particle, and those with a row per observation.
        """
        kinds = {f"is_{kind}": self.kinds[:, n] for n, kind in enumerate(KINDS)}
        numbers = {"contrast": self.contrast, "contrast_error": self.contrast_error}
        moved = {name: self.moved[:, n] for n, name in enumerate(ERRORS)}
        spread = {f"pose_cov_{j}_{k}": self.covariance[:, j, k] for j, k in PAIRS}
        return kinds | numbers, moved | spread

    @staticmethod
    def from_columns(columns: dict[str, Tensor], observations: Int[Tensor, " n"]) -> "Beliefs":
        """Undo `to_columns`.

        Args:
            columns: Those of both kinds.
            observations: How many observations each particle has.

        Returns:
            The beliefs.
        """
        kinds = torch.stack([columns[f"is_{kind}"] for kind in KINDS], dim=-1)
        moved = torch.stack([columns[name] for name in ERRORS], dim=-1)
        covariance = moved.new_zeros(len(moved), len(ERRORS), len(ERRORS))
        for j, k in PAIRS:
            covariance[:, j, k] = covariance[:, k, j] = columns[f"pose_cov_{j}_{k}"]
        contrast, error = columns["contrast"], columns["contrast_error"]
        return Beliefs(kinds, contrast, error, observations, moved, covariance)
