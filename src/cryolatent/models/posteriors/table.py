"""The explicit posterior: a row of parameters per particle."""

import torch
from torch import nn
from torch.nn.functional import embedding

from cryolatent.data import Batch
from cryolatent.models.distributions import DiagonalNormal, Distribution
from cryolatent.models.generative import GenerativeModel
from cryolatent.models.posteriors.base import Posterior
from cryolatent.models.posteriors.options import TableOptions
from cryolatent.models.setting import Setting


class LookupTable(Posterior):
    """The variational lookup table: mean and log variance of each particle's latent.

    Args:
        particles: Number of rows.
        z_dim: Number of latent dimensions.
        sparse: Whether gradients name only the rows of the batch.

    Source:
        Edelberg and Lederman 2023, YALEU/TR-1565, section 3.2.
    """

    def __init__(self, particles: int, z_dim: int, *, sparse: bool = True) -> None:
        super().__init__()
        self.z_dim, self.sparse = z_dim, sparse
        self.loc = nn.Parameter(torch.zeros(particles, z_dim))
        self.log_var = nn.Parameter(torch.full((particles, z_dim), ZERO_LOG_VAR))

    @classmethod
    def build(cls, options: TableOptions, setting: Setting) -> "LookupTable":
        """A row per example; `cryolatent.sessions.warm` sets where they start."""
        table = cls(setting.examples, setting.z_dim, sparse=options.table_optimiser != "adam")
        table.row_optimiser = options.table_optimiser, options.table_learning_rate or 0.0
        return table

    @torch.no_grad()
    def set_rows(self, rows: Distribution) -> None:
        """Start from other rows, as independent normal distributions."""
        normal = rows.as_diagonal()
        self.loc.copy_(normal.loc)
        self.log_var.copy_(normal.log_var)

    def rows(self) -> DiagonalNormal:
        """The rows as they are now."""
        return DiagonalNormal(self.loc.detach(), self.log_var.detach())

    def forward(self, batch: Batch, model: GenerativeModel) -> DiagonalNormal:
        """The rows of the batch's particles; the evidence is not looked at."""
        loc, log_var = (
            embedding(batch.index, parameter, sparse=self.sparse)
            for parameter in (self.loc, self.log_var)
        )
        return DiagonalNormal(loc, log_var)

    def row_parameters(self) -> list[nn.Parameter]:
        """Means and log variances."""
        return [self.loc, self.log_var]


ZERO_LOG_VAR = -8.0
