"""What is believed of each particle."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from cryolatent.models.beliefs import Beliefs
from cryolatent.models.distributions import Distribution


@dataclass(frozen=True)
class Rows:
    """What a table believed of each particle before its training.

    Args:
        ids: Particle names.
        distribution: Distribution of each particle's latent.
    """

    ids: np.ndarray
    distribution: Distribution


@dataclass(frozen=True)
class Latents:
    """What a trained system believes of each particle.

    Args:
        ids: Particle names.
        distribution: Distribution of each particle's latent.
        reconstruction: Negative log likelihood of posterior samples, in nats; None of latents of
            another program, of which it is not known.
        kl: Divergence from the prior, in nats; of points minus the log density of the prior.
        evidence: Log evidence of each particle, in nats; None where it is not known.
        beliefs: What is believed of poses, contrast and particles, where they are doubted.
    """

    ids: np.ndarray
    distribution: Distribution
    reconstruction: Float[Tensor, " n"] | None
    kl: Float[Tensor, " n"]
    evidence: Float[Tensor, " n"] | None = None
    beliefs: Beliefs | None = None

    @property
    def is_particle(self) -> Float[Tensor, " n"]:
        """Probability that each is a particle and no junk; one where that is not doubted."""
        if self.beliefs is None:
            return torch.ones(len(self.ids))
        return self.beliefs.probability

    @property
    def elbo(self) -> Float[Tensor, " n"] | None:
        """Evidence lower bound of each particle, in nats; None for points, which bound nothing."""
        return self.score if self.distribution.is_bound else None

    @property
    def log_joint(self) -> Float[Tensor, " n"] | None:
        """Log joint density ``log p(x, z)`` of each particle and its point, in nats."""
        return None if self.distribution.is_bound else self.score

    @property
    def score(self) -> Float[Tensor, " n"] | None:
        """The one of both that there is; None of imported latents, whose fit is not known."""
        return None if self.reconstruction is None else -(self.reconstruction + self.kl)


def penalty_name(is_bound: bool) -> str:
    """What files call the term that a distribution adds to the reconstruction.

    Args:
        is_bound: Whether it is a divergence (`Distribution.is_bound`).

    Returns:
        Name of a column and of a log entry's key.
    """
    return "kl" if is_bound else "negative_log_prior"
