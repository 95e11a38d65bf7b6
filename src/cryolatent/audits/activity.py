"""Do the latents of different particles differ at all?"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from cryolatent.audits.base import Audit
from cryolatent.audits.halves import announces
from cryolatent.runs.finding import Estimate, Finding
from cryolatent.sessions.subject import Need, Subject

LEAST_VARIANCE = 0.01
"""Variance of a dimension's means below which it is not in use, where the prior's is one."""


@dataclass(frozen=True, kw_only=True)
class Activity(Audit):
    """How many latent dimensions are in use.

    A collapsed posterior is the prior for every particle: coloured clusters of it are clusters of
    nothing. The statistic is the share of dimensions whose posterior means vary among particles.

    Source:
        Active units of Burda, Grosse and Salakhutdinov 2016, arXiv:1509.00519.
    """

    needs: ClassVar[tuple[Need, ...]] = ("latents",)

    @property
    def name(self) -> str:
        """Name of the audit."""
        return "activity"

    @property
    def question(self) -> str:
        """What is asked, in a sentence."""
        return "Does the latent differ among particles, or has the posterior collapsed?"

    def answer(self, subject: Subject) -> Finding:
        """Count the dimensions in use."""
        latents = subject.latents()
        if latents is None:
            raise TypeError("a need that is not met")
        variance = latents.distribution.mean.double().numpy().var(axis=0)
        share = float(np.mean(variance > LEAST_VARIANCE)) if len(variance) else 0.0
        used = int((variance > LEAST_VARIANCE).sum())
        verdict = "pass" if used else "fail"
        note = f"{used} of {len(variance)} dimensions are in use."
        if not announces(subject):
            verdict, note = "not applicable", "The run announces no heterogeneity."
        statistic = Estimate(value=share, low=share, high=share)
        return self.finding(verdict, statistic, particles=len(latents.ids), note=note)
