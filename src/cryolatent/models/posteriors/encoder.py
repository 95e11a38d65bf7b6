"""The amortised posterior: a network reads the evidence."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from cryolatent.data import Batch, Evidence
from cryolatent.models.distributions import DiagonalNormal
from cryolatent.models.generative import GenerativeModel
from cryolatent.models.layers import ResidualMlp
from cryolatent.models.posteriors.base import Posterior
from cryolatent.physics import FourierDisc


class Encoder(Posterior):
    """A residual network over the phase-flipped coefficients of the evidence.

    The coefficients are multiplied by the sign of the evidence's own transfer function and divided
    by the data's root mean square in their shell. Several observations of a particle are encoded
    one by one and their outputs averaged.

    Args:
        disc: The coefficients of the evidence.
        z_dim: Number of latent dimensions.
        power_spectrum: Mean power of the data, shells 0 to ``disc.radius``.
        width: Units per layer.
        layers: Hidden layers after the first.

    Source:
        Zhong et al. 2021, doi:10.1038/s41592-020-01049-4.
    """

    def __init__(
        self,
        disc: FourierDisc,
        z_dim: int,
        power_spectrum: Float[Tensor, " shells"],
        *,
        width: int = 256,
        layers: int = 3,
    ) -> None:
        super().__init__()
        self.disc, self.z_dim = disc, z_dim
        self.input = nn.Linear(2 * disc.size, width)
        self.hidden = ResidualMlp(width, layers)
        self.output = nn.Linear(width, 2 * z_dim)
        scale = power_spectrum[disc.shells].clamp(min=torch.finfo(torch.float32).tiny).rsqrt()
        self.register_buffer("scale", scale)
        self.scale: Tensor

    def forward(self, batch: Batch, model: GenerativeModel) -> DiagonalNormal:
        """The distribution of each particle's latent, from its evidence alone."""
        encoded = self.output(self.hidden(torch.relu(self.input(self._features(batch.evidence)))))
        count = batch.sum_by_particle(torch.ones_like(encoded[:, :1]))
        loc, log_var = (batch.sum_by_particle(encoded) / count).chunk(2, dim=-1)
        return DiagonalNormal(loc, log_var)

    def _features(self, evidence: Evidence) -> Float[Tensor, "obs k2"]:
        scaled = evidence.images * self.scale
        if evidence.ctf is not None:
            scaled = scaled * evidence.ctf.evaluate(self.disc.cycles_per_pixel).sign()
        return torch.view_as_real(scaled * 2**0.5).flatten(1)
