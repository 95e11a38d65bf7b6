"""How much of each latent dimension wrong poses or contrasts could pass for."""

import torch
from jaxtyping import Float
from torch import Tensor

from cryolatent.data import FilteredImages, ParticleStack
from cryolatent.models.decoders import SubspaceDecoder
from cryolatent.models.hypothesis import Hypothesis
from cryolatent.models.likelihood import FourierGaussian
from cryolatent.models.nuisances import Nuisances, PoseErrors
from cryolatent.models.posteriors.exact import ExactGaussian
from cryolatent.models.system import System
from cryolatent.physics import PerturbedProducts, unpack

SAMPLE = 500
RIDGE = 1e-6


@torch.no_grad()
def mistakable(system: System, stack: ParticleStack) -> tuple[float, ...] | None:
    """The share of each dimension's slices that lies along nuisances.

    A dimension along a turn, a shift or the mean volume itself cannot be told from a wrong pose or
    another contrast: it is neither structure beyond doubt nor is it dropped. The share is the
    squared multiple correlation of a dimension's slices with those of the six nuisances, weighted
    as the likelihood weighs them, over a sample of images, each with amplitudes of its own.

    Args:
        system: A trained one.
        stack: Its particles.

    Returns:
        One share per dimension; None of anything but normal latents over a linear subspace.
    """
    decoder, likelihood = system.model.decoder, system.model.likelihood
    if not isinstance(system.posterior, ExactGaussian) or not isinstance(decoder, SubspaceDecoder):
        return None
    if not isinstance(likelihood, FourierGaussian):
        return None
    index = torch.arange(0, len(stack), max(1, len(stack) // SAMPLE))
    part = FilteredImages.read(stack, index, decoder.disc)
    # widths do not matter to products, but that there are any does
    nuisances = Nuisances(PoseErrors(1.0, 1.0, 1.0))
    noise, values = likelihood.noise_spectrum.cpu(), decoder.at_voxels().cpu()
    lattice = type(decoder.lattice)(decoder.disc)
    hypothesis = Hypothesis(lattice, values, noise, system.posterior, nuisances)
    products = hypothesis.compare(part).products
    if not isinstance(products, PerturbedProducts):
        raise TypeError(f"expected derivatives, found {type(products)}")
    gram, cross = unpack(products.gram).double(), products.cross.double()
    mean = cross[:, :1]
    both = torch.cat(
        [
            torch.cat([products.own[:, 0].double(), mean.mT], dim=2),
            torch.cat([mean, gram[:, :1, :1]], dim=2),
        ],
        dim=1,
    )
    along = torch.cat([cross[:, 1:], gram[:, 1:, :1]], dim=2)
    return _shares(gram.diagonal(dim1=1, dim2=2)[:, 1:], along, both)


def _shares(
    power: Float[Tensor, "n j"], along: Float[Tensor, "n j 6"], nuisances: Float[Tensor, "n 6 6"]
) -> tuple[float, ...]:
    """Explained over all power, each image with amplitudes of its own."""
    scale = nuisances.diagonal(dim1=1, dim2=2).clamp(min=1e-30).rsqrt()
    normal = nuisances * scale[:, :, None] * scale[:, None]
    normal = normal + RIDGE * torch.eye(scale.shape[1], dtype=scale.dtype)
    cross = along * scale[:, None]
    explained = (cross * torch.linalg.solve(normal, cross.mT).mT).sum(2)
    return tuple((explained.sum(0) / power.sum(0).clamp(min=1e-30)).clamp(0, 1).tolist())
