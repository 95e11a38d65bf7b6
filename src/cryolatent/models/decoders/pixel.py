"""The pixel decoder: a latent in, all pixels of a picture out."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from cryolatent.models.decoders.base import Decoder
from cryolatent.models.decoders.options import PixelOptions
from cryolatent.models.layers import PlainMlp
from cryolatent.models.setting import Setting
from cryolatent.physics import Poses


class PixelDecoder(Decoder):
    """A plain network from the latent to the log-odds of every pixel.

    A sigmoid makes expected grey values of log-odds; it belongs to the likelihood
    (`cryolatent.models.Bernoulli`), where it does not saturate, and to `volume`.

    Args:
        box: Side of the pictures.
        z_dim: Number of latent dimensions.
        width: Units per layer.
        layers: Hidden layers after the first.

    Source:
        Edelberg and Lederman 2023, YALEU/TR-1565, appendix B.1.
    """

    def __init__(self, box: int, z_dim: int, *, width: int = 256, layers: int = 1) -> None:
        super().__init__()
        self.box, self.z_dim = box, z_dim
        self.from_latent = nn.Linear(z_dim, width)
        self.hidden = PlainMlp(width, layers)
        self.output = nn.Linear(width, box**2)

    @classmethod
    def build(cls, options: PixelOptions, setting: Setting) -> "PixelDecoder":
        """For the setting's box."""
        return cls(
            setting.geometry.box,
            setting.z_dim,
            width=options.decoder_width,
            layers=options.decoder_layers,
        )

    def slices(self, z: Float[Tensor, "obs zdim"], poses: Poses | None) -> Float[Tensor, "obs k"]:
        """Log-odds of the pixels, row by row; poses do not matter."""
        return self.output(self.hidden(torch.relu(self.from_latent(z))))

    def volume(self, z: Float[Tensor, "n zdim"]) -> Float[Tensor, "n z y x"]:
        """Expected pictures, as volumes of a single section."""
        return torch.sigmoid(self.slices(z, None)).unflatten(-1, (1, self.box, self.box))
