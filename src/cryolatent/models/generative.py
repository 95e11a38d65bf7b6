"""The generative half of the model: decoder and likelihood together."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Float, Inexact
from torch import Tensor, nn

from cryolatent.data import Batch
from cryolatent.models.contrast import ONE
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
        rendered = self.decoder.slices_at(
            z.index_select(0, batch.owner), batch.poses, batch.subset.index
        )
        return self.likelihood.predict(rendered, batch)

    def negative_log(
        self, batch: Batch, predicted: Inexact[Tensor, "obs k"]
    ) -> Float[Tensor, " n"]:
        """``-log p(x | z)``, averaged over the particles' contrasts.

        Args:
            batch: The particles, with the images to be explained.
            predicted: Expected observations at contrast one.

        Returns:
            Nats per particle.
        """
        likelihood = self.likelihood
        known = likelihood.negative_log(batch.images, predicted, batch.subset)
        total = batch.sum_by_particle(known)
        if likelihood.contrast == ONE:
            return total
        gram, inner = self._inner_products(batch, predicted)
        return total + (inner - 0.5 * gram) - likelihood.contrast.scaled(gram, inner).gain

    @torch.no_grad()
    def observe(self, batch: Batch, predicted: Inexact[Tensor, "obs k"]) -> None:
        """Let the likelihood collect residuals, at the contrasts that the images show.

        Args:
            batch: The particles, with the images to be explained.
            predicted: Expected observations of a posterior sample, at contrast one.
        """
        likelihood = self.likelihood
        if likelihood.contrast == ONE:
            likelihood.observe(batch.images, predicted, batch.subset)
            return
        found = likelihood.contrast.scaled(*self._inner_products(batch, predicted))
        half = torch.full((len(batch.images),), 0.5, device=batch.images.device)
        # squares at one deviation to both sides have the mean of all
        for side in (-1, 1):
            a = (found.mean + side * found.variance.sqrt())[batch.owner]
            likelihood.observe(batch.images, a[:, None] * predicted, batch.subset, half)

    def _inner_products(
        self, batch: Batch, predicted: Inexact[Tensor, "obs k"]
    ) -> tuple[Float[Tensor, " n"], Float[Tensor, " n"]]:
        found = self.likelihood.inner_products(batch.images, predicted, batch.subset)
        gram, inner = map(batch.sum_by_particle, found)
        return gram, inner

    def misfit(self, batch: Batch) -> Callable[[Float[Tensor, "n zdim"]], Float[Tensor, " n"]]:
        """How badly latents explain some particles, for many latents of the same particles.

        Args:
            batch: The particles, with the images to be explained.

        Returns:
            ``-log p(x | z)`` in nats per particle, averaged over contrasts, as a function of one
            latent per particle; the likelihood collects no residuals.

        Raises:
            ValueError: If decoder or likelihood need poses or transfer functions and there are
                none.
        """
        render = self.decoder.renderer(batch.poses, batch.subset.index)

        def explain(z: Float[Tensor, "n zdim"]) -> Float[Tensor, " n"]:
            predicted = self.likelihood.predict(render(z.index_select(0, batch.owner)), batch)
            return self.negative_log(batch, predicted)

        return explain

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Take gradients of latents and of nothing else, even where none are taken.

        Yields:
            Nothing.
        """
        learning = [parameter for parameter in self.parameters() if parameter.requires_grad]
        try:
            for parameter in learning:
                parameter.requires_grad_(False)
            with torch.enable_grad():
                yield
        finally:
            for parameter in learning:
                parameter.requires_grad_(True)
