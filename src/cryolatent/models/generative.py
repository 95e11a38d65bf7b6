"""The generative half of the model: decoder and likelihood together."""

from jaxtyping import Float, Inexact
from torch import Tensor, nn

from cryolatent.data import Batch
from cryolatent.models.decoders import Decoder
from cryolatent.models.likelihood import Likelihood


class GenerativeModel(nn.Module):
    """p(x | z): a decoder that renders latents and a likelihood that compares.

    Args:
        decoder: Renders latents.
        likelihood: Compares with observations.
    """

    def __init__(self, decoder: Decoder, likelihood: Likelihood) -> None:
        super().__init__()
        self.decoder, self.likelihood = decoder, likelihood

    def predict(self, z: Float[Tensor, "n zdim"], batch: Batch) -> Inexact[Tensor, "obs k"]:
        """Expected observations of some particles.

        Args:
            z: One latent per particle.
            batch: The particles.

        Returns:
            One row per observation.
        """
        rendered = self.decoder.slices_at(z[batch.owner], batch.poses, batch.subset.index)
        return self.likelihood.predict(rendered, batch)
