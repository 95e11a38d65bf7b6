"""Which number answers which claim, and what it says."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from cryolatent.runs.finding import Estimate
from cryolatent.studies.reproduce.experiments import Claim, Experiment
from cryolatent.studies.reproduce.measures import Measures
from cryolatent.studies.verdicts import Scatter, Verdict, Word, at_least, at_most

MARGIN = 0.2
"""Share of the yardstick's quality within which latents count as alike."""
CONSENSUS = 0.1
"""Recovered share of the states' differences below which volumes count as one."""
APART = 0.5
"""Displacement, over the distance of random pairs, above which a moved image lands elsewhere."""
POWER = 0.6
"""Share of the oracle's adjusted Rand index that the yardstick must reach."""
AGREEMENT = 0.01
"""Share of neighbours beyond chance that the baseline's own seeds must have in common, where no
truth is known: clouds that have nothing in common agree with everything. Unrelated clouds of 2,000
particles share 0 ± 0.001, two seeds that find the same four states 0.03."""


@dataclass(frozen=True)
class Outcome:
    """An experiment on one decoder.

    Args:
        experiment: What was done.
        measures: Numbers of each seed that has not diverged.
        quality: For each of these, how well its latents tell particles apart: the adjusted Rand
            index against the true states, or the agreement with the baseline's latents.
        diverged: Number of seeds whose training ended in values that are not finite.
    """

    experiment: Experiment
    measures: tuple[Measures, ...]
    quality: tuple[float, ...]
    diverged: int

    @property
    def heterogeneity(self) -> list[float]:
        """Recovered share of the states' differences, of each seed."""
        return [m.heterogeneity.value for m in self.measures if m.heterogeneity is not None]

    @property
    def fsc_areas(self) -> list[float]:
        """Area under the per-image Fourier shell correlation, of each seed."""
        return [m.fsc_area.value for m in self.measures if m.fsc_area is not None]


Number = Callable[[Outcome], Sequence[float]]


