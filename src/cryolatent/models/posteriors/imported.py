"""Latents that another program gave."""

import torch

from cryolatent.data import Batch
from cryolatent.models.distributions import Delta, DiagonalNormal, Distribution
from cryolatent.models.generative import GenerativeModel
from cryolatent.models.posteriors.base import Posterior
from cryolatent.models.posteriors.options import ImportedOptions
from cryolatent.models.setting import Setting


class Imported(Posterior):
    """A row per particle, as it was given; nothing is learned.

    Args:
        particles: Number of rows.
        z_dim: Number of latent dimensions.
        widths: Whether there is a log variance beside each mean.
    """

    def __init__(self, particles: int, z_dim: int, *, widths: bool) -> None:
        super().__init__()
        self.z_dim, self.is_bound = z_dim, widths
        self.register_buffer("loc", torch.zeros(particles, z_dim))
        self.register_buffer("log_var", torch.zeros(particles, z_dim) if widths else None)
        self.loc: torch.Tensor
        self.log_var: torch.Tensor | None

    @classmethod
    def build(cls, options: ImportedOptions, setting: Setting) -> "Imported":
        """Rows of zeros, which a checkpoint fills."""
        return cls(setting.examples, setting.z_dim, widths=options.widths)

    @property
    def has_rows(self) -> bool:
        """Always."""
        return True

    def rows(self) -> Distribution:
        """All of them."""
        return Delta(self.loc) if self.log_var is None else DiagonalNormal(self.loc, self.log_var)

    @torch.no_grad()
    def take(self, rows: Distribution) -> None:
        """Take the rows of all particles.

        Args:
            rows: Normal distributions if there are widths, else points.
        """
        self.loc.copy_(rows.mean)
        if self.log_var is not None:
            self.log_var.copy_(rows.as_diagonal().log_var)

    def forward(self, batch: Batch, model: GenerativeModel) -> Distribution:
        """The rows of the batch's particles; the evidence is not looked at."""
        return self.rows().at(batch.index)
