"""Particles in groups: the states that a run has found, or clusters of its latents."""

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
    """Particles in groups: states as the run numbers them, clusters by falling size.

    Args:
        labels: Most probable group of each particle.
        medoids: For each group, the particle that stands for it.
        centres: For each group, the latent whose volume is shown.
        shares: Probability of each particle to be of each group; ones and zeros where nothing says
            more.
        are_states: Whether they are states of the run, not clusters of a continuous latent.
    """

    labels: Int[np.ndarray, " n"]
    medoids: Int[np.ndarray, " c"]
    centres: Float[Tensor, "c zdim"]
    shares: Float[Tensor, "n c"]
    are_states: bool

    @property
    def word(self) -> str:
        """What one group is called: ``state`` or ``cluster``."""
        return "state" if self.are_states else "cluster"


def clusters_of(run: Run, clusters: int | None, seed: int) -> Clusters:
    """Group a run's particles: by the states that it has found, if any, or in so many clusters.

    Args:
        run: A finished run.
        clusters: Number of clusters; if left out, or if it is their number, the run's own states;
            `CLUSTERS` if there are none.
        seed: Fixes the starts.

    Returns:
        Groups, whose centres `decoder_of` renders.
    """
    latents, states = run.latents(), run.states()
    if states is not None and clusters in (None, states.distribution.mean.shape[1]):
        latents = states
    return find_clusters(latents.distribution, clusters or CLUSTERS, seed)


def decoder_of(run: Run, groups: Clusters) -> Decoder:
    """What renders the centres of `clusters_of`.

    Args:
        run: A finished run.
        groups: Of its particles.

    Returns:
        The decoder of the states' volumes, or the run's.
    """
    states = restore_states(run) if groups.are_states else None
    return (restore(run) if states is None else states).model.decoder


def find_clusters(posterior: Distribution, clusters: int, seed: int) -> Clusters:
    """Group particles.

    A categorical posterior has groups already, its states, and they keep their numbers; one of no
    dimensions has a single state. Normal posteriors with their covariances are read as a mixture of
    states at points, so a broad posterior counts for little. Means of other posteriors are
    clustered by k-means, and the particle nearest to the centre is shown.

    Args:
        posterior: One row per particle.
        clusters: Number of clusters; not looked at for a categorical posterior.
        seed: Fixes the starts.

    Returns:
        Groups; clusters without empty ones.
    """
    z = posterior.mean
    if not z.shape[1]:
        first = np.zeros(1, dtype=int)
        return Clusters(np.zeros(len(z), dtype=int), first, z[:1], torch.ones(len(z), 1), True)
    if posterior.is_discrete:
        labels, medoids = z.argmax(dim=1).numpy(), z.argmax(dim=0).numpy()
        return Clusters(labels, medoids, torch.eye(z.shape[1]), z, are_states=True)
    covariance = posterior.covariance_or_none
    if covariance is not None:
        gram, inner = likelihood_terms(z, covariance)
        mixture = fit_mixture(gram, inner, z, min(clusters, len(z)), seed=seed)
        return _ordered(mixture.moments(gram, inner).posterior.mean, mixture.points)
    labels, medoids = cluster_latents(z.numpy().astype(float), clusters, seed)
    shares = torch.nn.functional.one_hot(torch.from_numpy(labels).long(), len(medoids)).float()
    return Clusters(labels, medoids, z[torch.from_numpy(medoids)], shares, are_states=False)


def _ordered(shares: Float[Tensor, "n k"], centres: Float[Tensor, "k zdim"]) -> Clusters:
    best = shares.argmax(dim=1)
    sizes = torch.bincount(best, minlength=shares.shape[1])
    order = sizes.argsort(descending=True, stable=True)[: int((sizes > 0).sum())]
    rank = torch.full_like(sizes, -1)
    rank[order] = torch.arange(len(order))
    shares = shares[:, order]
    medoids = shares.argmax(dim=0).numpy()
    return Clusters(rank[best].numpy(), medoids, centres[order], shares, are_states=False)
