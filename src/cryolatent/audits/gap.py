"""How much a run's latents lack of the best that its decoder allows."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float, Int

from cryolatent.analysis.bootstrap import bootstrap, mean_estimate
from cryolatent.audits.base import Audit
from cryolatent.data import Source
from cryolatent.models.distributions import Distribution
from cryolatent.models.refinement import best_of, bounds, fit_latents, prior_starts
from cryolatent.models.system import System
from cryolatent.runs.finding import Estimate, Finding, verdict_below
from cryolatent.sessions.subject import Need, Subject

STEPS = 100
BATCH = 16
EXACT = "The posterior is exact: there is no gap."
UNFITTED = "Distributions of this kind are not fitted."
WORTHLESS = "Latents of other particles explain the images as well: there is nothing to lose."


@dataclass(frozen=True)
class Bounds:
    """Evidence lower bounds of some particles, in nats.

    Args:
        own: Under the run's distribution of each particle.
        best: Under the best distribution that was found with the decoder frozen.
        foreign: Under the run's distribution of another particle.
    """

    own: Float[np.ndarray, " n"]
    best: Float[np.ndarray, " n"]
    foreign: Float[np.ndarray, " n"]


@dataclass(frozen=True, kw_only=True)
class InferenceGap(Audit):
    """Fit each particle's latent with the decoder frozen, and see what is gained.

    The statistic is the gain over what latents are worth, the bound with the best distribution less
    the bound with another particle's: 0 of an exact posterior, 1 of one that tells no particle from
    another. Of an encoder this is the amortisation gap; of a table, rows that were not fitted to
    their end. Fits begin at the run's own distribution and at the prior.

    Args:
        particles: How many are fitted.
        threshold: Largest share that passes.
        seed: Fixes particles, samples and resampling.

    Source:
        Cremer, Li and Duvenaud 2018, arXiv:1801.03558.
    """

    needs: ClassVar[tuple[Need, ...]] = ("system", "particles")

    particles: int = 64
    threshold: float = 0.25
    seed: int = 0

    @property
    def name(self) -> str:
        """Name of the audit."""
        return "inference-gap"

    @property
    def question(self) -> str:
        """What is asked, in a sentence."""
        return (
            "How much of what latents explain is lost because the posterior is not the best one "
            "for this decoder?"
        )

    def answer(self, subject: Subject) -> Finding:
        """Fit some particles."""
        system, stack = subject.system(), subject.particles()
        if system is None or stack is None:
            raise TypeError("a need that is not met")
        if system.posterior.is_closed_form:
            return self.finding("not applicable", threshold=self.threshold, note=EXACT)
        rng = np.random.default_rng(self.seed)
        few = np.sort(rng.permutation(len(stack))[: self.particles])
        found = measured(system, stack, torch.from_numpy(few), self.seed)
        if found is None:
            return self.finding("not applicable", threshold=self.threshold, note=UNFITTED)
        gap, worth = found.best - found.own, found.best - found.foreign
        numbers = {
            "gap_nats": mean_estimate(gap, seed=self.seed),
            "worth_nats": mean_estimate(worth, seed=self.seed),
        }
        if numbers["worth_nats"].low <= 0:
            return self.finding(
                "inconclusive",
                particles=len(gap),
                threshold=self.threshold,
                note=WORTHLESS,
                numbers=numbers,
            )
        statistic = bootstrap(
            lambda rows: float(gap[rows].sum() / max(worth[rows].sum(), 1e-9)),
            len(gap),
            seed=self.seed,
        )
        return self.finding(
            verdict_below(statistic, self.threshold),
            statistic,
            particles=len(gap),
            null=Estimate(value=1.0, low=1.0, high=1.0),
            threshold=self.threshold,
            numbers=numbers,
        )


def measured(
    system: System, stack: Source, index: Int[torch.Tensor, " n"], seed: int
) -> Bounds | None:
    """Bounds of some particles' images under three distributions each.

    Args:
        system: Decoder, likelihood and posterior.
        stack: The particles.
        index: Which; at least two.
        seed: Fixes samples.

    Returns:
        Nats; None of distributions that cannot be fitted.
    """
    model, rows = system.model, []
    # of nearly equal sizes, so that nobody is without another
    for part in index.chunk(-(-len(index) // BATCH)):
        batch = stack.batch(part)
        with torch.no_grad():
            own: Distribution = system.posterior(batch, model)
        if not own.is_fitted or not own.is_bound:
            return None
        starts = [own, *prior_starts(type(own), len(part), own.mean.shape[1], 1)]
        fits = [
            fit_latents(
                batch, model, start, steps=STEPS, generator=torch.Generator().manual_seed(seed)
            )
            for start in starts
        ]
        best = best_of(batch, model, [*fits, own], seed=seed)
        # judged by samples that it was not chosen by
        foreign = own.at(torch.arange(len(part)).roll(1))
        rows.append(bounds(batch, model, [own, best, foreign], seed=seed + 1))
    return Bounds(*torch.cat(rows, dim=1).double().numpy())
