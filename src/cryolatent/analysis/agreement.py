"""How far two runs agree on the same particles, and how far they would by chance."""

from collections.abc import Callable

import numpy as np
import pyarrow.parquet as pq
from jaxtyping import Float, Int, Shaped

from cryolatent.analysis.bootstrap import bootstrap, mean_estimate
from cryolatent.analysis.embedding import latent_points
from cryolatent.analysis.summary import Estimate, Record, read_summary
from cryolatent.errors import InputError
from cryolatent.runs.run import Run

NEIGHBOURS = 20
DRAWS = 200


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

    cka_null: Estimate
    """The same if particles are permuted: its mean and the range of 95 % of permutations."""

    procrustes: Estimate
    """Share of variance that the best rotation and scale of one run's latents explain of the
    other's: 1 equal up to these, towards 0 unrelated."""

    procrustes_null: Estimate
    """The same if particles are permuted: its mean and the range of 95 % of permutations."""

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
    a, b = first.latents(), second.latents()
    shared, rows_a, rows_b = np.intersect1d(a.ids, b.ids, return_indices=True)
    if len(shared) < 3:
        raise InputError(
            second.path,
            f"{len(shared)} particles in common with {first.path}",
            "runs on the same particles",
            "Compare runs that were trained on the same file.",
        )
    x, y = latent_points(a)[rows_a], latent_points(b)[rows_b]
    k = min(NEIGHBOURS, len(shared) - 2)
    labels = [_clusters(run)[rows] for run, rows in ((first, rows_a), (second, rows_b))]
    return Agreement(
        first=first.name,
        second=second.name,
        particles=len(shared),
        knn_k=k,
        knn_overlap=mean_estimate(knn_overlap(x, y, k)),
        cka=bootstrap(lambda rows: linear_cka(x[rows], y[rows]), len(shared)),
        cka_null=range_of(null_agreement(x, y, linear_cka)),
        procrustes=bootstrap(lambda rows: procrustes(x[rows], y[rows]), len(shared)),
        procrustes_null=range_of(null_agreement(x, y, procrustes)),
        cluster_ari=bootstrap(
            lambda rows: adjusted_rand_index(labels[0][rows], labels[1][rows]), len(shared)
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

    Source:
        The criterion R_NX of Lee et al. 2015, doi:10.1016/j.neucom.2014.12.095, before the average.
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


def procrustes(x: Float[np.ndarray, "n p"], y: Float[np.ndarray, "n q"]) -> float:
    """Share of one space's variance that the best rotation, mirror and scale of the other explain.

    ``(|XᵀY|_* / (|X| |Y|))²``, columns centred, with the nuclear norm above and Frobenius norms
    below: one minus scipy's Procrustes disparity. It is the same in both directions. Spaces of
    unequal dimensions are compared as if the smaller had further, constant dimensions. Unlike the
    neighbours it sees the large shape only; unlike the alignment it does not prefer the directions
    of largest variance.

    Args:
        x: Latents.
        y: Latents of the same particles.

    Returns:
        1 for latents equal up to rotation and scale; 0 for uncorrelated ones or constant ones. Few
        particles in many dimensions reach more by chance: see `null_agreement`.

    Source:
        Schönemann 1966, doi:10.1007/BF02289451; Gower 1975, doi:10.1007/BF02291478.
    """
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    norm = np.linalg.norm(x) * np.linalg.norm(y)
    return float((np.linalg.norm(x.T @ y, "nuc") / norm) ** 2) if norm > 0 else 0.0


def adjusted_rand_index(first: Int[np.ndarray, " n"], second: Int[np.ndarray, " n"]) -> float:
    """Share of pairs that two clusterings treat alike, together or apart, corrected for chance.

    ``(index - expected) / (largest - expected)``, with the expectation over clusterings of the same
    sizes.

    Args:
        first: Clusters.
        second: Clusters of the same particles.

    Returns:
        1 for the same clusters, 0 on average for unrelated ones.

    Source:
        Hubert and Arabie 1985, doi:10.1007/BF01908075.
    """
    from sklearn.metrics import adjusted_rand_score

    return float(adjusted_rand_score(first, second))


def null_agreement(
    x: Shaped[np.ndarray, "n *p"],
    y: Shaped[np.ndarray, "n *q"],
    measure: Callable[[np.ndarray, np.ndarray], float],
    *,
    seed: int = 0,
    draws: int = DRAWS,
) -> Float[np.ndarray, " draws"]:
    """A measure's values if nothing links the particles of two runs: rows of one are permuted.

    Args:
        x: Latents or clusters.
        y: Latents or clusters of the same particles.
        measure: Any measure of agreement of the two.
        seed: Fixes the permutations.
        draws: Number of permutations.

    Returns:
        One value per permutation.
    """
    rng = np.random.default_rng(seed)
    return np.array([measure(x, y[rng.permutation(len(y))]) for _ in range(draws)], dtype=float)


def range_of(draws: Float[np.ndarray, " draws"]) -> Estimate:
    """The mean and the central 95 % of a distribution.

    Args:
        draws: Values drawn from it.

    Returns:
        Mean and range.
    """
    low, high = np.quantile(draws, (0.025, 0.975))
    return Estimate(value=float(draws.mean()), low=float(low), high=float(high))


def _clusters(run: Run) -> Int[np.ndarray, " n"]:
    read_summary(run)
    return pq.read_table(run.analysis / "embedding.parquet")["cluster"].to_numpy()
