"""Which number answers which claim of appendix B, and what it says."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cryolatent.runs.finding import Estimate
from cryolatent.studies.mnist.experiments import Claim, Experiment
from cryolatent.studies.mnist.measures import Measures
from cryolatent.studies.verdicts import Scatter, Verdict, at_least, at_most

READABLE = 0.5
"""Share of reconstructions that show the right digit above which most do."""
POOR = 0.5
"""Share of the best training's gain over the mean picture below which another is stuck."""

Number = Callable[[Measures], float | None]


@dataclass(frozen=True)
class Outcome:
    """An experiment's trainings.

    Args:
        experiment: What was done.
        measures: Numbers of each seed that has not diverged.
        diverged: Number of seeds that have.
    """

    experiment: Experiment
    measures: tuple[Measures, ...]
    diverged: int

    def numbers(self, of: Number) -> list[float]:
        """A number of each seed.

        Args:
            of: The number; None where there is none.

        Returns:
            Those that there are.
        """
        return [value for measures in self.measures if (value := of(measures)) is not None]


@dataclass(frozen=True)
class Bench:
    """All outcomes.

    Args:
        outcomes: By name of the experiment.
    """

    outcomes: dict[str, Outcome]

    def stuck(self, experiment: Experiment) -> int:
        """Seeds that gain much less over the mean picture than the best training gains.

        Args:
            experiment: The experiment.

        Returns:
            How many gain less than half of the best of its own seeds and of those that it is
            compared with.
        """
        gains = _gains(self.outcomes[experiment.name])
        best = max([*gains, *_gains(self.outcomes[experiment.against])], default=0.0)
        return sum(gain < POOR * max(best, 0.0) for gain in gains)

    def scatter(self, experiment: Experiment, of: Number) -> Scatter:
        """How much a number differs from seed to seed, stuck trainings included.

        Args:
            experiment: The experiment.
            of: The number.

        Returns:
            Pooled over it and what it is compared with; over all experiments if none of these has
            several seeds.
        """
        near = {experiment.name, experiment.against}
        own = Scatter.pooled([self.outcomes[name].numbers(of) for name in sorted(near)])
        if own.freedom:
            return own
        return Scatter.pooled([outcome.numbers(of) for outcome in self.outcomes.values()])

    def difference(self, experiment: Experiment, of: Number) -> Estimate | None:
        """How much an experiment's number differs from that of what it is compared with.

        Args:
            experiment: The experiment.
            of: The number.

        Returns:
            The difference with its interval; None if it is not known.
        """
        mine, theirs = (
            self.outcomes[name].numbers(of) for name in (experiment.name, experiment.against)
        )
        return self.scatter(experiment, of).difference(mine, theirs) if mine and theirs else None

    def judge(self, experiment: Experiment) -> Verdict:
        """Answer an experiment's claim.

        Args:
            experiment: The experiment.

        Returns:
            The verdict.
        """
        if experiment.move is not None:
            return self._move(experiment)
        outcome = self.outcomes[experiment.name]
        if not outcome.measures:
            return Verdict("differs" if experiment.claim is not Claim.NONE else "measured", ALL)
        if experiment.claim is Claim.READABLE:
            found = self.scatter(experiment, _correct).mean(outcome.numbers(_correct))
            if found is None:
                return Verdict("inconclusive", "one seed: the scatter is not known")
            return at_least(found, READABLE, "share of right reconstructions")
        if experiment.claim is Claim.CLOSER:
            return self._closer(experiment)
        gap = self.difference(experiment, _misfit)
        reason = "" if gap is None else f"reconstruction term differs by {_interval(gap)} nats"
        return Verdict("measured", reason)

    def _closer(self, experiment: Experiment) -> Verdict:
        misfit, kl = (self.difference(experiment, of) for of in (_misfit, _kl))
        if misfit is None or kl is None:
            return Verdict("inconclusive", "one seed: the scatter is not known")
        lower = at_most(misfit, 0.0, "reconstruction term differs by")
        higher = at_least(kl, 0.0, "KL term by")
        words = {lower.word, higher.word}
        word = "differs" if "differs" in words else "inconclusive"
        if words == {"agrees"}:
            word = "agrees"
        return Verdict(word, f"{lower.reason}; {higher.reason}; nats per picture")

    def _move(self, experiment: Experiment) -> Verdict:
        measures = self.outcomes[experiment.against].measures
        found = [m.moves[experiment.name] for m in measures if experiment.name in m.moves]
        if not found:
            return Verdict("measured", "")
        right = sum(moved.correct.value for moved in found) / len(found)
        return Verdict("measured", f"{right:.0%} of the reconstructions show the right digit")


ALL = "every training ended in values that are not finite"


def _correct(measures: Measures) -> float | None:
    return None if measures.correct is None else measures.correct.value


def _gains(outcome: Outcome) -> list[float]:
    """What each seed gains over the mean picture; the KL term counts if it could be changed."""
    frozen = outcome.experiment.is_frozen
    return [
        m.mean_image - m.reconstruction - (0.0 if frozen else m.kl or 0.0) for m in outcome.measures
    ]


def _misfit(measures: Measures) -> float:
    return measures.reconstruction


def _kl(measures: Measures) -> float | None:
    return measures.kl


def _interval(found: Estimate) -> str:
    text = f"{found.value:.1f} [{found.low:.1f}, {found.high:.1f}]"
    return text.replace("-", "\N{MINUS SIGN}")


def mean_of(found: Sequence[Estimate]) -> float:
    """Mean of several estimates.

    Args:
        found: At least one.

    Returns:
        The mean of their values.
    """
    return sum(estimate.value for estimate in found) / len(found)
