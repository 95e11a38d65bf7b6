"""Choices that a run made by held-out evidence; ``choices.json``."""

from pydantic import BaseModel, ConfigDict

MOST_STATES = 12
"""Largest number of states that is tried."""

NOTHING = 0.01
"""Evidence, in nats per particle, by which nothing is better: small faults of a model, such as that
poses are only linear, make many states a little better than those that there are."""

READING = "reading"
"""Name of the choice between states and a continuum, which is 0 states."""


class Candidate(BaseModel):
    """A number that was tried."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    number: int
    """The number."""

    behind: float
    """How far its held-out evidence is below the best one's, in nats per particle."""

    error: float
    """Standard error of that difference."""


class Choice(BaseModel):
    """A number chosen by the evidence of particles kept aside."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    """What is counted: dimensions or states; or `READING`."""

    candidates: tuple[Candidate, ...]
    """What was tried, ascending."""

    chosen: int
    """The smallest number that is at most one standard error, or `NOTHING`, behind the best."""

    def enough(self, behind: float) -> int:
        """The smallest number that is hardly worse than the best.

        Args:
            behind: By so many nats per particle at most.

        Returns:
            The number.
        """
        return next(c.number for c in self.candidates if c.behind <= behind)
