"""Comparison of a run with the truth of a simulation."""

from collections.abc import Iterable

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from cryolatent.analysis.bootstrap import bootstrap
from cryolatent.analysis.summary import Estimate
from cryolatent.models import Decoder
from cryolatent.physics import fourier_shell_correlation
from cryolatent.simulate.truth import JUNK


def rand_index(labels: Int[np.ndarray, " n"], state: Int[np.ndarray, " n"]) -> Estimate:
    """Adjusted Rand index of labels against true states, without the junk particles.

    Args:
        labels: Clusters.
        state: True states, -1 for junk.

    Returns:
        The index, 0 by chance and 1 for agreement, with its interval.

    Source:
        Hubert and Arabie 1985, doi:10.1007/BF01908075.
    """
    from sklearn.metrics import adjusted_rand_score

    keep = state != JUNK
    labels, state = labels[keep], state[keep]
    return bootstrap(lambda rows: float(adjusted_rand_score(state[rows], labels[rows])), len(state))


@torch.no_grad()
def per_image_fsc(
    decoder: Decoder,
    latents: Float[Tensor, "n zdim"],
    true_volumes: Iterable[Float[Tensor, "z y x"]],
) -> Float[Tensor, "n shells"]:
    """Correlate each particle's decoded volume with its true one.

    Args:
        decoder: Renders the latents.
        latents: Posterior means.
        true_volumes: The true volume of each particle, from `Truth.volume`.

    Returns:
        Correlation in shells 0 to ``box / 2 - 1``.
    """
    curves = [
        fourier_shell_correlation(decoder.volume(z[None])[0], volume)
        for z, volume in zip(latents, true_volumes, strict=True)
    ]
    return torch.stack(curves)


def fsc_area(fsc: Float[Tensor, "*n shells"]) -> Float[Tensor, " *n"]:
    """Area under a correlation curve over frequency in cycles per pixel.

    Shell 0 counts as 1; the trapezoid of ``|FSC|`` over shells 0 to ``box / 2 - 1`` is divided by
    the box.

    Args:
        fsc: Correlation in shells 0 to ``box / 2 - 1``.

    Returns:
        Area between 0 and just below one half.

    Source:
        The per-image FSC of CryoBench, Jeon et al. 2024, arXiv:2408.05526.
    """
    curve = fsc.abs().clone()
    curve[..., 0] = 1
    return torch.trapezoid(curve, dim=-1) / (2 * fsc.shape[-1])
