"""Did the training come to something? The owner of all warnings of collapse."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float

from cryolatent.audits.base import Audit
from cryolatent.audits.halves import announces
from cryolatent.models.latents import Latents, penalty_name
from cryolatent.physics import FourierDisc
from cryolatent.runs.finding import Estimate, Finding
from cryolatent.runs.run import Run
from cryolatent.sessions.subject import Need, Subject

LEAST_VARIANCE = 0.01
"""Variance of a dimension's means below which it is not in use, where the prior's is one."""

LEAST_MOVE = 0.01
"""Median displacement of a table's rows, in deviations of the latents, below which none moved."""

MOST_GAIN = 0.05
"""Share of a training's gain in its last third of epochs above which it was not at its end."""

FEW_EPOCHS = 9
MISFIT = 5.0
"""Deviations of the noise's log likelihood beyond the median at which an image does not fit."""

FROZEN = "The table's rows are where they started: nothing was learned of the particles."
CLIMBING = "The training was still climbing: {share:.0%} of its gain came in its last third."
WORST = "{share:.1%} of the images fit worse than noise explains."


@dataclass(frozen=True, kw_only=True)
class Activity(Audit):
    """How many latent dimensions are in use, and whether the training had come to its end.

    A collapsed posterior is the prior for every particle: coloured clusters of it are clusters of
    nothing. The statistic is the share of dimensions whose posterior means vary among particles.
    Fails too: a table that never left its start. *Inconclusive* is a training that was still
    climbing. Images that fit badly are counted.

    Args:
        run: The run, of which start and log are read where it has recorded any.

    Source:
        Active units of Burda, Grosse and Salakhutdinov 2016, arXiv:1509.00519.
    """

    needs: ClassVar[tuple[Need, ...]] = ("latents",)

    run: Run | None = None

    @property
    def name(self) -> str:
        """Name of the audit."""
        return "activity"

    @property
    def question(self) -> str:
        """What is asked, in a sentence."""
        return (
            "Does the latent differ among particles, and had the training come to its end, or has "
            "the posterior collapsed?"
        )

    def answer(self, subject: Subject) -> Finding:
        """Count the dimensions in use, and read what the run has recorded."""
        latents = subject.latents()
        if latents is None:
            raise TypeError("a need that is not met")
        variance = latents.distribution.mean.double().numpy().var(axis=0)
        share = float(np.mean(variance > LEAST_VARIANCE)) if len(variance) else 0.0
        used = int((variance > LEAST_VARIANCE).sum())
        verdict = "pass" if used else "fail"
        notes = [f"{used} of {len(variance)} dimensions are in use."]
        numbers = self._recorded(latents)
        if "table_moved" in numbers and numbers["table_moved"].value < LEAST_MOVE:
            verdict = "fail"
            notes.append(FROZEN)
        if "late_gain" in numbers and numbers["late_gain"].low > MOST_GAIN:
            verdict = "inconclusive" if verdict == "pass" else verdict
            notes.append(CLIMBING.format(share=numbers["late_gain"].value))
        if "misfits" in numbers and numbers["misfits"].value > 0:
            notes.append(WORST.format(share=numbers["misfits"].value))
        if not announces(subject):
            verdict, notes = "not applicable", ["The run announces no heterogeneity."]
        return self.finding(
            verdict,
            Estimate.sure(share),
            particles=len(latents.ids),
            note=" ".join(notes),
            numbers=numbers,
        )

    def _recorded(self, latents: Latents) -> dict[str, Estimate]:
        """What the run directory says of the training."""
        if self.run is None:
            return {}
        run, found = self.run, {}
        start, end = run.table_start(), latents.distribution.mean.double().numpy()
        if start is not None:
            found["table_moved"] = Estimate.sure(
                moved(start.distribution.mean.double().numpy(), end)
            )
        penalty = penalty_name(latents.distribution.is_bound)
        gain = late_gain(run.entries(), penalty)
        if gain is not None:
            found["late_gain"] = gain
        manifest, fit = run.manifest, latents.reconstruction
        if fit is not None and manifest.shells and run.config.posterior.calibrated:
            coefficients = FourierDisc(manifest.box, manifest.shells).size
            found["misfits"] = Estimate.sure(misfits(fit, coefficients))
        return found


def moved(start: Float[np.ndarray, "n d"], end: Float[np.ndarray, "n d"]) -> float:
    """How far rows of a table are from where they started.

    Args:
        start: Before the training.
        end: After it.

    Returns:
        Median distance over the root mean square distance of the rows from their mean at the end.
    """
    spread = float(np.sqrt(end.var(axis=0).sum()))
    return float(np.median(np.linalg.norm(end - start, axis=1))) / max(spread, 1e-12)


def late_gain(entries: Sequence[dict[str, Any]], penalty: str) -> Estimate | None:
    """The share of a training's gain that came in the last third of its epochs.

    Args:
        entries: Of a log, an epoch each.
        penalty: Key of what is added to the reconstruction.

    Returns:
        The fall of a line through the last third of the losses, with the 95 % interval of its
        slope's error from the scatter about it, over the fall of all epochs; None of less than nine
        epochs, of losses that do not fall, and of a search whose epochs are not of one model.
    """
    own = [entry for entry in entries if penalty in entry and "shells" not in entry]
    loss = np.array([entry["reconstruction"] + entry[penalty] for entry in own], float)
    if len(loss) < FEW_EPOCHS or len(own) < len(entries):
        return None
    late = loss[-(len(loss) // 3) :]
    at = np.arange(len(late)) - 0.5 * (len(late) - 1)
    slope = float(at @ late / (at @ at))
    scatter = late - late.mean() - slope * at
    error = float(np.sqrt(scatter @ scatter / max(len(late) - 2, 1) / (at @ at)))
    total = float(loss[0] - late.mean())
    if total <= 0:
        return None
    span = len(late) / total
    value, width = -slope * span, 1.96 * error * span
    return Estimate(value=value, low=value - width, high=value + width)


def misfits(reconstruction: Float[torch.Tensor, " n"], coefficients: int) -> float:
    """The share of images that are less probable than noise makes them.

    Args:
        reconstruction: Negative log likelihoods, in nats.
        coefficients: How many complex numbers an image has: of the noise alone the deviation of its
            negative log likelihood is the root of it.

    Returns:
        Share of those beyond five deviations above the median.
    """
    limit = reconstruction.median() + MISFIT * coefficients**0.5
    return float((reconstruction > limit).double().mean())
