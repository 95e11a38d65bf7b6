"""Would the same analysis announce as much of particles that do not differ?"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from cryolatent.audits.base import Audit
from cryolatent.runs.finding import Estimate, Finding, verdict_below
from cryolatent.runs.run import Run
from cryolatent.sessions.subject import Need, Subject
from cryolatent.train.choice import Choice

NO_CHOICE = (
    "Only runs that choose dimensions or states by particles kept aside are repeated on a replica."
)
SILENT = "The run announces no heterogeneity."
WEAKER = "A replica shows a little less than its data, so this audit refutes and does not prove."
REPLICAS = 5


@dataclass(frozen=True, kw_only=True)
class Null(Audit):
    """Repeat a run, with its own options, on replicas of its data without heterogeneity.

    Replicas have the data's errors of poses, contrasts, junk and noise. The statistic is the gain
    in held-out evidence of what is chosen there over no heterogeneity, their mean, over the same
    gain of the run: the share of what the run announces that nothing gives as well. Its interval
    holds the error of the gain and, by Student's t, how much replicas differ. Heavy tails of the
    errors are not in a replica, so a small share proves nothing.

    Args:
        run: The run; None of what is no run.
        repeated: Trains it on the replica of a number.
        replicas: How many.
        threshold: Smallest share that fails.
    """

    needs: ClassVar[tuple[Need, ...]] = ("latents",)

    run: Run | None
    repeated: Callable[[int], Run]
    replicas: int = REPLICAS
    threshold: float = 0.5

    @property
    def name(self) -> str:
        """Name of the audit."""
        return "null"

    @property
    def question(self) -> str:
        """What is asked, in a sentence."""
        return (
            "How much of what the run announces would it announce of the same particles if they "
            "did not differ?"
        )

    def answer(self, subject: Subject) -> Finding:
        """Repeat the run, if it made a choice and announces something."""
        choices = [] if self.run is None else self.run.choices()
        if self.run is None or not choices:
            return self.finding("not applicable", threshold=self.threshold, note=NO_CHOICE)
        gain, error = announced(choices[0])
        if gain <= 0:
            return self.finding("not applicable", threshold=self.threshold, note=SILENT)
        nothing = [announced(self.repeated(n).choices()[0])[0] for n in range(self.replicas)]
        numbers = {
            "gain": Estimate(value=gain, low=gain - 1.96 * error, high=gain + 1.96 * error),
            "gain_of_replicas": student(nothing),
        }
        statistic = share(numbers["gain"], numbers["gain_of_replicas"])
        # a replica's volumes are shrunk, so it shows less than the data would: no proof
        fails = verdict_below(statistic, self.threshold) == "fail"
        verdict, note = ("fail", "") if fails else ("inconclusive", WEAKER)
        return self.finding(
            verdict,
            statistic,
            particles=self.run.manifest.particles,
            null=Estimate.sure(1.0),
            threshold=self.threshold,
            note=note,
            numbers=numbers,
        )


def announced(choice: Choice) -> tuple[float, float]:
    """The held-out evidence of what was chosen over no heterogeneity.

    Args:
        choice: Of dimensions or states.

    Returns:
        Gain in nats per particle, and its standard error; zeros where nothing was chosen.
    """
    nothing, chosen = (
        next(c for c in choice.candidates if c.number == number)
        for number in (choice.candidates[0].number, choice.chosen)
    )
    if nothing.number == chosen.number:
        return 0.0, 0.0
    return nothing.behind - chosen.behind, nothing.error


def student(values: list[float]) -> Estimate:
    """A mean with its interval by Student's t.

    Args:
        values: Two or more.

    Returns:
        The mean and its 95 % interval.
    """
    from scipy.stats import t

    mean, width = float(np.mean(values)), float(np.std(values, ddof=1)) / len(values) ** 0.5
    width *= float(t.ppf(0.975, len(values) - 1))
    return Estimate(value=mean, low=mean - width, high=mean + width)


def share(gain: Estimate, nothing: Estimate) -> Estimate:
    """What part of a gain nothing gives as well.

    Args:
        gain: Of the data; positive.
        nothing: Of replicas.

    Returns:
        Their ratio, its interval to first order in both errors.
    """
    ratio = max(nothing.value, 0.0) / gain.value
    widths = 0.5 * (nothing.high - nothing.low), 0.5 * ratio * (gain.high - gain.low)
    width = float(np.hypot(*widths)) / gain.value
    return Estimate(value=ratio, low=max(ratio - width, 0.0), high=ratio + width)
