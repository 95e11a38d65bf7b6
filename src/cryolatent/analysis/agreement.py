"""How far two runs agree on the same particles."""

import numpy as np
import pyarrow.parquet as pq
from jaxtyping import Float, Int

from cryolatent.analysis.bootstrap import bootstrap, mean_estimate
from cryolatent.analysis.summary import Estimate, Record, read_summary
from cryolatent.errors import InputError
from cryolatent.runs.run import Run

NEIGHBOURS = 20


class Agreement(Record):
    """Agreement of two runs on the particles that they share."""

    first: str
    """Name of the one run."""

    second: str
    """Name of the other."""

    particles: int
    """Number of shared particles."""

    knn_k: int
    """Number of neighbours compared."""

    knn_overlap: Estimate
    """Share of common nearest neighbours beyond chance: 1 identical, 0 unrelated."""

    cka: Estimate
    """Linear centred kernel alignment of the latents: 1 equal up to rotation and scale."""

    cluster_ari: Estimate
    """Adjusted Rand index of the two clusterings: 1 identical, 0 unrelated."""


def compare(first: Run, second: Run) -> Agreement:
    """Compare two analysed runs, particle by particle.

    Args:
        first: An analysed run.
        second: An analysed run on at least some of the same particles.

    Returns:
        The agreement.

    Raises:
        InputError: If a run is not analysed, or they share fewer than three particles.
    """
    from sklearn.metrics import adjusted_rand_score

    a, b = first.latents(), second.latents()
    shared, rows_a, rows_b = np.intersect1d(a.ids, b.ids, return_indices=True)
    if len(shared) < 3:
        raise InputError(
            second.path,
            f"{len(shared)} particles in common with {first.path}",
            "runs on the same particles",
            "Compare runs that were trained on the same file.",
        )
    x = a.distribution.mean.numpy()[rows_a].astype(float)
    y = b.distribution.mean.numpy()[rows_b].astype(float)
    k = min(NEIGHBOURS, len(shared) - 2)
    labels = [_clusters(run)[rows] for run, rows in ((first, rows_a), (second, rows_b))]
    return Agreement(
        first=first.name,
        second=second.name,
        particles=len(shared),
        knn_k=k,
        knn_overlap=mean_estimate(knn_overlap(x, y, k)),
        cka=bootstrap(lambda rows: linear_cka(x[rows], y[rows]), len(shared)),
        cluster_ari=bootstrap(
            lambda rows: float(adjusted_rand_score(labels[0][rows], labels[1][rows])), len(shared)
        ),
    )


def knn_overlap(
    x: Float[np.ndarray, "n p"], y: Float[np.ndarray, "n q"], k: int
) -> Float[np.ndarray, " n"]:
    """Share of each particle's k nearest neighbours that two spaces have in common, over chance.

    ``(o - c) / (1 - c)`` with o the share and ``c = k / (n - 1)``, its expectation for unrelated
    spaces.

    Args:
        x: Latents.
        y: Latents of the same particles.
        k: Number of neighbours.

    Returns:
        One value per particle: 1 for the same neighbours, 0 on average for unrelated ones.
    """
    from sklearn.neighbors import NearestNeighbors

    first, second = (
        NearestNeighbors(n_neighbors=k).fit(space).kneighbors(return_distance=False)
        for space in (x, y)
    )
    share = (first[:, :, None] == second[:, None, :]).any(axis=2).mean(axis=1)
    chance = k / (len(x) - 1)
    return (share - chance) / (1 - chance)


def linear_cka(x: Float[np.ndarray, "n p"], y: Float[np.ndarray, "n q"]) -> float:
    """Linear centred kernel alignment: ``|XᵀY|² / (|XᵀX| |YᵀY|)``, columns centred.

    Args:
        x: Latents.
        y: Latents of the same particles.

    Returns:
        1 for latents equal up to rotation and scale; 0 for uncorrelated ones or constant ones.

    Source:
        Kornblith et al. 2019, arXiv:1905.00414, eq. 3 with linear kernels.
    """
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    norm = np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y)
    return float(np.linalg.norm(x.T @ y) ** 2 / norm) if norm > 0 else 0.0


def _clusters(run: Run) -> Int[np.ndarray, " n"]:
    read_summary(run)
    return pq.read_table(run.path / "analysis" / "embedding.parquet")["cluster"].to_numpy()
