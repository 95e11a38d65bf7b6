"""From numbers of several seeds to a verdict on what the report saw."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Literal

import numpy as np

from cryolatent.runs.finding import Estimate

Word = Literal["agrees", "differs", "inconclusive", "underpowered", "measured"]


@dataclass(frozen=True)
class Verdict:
    """An answer with its reason.

    Args:
        word: ``agrees`` or ``differs`` with the report, ``inconclusive`` if the interval allows
            both, ``underpowered`` if what it is compared with does not work at this size, and
            ``measured`` where the report says nothing.
        reason: The number that decides, in a sentence.
    """

    word: Word
    reason: str


@dataclass(frozen=True)
class Scatter:
    """How much a number differs from seed to seed.

    Args:
        deviation: Standard deviation, pooled over experiments that have several seeds.
        freedom: Its degrees of freedom.
    """

    deviation: float
    freedom: int

    @staticmethod
    def pooled(groups: Sequence[Sequence[float]]) -> "Scatter":
        """Pool the variance within experiments.

        Args:
            groups: For each experiment, the number of each seed.

        Returns:
            The root of the mean variance, weighted by degrees of freedom; undefined (NaN) if no
            experiment has two seeds.
        """
        several = [np.asarray(group, dtype=float) for group in groups if len(group) > 1]
        freedom = sum(len(group) - 1 for group in several)
        if not freedom:
            return Scatter(float("nan"), 0)
        squares = sum(float(((group - group.mean()) ** 2).sum()) for group in several)
        return Scatter(sqrt(squares / freedom), freedom)

    def mean(self, values: Sequence[float]) -> Estimate | None:
        """A mean over seeds with its 95 % interval, by Student's t.

        Args:
            values: The number of each seed.

        Returns:
            The mean; None if the scatter is not known.
        """
        return self._interval(float(np.mean(values)), 1 / len(values))

    def difference(self, values: Sequence[float], others: Sequence[float]) -> Estimate | None:
        """The difference of two experiments' means with its 95 % interval.

        Args:
            values: The number of each seed of one.
            others: Those of the other.

        Returns:
            The first minus the second; None if the scatter is not known.
        """
        gap = float(np.mean(values) - np.mean(others))
        return self._interval(gap, 1 / len(values) + 1 / len(others))

    def _interval(self, value: float, weight: float) -> Estimate | None:
        from scipy.stats import t

        if not self.freedom:
            return None
        half = float(t.ppf(0.975, self.freedom)) * self.deviation * sqrt(weight)
        return Estimate(value=value, low=value - half, high=value + half)


def at_least(found: Estimate, limit: float, what: str) -> Verdict:
    """Whether a number is at least as large as claimed.

    Args:
        found: The number.
        limit: What the claim needs.
        what: Name of the number.

    Returns:
        Agreement if the whole interval is above the limit, difference if it is below.
    """
    reason = f"{what} {_say(found)}, to be above {_signed(limit, 2)}"
    if found.low > limit:
        return Verdict("agrees", reason)
    return Verdict("differs" if found.high < limit else "inconclusive", reason)


def at_most(found: Estimate, limit: float, what: str) -> Verdict:
    """Whether a number is as small as claimed.

    Args:
        found: The number.
        limit: What the claim allows.
        what: Name of the number.

    Returns:
        Agreement if the whole interval is below the limit, difference if it is above.
    """
    reason = f"{what} {_say(found)}, to be below {_signed(limit, 2)}"
    if found.high < limit:
        return Verdict("agrees", reason)
    return Verdict("differs" if found.low > limit else "inconclusive", reason)


def _say(found: Estimate) -> str:
    value, low, high = (_signed(number, 3) for number in (found.value, found.low, found.high))
    return f"{value} [{low}, {high}]"


def _signed(number: float, decimals: int) -> str:
    return f"{number:.{decimals}f}".replace("-", "\N{MINUS SIGN}")