@dataclass(frozen=True)
class Bench:
    """All outcomes on one decoder.

    Args:
        outcomes: By name of the experiment.
        best: The quality that could be reached, the oracle's adjusted Rand index; None if the
            truth is not known.
        measured: Name of the quality.
    """

    outcomes: dict[str, Outcome]
    best: float | None
    measured: str

    def scatter(self, experiment: Experiment, of: Number) -> Scatter:
        """How much a number differs from seed to seed.

        Args:
            experiment: The experiment.
            of: The number of each seed of an outcome.

        Returns:
            Pooled over the experiment and what it is compared with; of a single seed, over all
            experiments whose volumes are expected to differ, since others hardly scatter.
        """
        own = of(self.outcomes[experiment.name])
        if len(own) > 1:
            near = {experiment.name, experiment.against}
            return Scatter.pooled([of(self.outcomes[name]) for name in sorted(near)])
        free = (o for o in self.outcomes.values() if o.experiment.claim is not Claim.CONSENSUS)
        return Scatter.pooled([of(outcome) for outcome in free])

    @property
    def yardstick(self) -> float:
        """Mean quality of the baseline."""
        return float(np.mean(self.outcomes["baseline"].quality or [0.0]))

    @property
    def underpowered(self) -> bool:
        """Whether the baseline itself tells the particles too badly apart."""
        return self.yardstick < (AGREEMENT if self.best is None else POWER * self.best)

    def judge(self, experiment: Experiment) -> Verdict:
        """Answer an experiment's claim.

        Args:
            experiment: The experiment.

        Returns:
            The verdict.
        """
        if experiment.move is not None:
            return self._judge_move(experiment, experiment.move)
        outcome = self.outcomes[experiment.name]
        if experiment.claim is Claim.YARDSTICK:
            return Verdict("underpowered" if self.underpowered else "measured", self._reached())
        if self.underpowered:
            return Verdict("underpowered", self._reached(of="the baseline's "))
        if not outcome.measures:
            return Verdict(WITHOUT_NUMBERS.get(experiment.claim, "differs"), NOT_FINITE)
        return JUDGES[experiment.claim](self, outcome)

    def _reached(self, of: str = "") -> str:
        if self.best is None:
            return f"{of}{self.measured} {self.yardstick:.3f} between its own seeds"
        share = self.yardstick / self.best if self.best else 0.0
        return f"{of}{self.measured} {max(share, 0):.0%} of the best possible"

    def _judge_move(self, experiment: Experiment, move: str) -> Verdict:
        if self.underpowered:
            return Verdict("underpowered", self._reached(of="the baseline's "))
        found = moved(self.outcomes[experiment.against].measures, f"{move}-raw")
        if found is None:
            return Verdict("inconclusive", "the latents are all alike")
        verdict = at_least(found, APART, "displacement relative to random pairs")
        return Verdict("measured", "") if experiment.claim is Claim.NONE else verdict

    def _gap(self, outcome: Outcome) -> Estimate | None:
        scatter = self.scatter(outcome.experiment, lambda each: each.quality)
        against = self.outcomes[outcome.experiment.against]
        both = outcome.quality and against.quality
        return scatter.difference(outcome.quality, against.quality) if both else None

    def alike(self, outcome: Outcome) -> Verdict:
        """Whether the quality is not much lower."""
        gap, margin = self._gap(outcome), MARGIN * self.yardstick
        return _unknown() if gap is None else at_least(gap, -margin, f"{self.measured} differs by")

    def poorer(self, outcome: Outcome) -> Verdict:
        """Whether the quality is lower."""
        gap = self._gap(outcome)
        return _unknown() if gap is None else at_most(gap, 0.0, f"{self.measured} differs by")

    def consensus(self, outcome: Outcome) -> Verdict:
        """Whether the volumes do not differ as the states do."""
        found = self._heterogeneity(outcome)
        return _unknown() if found is None else at_most(found, CONSENSUS, "recovered share")

    def heterogeneous(self, outcome: Outcome) -> Verdict:
        """Whether the volumes differ as the states do."""
        found = self._heterogeneity(outcome)
        return _unknown() if found is None else at_least(found, CONSENSUS, "recovered share")

    def _heterogeneity(self, outcome: Outcome) -> Estimate | None:
        values = outcome.heterogeneity
        if values:
            return self.scatter(outcome.experiment, lambda each: each.heterogeneity).mean(values)
        mean = float(np.mean([m.spread or 0.0 for m in self.outcomes["baseline"].measures]))

        def relative(each: Outcome) -> list[float]:
            return [(m.spread or 0.0) / mean for m in each.measures]

        return self.scatter(outcome.experiment, relative).mean(relative(outcome))

    def blurred(self, outcome: Outcome) -> Verdict:
        """Whether the volumes are worse."""
        others = self.outcomes[outcome.experiment.against].fsc_areas
        if not outcome.fsc_areas or not others:
            return Verdict("inconclusive", "the true volumes are not known: look at the pictures")
        scatter = self.scatter(outcome.experiment, lambda each: each.fsc_areas)
        gap = scatter.difference(outcome.fsc_areas, others)
        return _unknown() if gap is None else at_most(gap, 0.0, "FSC area differs by")

    def measured_only(self, outcome: Outcome) -> Verdict:
        """No claim to answer: the difference is told."""
        gap = self._gap(outcome)
        if gap is None:
            return Verdict("measured", "")
        text = f"{self.measured} differs by {gap.value:.3f} [{gap.low:.3f}, {gap.high:.3f}]"
        return Verdict("measured", text.replace("-", "\N{MINUS SIGN}"))


NOT_FINITE = "every training ended in values that are not finite"
WITHOUT_NUMBERS: dict[Claim, Word] = {Claim.POORER: "agrees", Claim.NONE: "measured"}
"""What it says of a claim if nothing came of the trainings; otherwise they differ."""
JUDGES = {
    Claim.ALIKE: Bench.alike,
    Claim.POORER: Bench.poorer,
    Claim.CONSENSUS: Bench.consensus,
    Claim.HETEROGENEOUS: Bench.heterogeneous,
    Claim.BLURRED: Bench.blurred,
    Claim.NONE: Bench.measured_only,
}


def moved(measures: Sequence[Measures], name: str) -> Estimate | None:
    """The displacement of moved images, over all seeds.

    Args:
        measures: Of each seed.
        name: The audit, as ``shift-raw``.

    Returns:
        Mean of the seeds' displacements; the interval holds the intervals of all seeds.
    """
    found = [f.statistic for m in measures for f in m.moves if f.name == name and f.statistic]
    if not found:
        return None
    return Estimate(
        value=float(np.mean([e.value for e in found])),
        low=min(e.low for e in found),
        high=max(e.high for e in found),
    )


def _unknown() -> Verdict:
    return Verdict("inconclusive", "one seed: the scatter is not known")
