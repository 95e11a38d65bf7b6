"""The contract of every posterior."""

from abc import ABC, abstractmethod

from torch import nn

from cryolatent.data import Batch
from cryolatent.models.distributions import Distribution
from cryolatent.models.generative import GenerativeModel


class Posterior(nn.Module, ABC):
    """q(z | evidence): what is believed of each particle's latent.

    `is_bound` is that of the distributions that it gives (`Distribution`).
    """

    z_dim: int
    is_bound: bool = True

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

    def row_parameters(self) -> list[nn.Parameter]:
        """Parameters with one row per particle, which are stepped only when a batch holds the row.

        Returns:
            By default none.
        """
        return []
