"""The amortised posterior: a network reads the evidence."""

import torch
from torch import nn

from cryolatent.data import Batch
from cryolatent.models.distributions import DiagonalNormal
from cryolatent.models.generative import GenerativeModel
from cryolatent.models.layers import PlainMlp, ResidualMlp
from cryolatent.models.posteriors.base import Posterior
from cryolatent.models.posteriors.features import Features, features_for
from cryolatent.models.posteriors.options import EncoderOptions, SemiAmortizedOptions
from cryolatent.models.setting import Setting


class Encoder(Posterior):
    """A network over features of the evidence.

    Several observations of a particle are encoded one by one and their outputs averaged.

    Args:
        features: What the network is fed.
        z_dim: Number of latent dimensions.
        width: Units per layer.
        layers: Hidden layers after the first.
        hidden: Shape of these layers.

    Source:
        Zhong et al. 2021, doi:10.1038/s41592-020-01049-4.
    """

    reads_images = True
    is_amortised = True

    def __init__(
        self,
        features: Features,
        z_dim: int,
        *,
        width: int = 256,
        layers: int = 3,
        hidden: type[ResidualMlp] | type[PlainMlp] = ResidualMlp,
    ) -> None:
        super().__init__()
        self.features, self.z_dim = features, z_dim
        self.input = nn.Linear(features.size, width)
        self.hidden = hidden(width, layers)
        self.output = nn.Linear(width, 2 * z_dim)

    @classmethod
    def build(cls, options: EncoderOptions | SemiAmortizedOptions, setting: Setting) -> "Encoder":
        """A network for the setting's images."""
        encoder = cls(
            features_for(setting, options.evidence_frame),
            setting.z_dim,
            width=options.encoder_width,
            layers=options.encoder_layers,
            hidden=ResidualMlp if options.encoder_residual else PlainMlp,
        )
        encoder.augments = getattr(options, "augment", False)
        return encoder

    def forward(self, batch: Batch, model: GenerativeModel) -> DiagonalNormal:
        """The distribution of each particle's latent, from its evidence alone."""
        first = torch.relu(self.input(self.features(batch.evidence)))
        encoded = self.output(self.hidden(first))
        shown = batch.of_evidence()
        count = shown.sum_by_particle(torch.ones_like(encoded[:, :1]))
        loc, log_var = (shown.sum_by_particle(encoded) / count).chunk(2, dim=-1)
        return DiagonalNormal(loc, log_var)
