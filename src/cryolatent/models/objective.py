"""What training minimises, in named parts."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from cryolatent.data import Batch
from cryolatent.models.generative import GenerativeModel
from cryolatent.models.posteriors import Posterior


@dataclass(frozen=True)
class LossTerms:
    """The objective of each particle, and its parts.

    Args:
        reconstruction: Misfit of the posterior sample.
        kl: Divergence of the posterior from the prior, in nats; of points minus the log density
            of the prior.
        total: What is minimised.
    """

    reconstruction: Float[Tensor, " n"]
    kl: Float[Tensor, " n"]
    total: Float[Tensor, " n"]


class Objective(ABC):
    """A loss per particle from one posterior sample."""

    def __call__(
        self,
        batch: Batch,
        posterior: Posterior,
        model: GenerativeModel,
        generator: torch.Generator | None = None,
    ) -> LossTerms:
        """Sample the posterior, render, compare.

        The likelihood also collects the residuals, for the re-estimation of the noise.

        Args:
            batch: The particles.
            posterior: Gives the distribution of their latents.
            model: Decoder and likelihood.
            generator: Source of randomness of the sample.

        Returns:
            The loss of each particle.
        """
        q = posterior(batch, model)
        predicted = model.predict(q.rsample(generator), batch)
        model.observe(batch, predicted)
        return self.combine(batch, model, predicted, q.kl())

    @abstractmethod
    def combine(
        self,
        batch: Batch,
        model: GenerativeModel,
        predicted: Tensor,
        kl: Float[Tensor, " n"],
    ) -> LossTerms:
        """Join misfit and divergence.

        Args:
            batch: The particles.
            model: Decoder and likelihood.
            predicted: Expected observations of the posterior sample.
            kl: Divergence from the prior, in nats.

        Returns:
            The loss of each particle.
        """


@dataclass(frozen=True)
class NegativeElbo(Objective):
    """The negative evidence lower bound, in nats per particle when β is one.

    Of points it is the negative log joint density ``-log p(x, z)`` instead, which is no bound.

    Args:
        beta: Weight of the divergence.

    Source:
        Kingma and Welling 2014, arXiv:1312.6114, eq. 3.
    """

    beta: float = 1.0

    def combine(
        self,
        batch: Batch,
        model: GenerativeModel,
        predicted: Tensor,
        kl: Float[Tensor, " n"],
    ) -> LossTerms:
        """``-log p(x | z) + β KL``."""
        reconstruction = model.negative_log(batch, predicted)
        return LossTerms(reconstruction, kl, reconstruction + self.beta * kl)


@dataclass(frozen=True)
class SummedElbo(Objective):
    """The negative evidence lower bound summed over the batch, as the report's digits have it.

    Its parts are those of `NegativeElbo`, in nats per image. What is minimised grows with the
    batch, and with it the gradients, which matters to optimisers that take them as they are (SGD).

    Args:
        beta: Weight of the divergence.

    Source:
        Edelberg and Lederman 2023, YALEU/TR-1565, appendix B, and the code that it describes.
    """

    beta: float = 1.0

    def combine(
        self,
        batch: Batch,
        model: GenerativeModel,
        predicted: Tensor,
        kl: Float[Tensor, " n"],
    ) -> LossTerms:
        """``n (-log p(x | z) + β KL)``, whose mean over the n images is the sum."""
        terms = NegativeElbo(self.beta).combine(batch, model, predicted, kl)
        return replace(terms, total=len(batch) * terms.total)


@dataclass(frozen=True)
class ReportObjective(Objective):
    """The objective of the report's code: mean squared error + β KL / N, no noise model.

    Args:
        beta: Weight of the divergence; the report's is one over the number of latent dimensions.

    Source:
        Edelberg and Lederman 2023, YALEU/TR-1565, and the code that it describes.
    """

    beta: float

    def combine(
        self,
        batch: Batch,
        model: GenerativeModel,
        predicted: Tensor,
        kl: Float[Tensor, " n"],
    ) -> LossTerms:
        """``(1 / N) Σ r² + β KL / N`` over the N real coefficients, data scaled to variance one."""
        reconstruction = batch.sum_by_particle(
            model.likelihood.mean_squared_error(batch.images, predicted, batch.subset)
        )
        weight = self.beta / model.likelihood.degrees_of_freedom
        return LossTerms(reconstruction, kl, reconstruction + weight * kl)
