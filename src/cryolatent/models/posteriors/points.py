"""Points in the posterior's place: a row of parameters per particle, and no width."""

import torch
from torch import nn
from torch.nn.functional import embedding

from cryolatent.data import Batch
from cryolatent.models.distributions import Delta, Distribution
from cryolatent.models.generative import GenerativeModel
from cryolatent.models.posteriors.base import Posterior
from cryolatent.models.posteriors.options import PointTableOptions
from cryolatent.models.setting import Setting


class PointTable(Posterior):
    """One latent per particle, found together with the decoder: an auto-decoder.

    With the standard normal prior it finds the maximum a posteriori, not a bound of the evidence.

    Args:
        particles: Number of rows.
        z_dim: Number of latent dimensions.
        sparse: Whether gradients name only the rows of the batch.

    Source:
        Park et al. 2019, arXiv:1901.05103, section 4; Bojanowski et al. 2018, arXiv:1707.05776.
    """

    is_bound = False

    def __init__(self, particles: int, z_dim: int, *, sparse: bool = True) -> None:
        super().__init__()
        self.z_dim, self.sparse = z_dim, sparse
        self.loc = nn.Parameter(torch.zeros(particles, z_dim))

    @classmethod
    def build(cls, options: PointTableOptions, setting: Setting) -> "PointTable":
        """A point per example; `cryolatent.sessions.warm` sets where they start."""
        table = cls(setting.examples, setting.z_dim, sparse=options.table_optimiser != "adam")
        table.row_optimiser = options.table_optimiser, options.table_learning_rate or 0.0
        return table

    @torch.no_grad()
    def set_rows(self, rows: Distribution) -> None:
        """Start from other rows, of which the means are taken."""
        self.loc.copy_(rows.mean)

    def rows(self) -> Delta:
        """The points as they are now."""
        return Delta(self.loc.detach())

    def forward(self, batch: Batch, model: GenerativeModel) -> Delta:
        """The rows of the batch's particles; the evidence is not looked at."""
        return Delta(embedding(batch.index, self.loc, sparse=self.sparse))

    def row_parameters(self) -> list[nn.Parameter]:
        """The points."""
        return [self.loc]
