"""Clusters of particles, read from each particle's own posterior."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from cryolatent.analysis.embedding import cluster_latents
from cryolatent.models import Decoder, Distribution
from cryolatent.models.mixture import fit_mixture, likelihood_terms
from cryolatent.runs.run import Run
from cryolatent.sessions.systems import restore, restore_states

CLUSTERS = 6
"""Where neither the run nor the user says how many."""


@dataclass(frozen=True)
class Clusters:
    """Particles in groups, the largest first.

    Args:
        labels: Cluster of each particle.
        medoids: For each cluster, the particle that stands for it.
        centres: For each cluster, the latent whose volume is shown.
    """

    labels: Int[np.ndarray, " n"]
    medoids: Int[np.ndarray, " c"]
    centres: Float[Tensor, "c zdim"]


def clusters_of(run: Run, clusters: int | None, seed: int) -> Clusters:
    """Group a run's particles: by the states that it read, if any, or in so many clusters.

    Args:
        run: A finished run.
        clusters: Number of clusters; if left out the run's own states, or `CLUSTERS` if there are
            none.
        seed: Fixes the starts.

    Returns:
        Clusters, whose centres `decoder_of` renders.
    """
    states = run.states() if clusters is None else None
    latents = run.latents() if states is None else states
    return find_clusters(latents.distribution, clusters or CLUSTERS, seed)


def decoder_of(run: Run, clusters: int | None) -> Decoder:
    """What renders the centres of `clusters_of`.

    Args:
        run: A finished run.
        clusters: As there.

    Returns:
        The decoder of the states' volumes, or the run's.
    """
    states = restore_states(run) if clusters is None else None
    return (restore(run) if states is None else states).model.decoder


def find_clusters(posterior: Distribution, clusters: int, seed: int) -> Clusters:
    """Group particles.

    States of a categorical posterior are clusters already. Normal posteriors with their covariances
    are read as a mixture of states at points, so a broad posterior counts for little. Means of
    other posteriors are clustered by k-means, and the particle nearest to the centre is shown.

    Args:
        posterior: One row per particle.
        clusters: Number of clusters; not looked at for a categorical posterior.
        seed: Fixes the starts.

    Returns:
        Clusters without empty ones; one of latents of no dimensions.
    """
    z = posterior.mean
    if not z.shape[1]:
        return Clusters(np.zeros(len(z), dtype=int), np.zeros(1, dtype=int), z[:1])
    if posterior.is_discrete:
        return _ordered(z, torch.eye(z.shape[1]))
    covariance = posterior.covariance_or_none
    if covariance is not None:
        gram, inner = likelihood_terms(z, covariance)
        mixture = fit_mixture(gram, inner, z, min(clusters, len(z)), seed=seed)
        return _ordered(mixture.moments(gram, inner).posterior.mean, mixture.points)
    labels, medoids = cluster_latents(z.numpy().astype(float), clusters, seed)
    return Clusters(labels, medoids, z[torch.from_numpy(medoids)])


def _ordered(shares: Float[Tensor, "n k"], centres: Float[Tensor, "k zdim"]) -> Clusters:
    best = shares.argmax(dim=1)
    sizes = torch.bincount(best, minlength=shares.shape[1])
    order = sizes.argsort(descending=True, stable=True)[: int((sizes > 0).sum())]
    rank = torch.full_like(sizes, -1)
    rank[order] = torch.arange(len(order))
    medoids = shares[:, order].argmax(dim=0)
    return Clusters(rank[best].numpy(), medoids.numpy(), centres[order])
