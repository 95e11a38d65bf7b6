"""Would the same analysis announce as much of particles that do not differ?"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

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


@dataclass(frozen=True, kw_only=True)
class Null(Audit):
    """Repeat a run, with its own options, on a replica of its data without heterogeneity.

    The replica has the data's errors of poses, contrasts, junk and noise. The statistic is the gain
    in held-out evidence of what is chosen there over no heterogeneity, over the same gain of the
    run: the share of what the run announces that nothing gives as well. Volumes of a replica are
    posterior means, which have less power than the molecule, so a small share proves nothing.

    Args:
        run: The run; None of what is no run.
        repeated: Trains it on the replica.
        threshold: Smallest share that fails.
    """

    needs: ClassVar[tuple[Need, ...]] = ("latents",)

    run: Run | None
    repeated: Callable[[], Run]
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
        """Repeat the run, if it made a choice."""
        choices = [] if self.run is None else self.run.choices()
        if self.run is None or not choices:
            return self.finding("not applicable", threshold=self.threshold, note=NO_CHOICE)
        gain, error = announced(choices[0])
        if gain <= 0:
            return self.finding("not applicable", threshold=self.threshold, note=SILENT)
        nothing, spread = announced(self.repeated().choices()[0])
        share = max(nothing, 0.0) / gain
        width = 1.96 * ((spread / gain) ** 2 + (share * error / gain) ** 2) ** 0.5
        statistic = Estimate(value=share, low=max(share - width, 0.0), high=share + width)
        numbers = {"gain": _normal(gain, error), "gain_of_replica": _normal(nothing, spread)}
        # a replica's volumes are shrunk, so it shows less than the data would: no proof
        fails = verdict_below(statistic, self.threshold) == "fail"
        verdict, note = ("fail", "") if fails else ("inconclusive", WEAKER)
        return self.finding(
            verdict,
            statistic,
            particles=self.run.manifest.particles,
            null=Estimate(value=1.0, low=1.0, high=1.0),
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


def _normal(value: float, error: float) -> Estimate:
    return Estimate(value=value, low=value - 1.96 * error, high=value + 1.96 * error)
