"""What an audit found of a run: frozen records."""

from collections.abc import Iterable
from math import erfc
from statistics import median
from typing import Literal

from pydantic import BaseModel, ConfigDict

ALPHA = 0.025
"""One-sided level of a verdict: the tail of a 95 % interval."""

Verdict = Literal["pass", "fail", "inconclusive", "not applicable"]


class Record(BaseModel):
    """Base of frozen records; every number is finite."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Estimate(Record):
    """A number with its 95 % interval."""

    value: float
    """The number."""

    low: float
    """Lower end of the interval."""

    high: float
    """Upper end of the interval."""

    @classmethod
    def sure(cls, value: float) -> "Estimate":
        """A number without an error.

        Args:
            value: The number.

        Returns:
            It, as its own interval.
        """
        return cls(value=value, low=value, high=value)

    @classmethod
    def of_null(cls, draws: Iterable[float]) -> "Estimate":
        """What a statistic is where nothing is to be found.

        Args:
            draws: Its values there, at least one.

        Returns:
            Their median and their range.
        """
        values = [float(draw) for draw in draws]
        return cls(value=median(values), low=min(values), high=max(values))


class Table(Record):
    """Columns of equal length."""

    columns: dict[str, tuple[float, ...] | tuple[str, ...]]
    """Columns by name, in order."""

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), ()))


class Finding(Record):
    """The answer to one question asked of a run."""

    name: str
    """Name of the audit."""

    question: str
    """What was asked, in a sentence."""

    particles: int
    """Number of particles that it was asked of."""

    statistic: Estimate | None
    """The number that decides, with its interval; None if it is not defined."""

    null: Estimate | None
    """What it would be if nothing were there to find, with its range."""

    threshold: float
    """Where the verdict changes; of audits with a value to hit, how far from it."""

    verdict: Verdict
    """Whether the run passes; inconclusive if the interval holds the threshold; not applicable if
    the run lacks what the question needs."""

    p_value: float | None = None
    """Of a failure: one-sided probability to be so far beyond the margin by chance; None of others,
    and of failures that nothing random decides."""

    note: str = ""
    """Why the verdict is what it is, where the numbers do not say."""

    numbers: dict[str, Estimate] = {}
    """Further numbers by name."""

    tables: dict[str, Table] = {}
    """What the numbers were made of, for drawing."""

    def at(self, p_value: float) -> "Finding":
        """The same, if it is a failure with another p-value.

        Args:
            p_value: Of the failure.

        Returns:
            The finding; what is no failure has none and stays.
        """
        failed = self.verdict == "fail"
        return self.model_copy(update={"p_value": p_value}) if failed else self


def verdict_below(statistic: Estimate, threshold: float) -> Verdict:
    """The verdict where small is good.

    Args:
        statistic: A number and its interval.
        threshold: Where the verdict changes.

    Returns:
        Pass if the whole interval is below the threshold, fail if it is above, else inconclusive.
    """
    if statistic.high < threshold:
        return "pass"
    return "fail" if statistic.low > threshold else "inconclusive"


def verdict_above(statistic: Estimate, threshold: float) -> Verdict:
    """The verdict where large is good.

    Args:
        statistic: A number and its interval.
        threshold: Where the verdict changes.

    Returns:
        Pass if the whole interval is above the threshold, fail if it is below, else inconclusive.
    """
    swapped: dict[Verdict, Verdict] = {"pass": "fail", "fail": "pass"}
    verdict = verdict_below(statistic, threshold)
    return swapped.get(verdict, verdict)


def verdict_about(statistic: Estimate, wanted: float, margin: float) -> Verdict:
    """The verdict where a number should be near a value.

    Args:
        statistic: A number and its interval.
        wanted: The value.
        margin: How far from it the number may be.

    Returns:
        Pass if the whole interval is within the margin, fail if it is outside on one side, else
        inconclusive.
    """
    low, high = statistic.low - wanted, statistic.high - wanted
    if low > margin or high < -margin:
        return "fail"
    return "pass" if -margin < low and high < margin else "inconclusive"


def p_beyond(statistic: Estimate, threshold: float) -> float:
    """How improbable so large a distance from a threshold is if the truth lies at it.

    Args:
        statistic: A number and its 95 % interval.
        threshold: Where the verdict changes.

    Returns:
        One-sided probability of a normal distribution as wide as the interval's half that faces the
        threshold: less than 0.025 exactly where the interval leaves the threshold out.
    """
    off = abs(statistic.value - threshold)
    facing = statistic.low if statistic.value > threshold else statistic.high
    width = abs(statistic.value - facing)
    if off == 0:
        return 0.5
    return 0.0 if width == 0 else 0.5 * erfc(1.959964 * off / width / 2**0.5)
