"""The contract of every posterior."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from cryolatent.data import Batch
from cryolatent.models.beliefs import Beliefs
from cryolatent.models.distributions import Distribution
from cryolatent.models.generative import GenerativeModel


@dataclass(frozen=True)
class Reading:
    """What is read of some particles once a system is trained.

    Args:
        posterior: Distribution of each latent.
        reconstruction: Expected ``-log p(x | z)``, in nats.
        kl: Divergence from the prior, in nats; of points minus the log density of the prior.
        evidence: ``log p(x)``, in nats, where it is known; else None.
        beliefs: What is believed of poses, contrast and particles, where they are doubted.
    """

    posterior: Distribution
    reconstruction: Float[Tensor, " n"]
    kl: Float[Tensor, " n"]
    evidence: Float[Tensor, " n"] | None = None
    beliefs: Beliefs | None = None


class Posterior(nn.Module, ABC):
    """q(z | evidence): what is believed of each particle's latent.

    What a caller has to know of a posterior it states itself, by the attributes below; nobody asks
    for its type or name. `is_bound` is that of the distributions that it gives (`Distribution`).
    """

    z_dim: int
    is_bound: bool = True

    reads_images: ClassVar[bool] = False
    """Whether it looks at the evidence's images."""

    is_amortised: ClassVar[bool] = False
    """Whether one function reads every particle, so that fits of single particles may do better."""

    is_closed_form: ClassVar[bool] = False
    """Whether decoder and likelihood define it: the evidence is known, nothing is sampled."""

    gives_states: ClassVar[bool] = False
    """Whether a latent is one of K states rather than a place in a space."""

    states_asked: int | None = None
    """How many states are wanted, of a posterior that gives states; None to have it chosen."""

    augments: bool = False
    """Whether it wants to see images turned and displaced at random while it is trained."""

    row_optimiser: tuple[str, float] | None = None
    """Optimiser and learning rate of `row_parameters`, if it has any."""

    @abstractmethod
    def forward(self, batch: Batch, model: GenerativeModel) -> Distribution:
        """The distribution of each particle's latent.

        Args:
            batch: The particles; a posterior may look at `index`, `owner` and `evidence`, never
                at the images that the likelihood explains.
            model: Decoder and likelihood, for posteriors that are defined by them.

        Returns:
            One row per particle.
        """

    @torch.no_grad()
    def read(
        self, batch: Batch, model: GenerativeModel, generator: torch.Generator, samples: int = 1
    ) -> Reading:
        """The distribution of each particle's latent and its evidence lower bound.

        Args:
            batch: The particles.
            model: Decoder and likelihood.
            generator: Source of randomness of the samples.
            samples: Number of samples that the reconstruction term is a mean of.

        Returns:
            One row per particle.
        """
        q, misfit = self(batch, model), model.misfit(batch)
        draws = [misfit(q.rsample(generator)) for _ in range(samples)]
        return Reading(q, torch.stack(draws).mean(0), q.kl())

    def prior_sample(self, count: int, generator: torch.Generator) -> Float[Tensor, "n zdim"]:
        """Draw latents from the prior: standard normal ones by default.

        Args:
            count: How many.
            generator: Source of randomness.

        Returns:
            One latent per row.
        """
        return torch.randn((count, self.z_dim), generator=generator)

    @property
    def has_rows(self) -> bool:
        """Whether there is a row of parameters per particle, and so no answer for others."""
        return bool(self.row_parameters())

    def row_parameters(self) -> list[nn.Parameter]:
        """Parameters with one row per particle, which are stepped only when a batch holds the row.

        Returns:
            By default none.
        """
        return []

    def rows(self) -> Distribution | None:
        """The rows of all particles.

        Returns:
            None of a posterior without rows.
        """
        return None

    def set_rows(self, rows: Distribution) -> None:
        """Start from other rows.

        Args:
            rows: One per particle; normal distributions.

        Raises:
            TypeError: If there are no rows.
        """
        raise TypeError(f"{type(self).__name__} has no rows")
