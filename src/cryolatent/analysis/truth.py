"""Comparison of a run with the truth of a simulation."""

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from cryolatent.analysis.bootstrap import bootstrap
from cryolatent.analysis.summary import Estimate
from cryolatent.data import ParticleStack
from cryolatent.models import Decoder, FourierGaussian
from cryolatent.physics import fourier_shell_correlation, slice_volume, volume_to_fourier
from cryolatent.simulate.truth import JUNK, Truth

CHUNK = 256


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
def oracle_states(
    stack: ParticleStack, truth: Truth, rows: Int[np.ndarray, " n"]
) -> Int[np.ndarray, " n"]:
    """Classify particles with the true volumes, contrasts and noise, but the recorded poses.

    Where the recorded poses are exact this is the Bayes classifier of equally frequent states, and
    no method is right more often on average; where they are not, it is a reference, not a bound.

    Args:
        stack: The particles.
        truth: Their truth.
        rows: Position of each particle in the truth.

    Returns:
        The state of the largest likelihood.
    """
    disc = stack.disc
    spectrum = truth.noise_spectrum[: disc.radius + 1]
    likelihood = FourierGaussian(disc, spectrum, spectrum)
    transforms = [volume_to_fourier(volume) for volume in truth.volumes]
    contrast = torch.from_numpy(truth.contrast[rows]).float()
    states = []
    for index in torch.arange(len(stack)).split(CHUNK):
        batch = stack.batch(index)
        scores = []
        for transform in transforms:
            slices = slice_volume(transform, stack.poses[index].rotations, disc)
            predicted = likelihood.predict(slices * contrast[index, None], batch)
            scores.append(likelihood.negative_log(batch.images, predicted))
        states.append(torch.stack(scores).argmin(dim=0))
    return torch.cat(states).numpy()


@torch.no_grad()
def per_image_fsc(
    decoder: Decoder, latents: Float[Tensor, "n zdim"], truth: Truth, states: Int[np.ndarray, " n"]
) -> Float[Tensor, "n shells"]:
    """Correlate each particle's decoded volume with the true volume of its state.

    Args:
        decoder: Renders the latents.
        latents: Posterior means.
        truth: Knows the volumes.
        states: True state of each particle.

    Returns:
        Correlation in shells 0 to ``box / 2 - 1``.
    """
    curves = [
        fourier_shell_correlation(decoder.volume(z[None])[0], truth.volumes[state])
        for z, state in zip(latents, states, strict=True)
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
