"""What is measured of a trained run of an experiment."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from cryolatent.analysis import fsc_area, per_image_fsc, rand_index
from cryolatent.analysis.bootstrap import mean_estimate
from cryolatent.analysis.clusters import find_clusters
from cryolatent.models import Decoder, Distribution
from cryolatent.physics import within_shells
from cryolatent.runs.finding import Estimate, Finding, Record
from cryolatent.simulate.truth import JUNK, Truth

PERMUTATIONS = 200


class Measures(Record):
    """The numbers of one run."""

    diverged: bool = False
    """Whether the training, or that of the run that it starts from, ended in values that are not
    finite; then nothing else is measured."""

    steps: int = 0
    """Steps of gradient descent."""

    core_seconds: float = 0.0
    """Processor seconds of the training."""

    bound: Estimate | None = None
    """Evidence lower bound of the particles trained on, in nats per particle."""

    held_out: Estimate | None = None
    """The same of particles that the training has not seen."""

    kl: float | None = None
    """Mean divergence of the posteriors from the prior, in nats."""

    ari: Estimate | None = None
    """Adjusted Rand index of clusters of the latents against the true states."""

    fsc_area: Estimate | None = None
    """Mean area under the per-image Fourier shell correlation with the true volumes."""

    heterogeneity: Estimate | None = None
    """Recovered share of the true states' differences, with the interval of its null."""

    spread: float | None = None
    """Root mean square deviation of the particles' volumes from their mean, over its own root
    mean square."""

    misfit: tuple[float, ...] = ()
    """Mean misfit of each epoch of the training."""

    moves: tuple[Finding, ...] = ()
    """What became of moved images, of experiments that are asked."""


@dataclass(frozen=True)
class Scored:
    """A run's numbers and what its pictures show.

    Args:
        ari: See `Measures`.
        fsc_area: See `Measures`.
        heterogeneity: See `Measures`.
        spread: See `Measures`.
        labels: Cluster of each particle.
        volumes: The volume of each cluster.
    """

    ari: Estimate | None
    fsc_area: Estimate | None
    heterogeneity: Estimate | None
    spread: float
    labels: Int[np.ndarray, " n"]
    volumes: Float[Tensor, "c z y x"]


@torch.no_grad()
def score(
    decoder: Decoder,
    q: Distribution,
    ids: np.ndarray,
    shells: int,
    truth: Truth | None,
    particles: int,
    *,
    clusters: int,
) -> Scored:
    """Measure latents and volumes.

    Args:
        decoder: Renders latents.
        q: Posterior of each particle.
        ids: The particles' names.
        shells: Last Fourier shell that was trained.
        truth: What is known of the particles, if they are simulated.
        particles: How many of them are rendered.
        clusters: Number of clusters looked for.

    Returns:
        Numbers and pictures.
    """
    groups = find_clusters(q, clusters, seed=0)
    z = q.mean
    state = None if truth is None else truth.state[truth.match(ids, Path("truth"))]
    chosen = _balanced(state, len(z), particles)
    rendered = torch.stack(
        [within_shells(decoder.volume(z[i][None])[0], 1, shells) for i in chosen]
    )
    # what was not trained is not shown
    volumes = torch.cat(
        [within_shells(decoder.volume(centre[None]), 0, shells) for centre in groups.centres]
    )
    mean = rendered.mean(dim=0)
    spread = float((rendered - mean).square().mean().sqrt() / mean.square().mean().sqrt())
    if truth is None or state is None:
        return Scored(None, None, None, spread, groups.labels, volumes)
    true_volumes = within_shells(truth.volumes, 1, shells)
    curves = per_image_fsc(decoder, z[chosen], (truth.volumes[s] for s in state[chosen]))
    return Scored(
        rand_index(groups.labels, state),
        mean_estimate(fsc_area(curves).numpy()),
        recovered_heterogeneity(rendered, state[chosen], true_volumes),
        spread,
        groups.labels,
        volumes,
    )


def recovered_heterogeneity(
    volumes: Float[Tensor, "n z y x"],
    state: Int[np.ndarray, " n"],
    true_volumes: Float[Tensor, "s z y x"],
    *,
    seed: int = 0,
) -> Estimate:
    """How much of the states' true differences the particles' volumes show.

    With ``W`` the mean volume of the particles of a state minus the mean of all, and ``T`` the
    same of the true volumes, ``Σ_n <W_s(n), T_s(n)> / Σ_n |T_s(n)|²``: the slope of a regression
    on the truth. A decoder that shows one consensus has 0, one that shows each particle's state has
    1, and latents that have nothing to do with the particles have 0 on average.

    Args:
        volumes: Volume of each particle.
        state: Its true state.
        true_volumes: Volume of each state.
        seed: Fixes the permutations.

    Returns:
        The slope; the interval is that of its null, the particles' states permuted.
    """
    signal = true_volumes[torch.from_numpy(state)].flatten(1)
    signal = signal - signal.mean(dim=0)
    shown = volumes.flatten(1)
    # every number below needs only these products
    products = (shown - shown.mean(dim=0)) @ signal.T
    power = float(signal.square().sum())
    rng = np.random.default_rng(seed)
    draws = [
        float(products[np.arange(len(state)), rng.permutation(len(state))].sum()) / power
        for _ in range(PERMUTATIONS)
    ]
    low, high = np.quantile(draws, (0.025, 0.975))
    return Estimate(value=float(products.trace()) / power, low=float(low), high=float(high))


def _balanced(
    state: Int[np.ndarray, " n"] | None, particles: int, wanted: int
) -> Int[np.ndarray, " m"]:
    """Particles to render: as many of each state, in the order of the file."""
    if state is None:
        return np.arange(min(wanted, particles))
    kinds = [s for s in np.unique(state) if s != JUNK]
    each = max(1, wanted // len(kinds))
    return np.sort(np.concatenate([np.flatnonzero(state == s)[:each] for s in kinds]))
