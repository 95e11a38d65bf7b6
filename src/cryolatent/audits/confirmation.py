"""Do a run's latents foretell images, without the run's decoder?"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from cryolatent.analysis.bootstrap import mean_estimate
from cryolatent.audits.base import Audit
from cryolatent.audits.halves import LEAST_GAIN, announces
from cryolatent.runs.finding import Estimate, Finding, Verdict, verdict_above
from cryolatent.sessions.claims import Claim, scales
from cryolatent.sessions.subject import Need, Subject

PERMUTATIONS = 49
GONE = (
    "What the latents tell apart is gone once poses, contrast and particles are doubted and the "
    "images are others."
)


@dataclass(frozen=True, kw_only=True)
class Confirmation(Audit):
    """Do volumes regressed on the latents of half the particles explain the others' images?

    The statistic is the gain in log evidence, nats per particle, from knowing a particle's latent,
    over one volume; poses, contrast and particles are doubted in both, and the volumes are made of
    the other half. Null: latents of other particles of the half, under the same volumes.

    It can refute latents, but not prove them: they have seen the images that they foretell.

    Args:
        claims: From `cryolatent.sessions.claims`; None where all latents are alike.
        seed: Fixes permutations and resampling.
    """

    needs: ClassVar[tuple[Need, ...]] = ("latents",)

    claims: tuple[Claim, Claim] | None
    seed: int = 0

    @property
    def name(self) -> str:
        """Name of the audit."""
        return "confirmation"

    @property
    def question(self) -> str:
        """What is asked, in a sentence."""
        return (
            "Do volumes regressed on the latents of one half explain the images of the other half "
            "better than one volume does?"
        )

    def answer(self, subject: Subject) -> Finding:
        """Compare the particles' own latents with none, and with those of others."""
        if self.claims is None:
            verdict: Verdict = "fail" if announces(subject) else "not applicable"
            return self.finding(verdict, threshold=LEAST_GAIN, note="All latents are alike.")
        used = scales(self.claims)
        pairs = list(zip(self.claims, used, strict=True))
        gain = np.concatenate([claim.gain(scale) for claim, scale in pairs])
        generator = torch.Generator().manual_seed(self.seed)
        null = [
            np.concatenate(
                [
                    claim.gain(scale, torch.randperm(len(claim.z), generator=generator))
                    for claim, scale in pairs
                ]
            ).mean()
            for _ in range(PERMUTATIONS)
        ]
        chance = Estimate.of_null(null)
        statistic = mean_estimate(gain, seed=self.seed)
        threshold = max(LEAST_GAIN, chance.high)
        verdict = verdict_above(statistic, threshold)
        return self.finding(
            verdict,
            statistic,
            particles=len(gain),
            null=chance,
            threshold=threshold,
            note=GONE if verdict == "fail" else "",
        )
