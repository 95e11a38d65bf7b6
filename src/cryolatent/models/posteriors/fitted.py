"""A posterior without parameters: each particle's distribution is fitted when it is asked for."""

import torch

from cryolatent.data import Batch
from cryolatent.models.distributions import Distribution
from cryolatent.models.generative import GenerativeModel
from cryolatent.models.posteriors.base import Posterior
from cryolatent.models.refinement import (
    STEPS,
    best_of,
    fit_latents,
    pool_start,
    prior_starts,
)


class Fitted(Posterior):
    """Normal distributions or points, fitted to the evidence with the decoder frozen.

    Several fits are made, from the prior and from draws of it, and the best kept for each particle:
    what a table would hold of particles that it was not trained on. A decoder that was trained with
    a table has many separate places that explain nothing alike, so latents of trained particles are
    a better start: for each particle the one that explains it best. A proposal is a further start,
    and is itself among the candidates.

    Args:
        kind: Normal distributions or points (`Distribution.is_fitted`).
        z_dim: Number of latent dimensions.
        starts: Number of starts without the proposal.
        steps: Steps of each fit.
        seed: Fixes starts and samples.
        proposal: Gives a further start: normal distributions.
        pool: Distributions of other particles' latents, the most probable of which is a further
            start.
    """

    reads_images = True

    def __init__(
        self,
        kind: type[Distribution],
        z_dim: int,
        *,
        starts: int = 4,
        steps: int = STEPS,
        seed: int = 0,
        proposal: Posterior | None = None,
        pool: Distribution | None = None,
    ) -> None:
        super().__init__()
        self.kind, self.z_dim, self.is_bound = kind, z_dim, kind.is_bound
        self.starts, self.steps, self.seed, self.proposal = starts, steps, seed, proposal
        self.pool = pool

    @torch.no_grad()
    def forward(self, batch: Batch, model: GenerativeModel) -> Distribution:
        """The distribution of each particle's latent, from its evidence and the model.

        Raises:
            TypeError: If the proposal is of another kind.
            ValueError: If decoder or likelihood need poses or transfer functions and the evidence
                has none.
        """
        shown = batch.of_evidence()
        begin = prior_starts(self.kind, len(batch), self.z_dim, self.starts, self.seed)
        if self.pool is not None:
            begin.append(pool_start(shown, model, self.pool))
        proposed = []
        if self.proposal is not None:
            q = self.proposal(batch, model)
            if not isinstance(q, self.kind):
                raise TypeError(f"a proposal of {type(q).__name__} for {self.kind.__name__}")
            proposed.append(q)
        fits = [
            fit_latents(
                shown,
                model,
                start,
                steps=self.steps,
                generator=torch.Generator().manual_seed(self.seed + number),
            )
            for number, start in enumerate([*begin, *proposed])
        ]
        return best_of(shown, model, [*fits, *proposed], seed=self.seed - 1)
