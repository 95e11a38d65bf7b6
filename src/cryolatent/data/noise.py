"""How noisy the images of a group are, relative to those of all: one number per micrograph."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from pydantic import BaseModel, ConfigDict
from scipy.ndimage import median

LEAST_EXCESS = 3.0
"""By how many standard errors groups must differ before any is told from the others."""

TO_DEVIATION = 1.4826
"""Standard deviation of normal numbers over their median absolute deviation."""


class NoiseLevels(BaseModel):
    """Noise power of groups of images, relative to that of all; ``noise.json``."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    levels: dict[str, float]
    """One number per group, by name; their geometric mean over all images is 1."""

    images: dict[str, int]
    """How many images each group has."""

    power: float
    """Power, as `noise_levels` was given it, of images of level 1."""

    spread: float
    """Standard deviation of the levels' logarithms from group to group."""

    error: float
    """Standard deviation of the logarithm of one image's power about its group's."""

    def of(self, groups: np.ndarray) -> Float[np.ndarray, " obs"]:
        """The level of each image.

        Args:
            groups: Name of each image's group.

        Returns:
            Levels; 1 in groups that are not known.
        """
        names, group = np.unique(groups, return_inverse=True)
        return np.array([self.levels.get(str(name), 1.0) for name in names])[group]

    def joined(self, groups: np.ndarray, power: Float[np.ndarray, " obs"]) -> "NoiseLevels":
        """Levels of further groups, under what is known of the others.

        Args:
            groups: Name of each image's group.
            power: Mean noise power of each image.

        Returns:
            The levels of these too.
        """
        further = _Grouped.of(groups, power)
        trust = further.trust(self.spread**2, self.error)
        level = np.exp(trust * (further.median - np.log(self.power)))
        update = {
            "levels": further.named(level) | self.levels,
            "images": further.named(further.count) | self.images,
        }
        return self.model_copy(update=update)

    def words(self) -> str:
        """What the levels say, in a clause."""
        low, high, percent = min(self.levels.values()), max(self.levels.values()), 100 * self.spread
        return (
            f"the noise of {len(self.levels):,} groups of images differs by {percent:.0f} % "
            f"(from {low:.2f} to {high:.2f} of its usual power)"
        )


def noise_levels(groups: np.ndarray, power: Float[np.ndarray, " obs"]) -> NoiseLevels | None:
    """Levels of groups, from the power of the noise in each image.

    A group's median, which a few images of something else do not move, is shrunk towards that of
    all by as much as it is uncertain.

    Args:
        groups: Name of each image's group.
        power: Mean noise power of each image.

    Returns:
        The levels; None if groups cannot be told apart: by too few images, or for they are alike.
    """
    found = _Grouped.of(groups, power)
    if len(found.names) < 2 or (found.count < 2).all():
        return None
    error = found.error()
    between = found.between(error)
    if not between:
        return None
    usual = float(np.average(found.median, weights=found.trust(between, error)))
    log = found.trust(between, error) * (found.median - usual)
    mean = float(np.average(log, weights=found.count))
    return NoiseLevels(
        levels=found.named(np.exp(log - mean)),
        images=found.named(found.count),
        power=float(np.exp(usual + mean)),
        spread=between**0.5,
        error=error,
    )


@dataclass(frozen=True)
class _Grouped:
    """Logarithms of images' powers, by group."""

    names: np.ndarray
    count: Int[np.ndarray, " groups"]
    median: Float[np.ndarray, " groups"]
    off: Float[np.ndarray, " obs"]

    @staticmethod
    def of(groups: np.ndarray, power: Float[np.ndarray, " obs"]) -> "_Grouped":
        names, group, count = np.unique(groups, return_inverse=True, return_counts=True)
        log = np.log(np.maximum(power, 1e-30))
        middle = np.asarray(median(log, group, np.arange(len(names))), dtype=np.float64)
        return _Grouped(names, count, middle, np.abs(log - middle[group])[count[group] > 1])

    def error(self) -> float:
        """Standard deviation of an image about its group."""
        # of n images about their own median
        freedom = len(self.off) - int((self.count > 1).sum())
        return TO_DEVIATION * float(np.median(self.off)) * (len(self.off) / freedom) ** 0.5

    def variance(self, error: float) -> Float[np.ndarray, " groups"]:
        """Variance of the medians; that of one or two images is their mean."""
        one = np.where(self.count > 2, np.pi / 2, 1.0)
        return np.maximum(error**2 * one / self.count, 1e-12)

    def trust(self, between: float, error: float) -> Float[np.ndarray, " groups"]:
        """How much of a median's deviation is the group's and not chance."""
        return between / (between + self.variance(error))

    def between(self, error: float) -> float:
        """Variance between groups; none unless it is beyond doubt.

        Source:
            DerSimonian and Laird 1986, doi:10.1016/0197-2456(86)90046-2, eqs. 7-8.
        """
        weight, freedom = 1 / self.variance(error), len(self.median) - 1
        common = np.average(self.median, weights=weight)
        excess = float(weight @ (self.median - common) ** 2) - freedom
        if excess < LEAST_EXCESS * (2 * freedom) ** 0.5:
            return 0.0
        return excess / float(weight.sum() - (weight**2).sum() / weight.sum())

    def named(self, values: np.ndarray) -> dict[str, Any]:
        """Values by group."""
        return dict(zip(map(str, self.names), values.tolist(), strict=True))
