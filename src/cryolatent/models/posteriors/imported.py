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

    def forward(self, batch: Batch, model: GenerativeModel) -> Distribution:
        """The rows of the batch's particles; the evidence is not looked at."""
        loc = self.loc[batch.index]
        return (
            Delta(loc) if self.log_var is None else DiagonalNormal(loc, self.log_var[batch.index])
        )
