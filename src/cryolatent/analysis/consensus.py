"""What several runs of the same particles say of each of them, whoever made the runs."""

from collections.abc import Sequence
from pathlib import PurePath

import numpy as np
from jaxtyping import Bool, Float, Int


def shared_particles(names: Sequence[np.ndarray]) -> list[Int[np.ndarray, " n"]]:
    """Find the particles that all runs have.

    Programs name folders differently, so where fewer than half of a run's names are in all the
    others as they are, an image is known by its number and the last part of its stack's name.

    Args:
        names: The particles' names of each run.

    Returns:
        For each run the rows of the shared particles, in one order for all.
    """
    rows = _in_common(names)
    if 2 * len(rows[0]) < min(map(len, names)):
        short = [np.array([_short(name) for name in own.tolist()], dtype=np.str_) for own in names]
        if all(len(np.unique(own)) == len(own) for own in short):
            by_image = _in_common(short)
            rows = by_image if len(by_image[0]) > len(rows[0]) else rows
    return rows


def matched_labels(
    reference: Int[np.ndarray, " n"], labels: Int[np.ndarray, " n"]
) -> Int[np.ndarray, " n"]:
    """Name one run's groups by those of another that they share most particles with.

    Args:
        reference: Groups, numbered from zero.
        labels: Groups of the same particles.

    Returns:
        The second groups by the numbers of the first, so that as many particles as possible have
        the same; groups without a partner get numbers of their own.

    Source:
        Kuhn 1955, doi:10.1002/nav.3800020109.
    """
    from scipy.optimize import linear_sum_assignment

    counts = np.zeros((reference.max() + 1, labels.max() + 1), dtype=int)
    np.add.at(counts, (reference, labels), 1)
    first, second = linear_sum_assignment(-counts)
    new = np.full(counts.shape[1], -1)
    new[second] = first
    new[new < 0] = counts.shape[0] + np.arange((new < 0).sum())
    return new[labels]


def label_entropy(labels: Int[np.ndarray, "runs n"]) -> Float[np.ndarray, " n"]:
    """How much runs differ about the group of each particle.

    ``-Σ p log p / log R`` with p the share of the R runs that put it into a group.

    Args:
        labels: Matched groups, at least two runs.

    Returns:
        0 where all runs agree, 1 where each says something else.
    """
    shares = np.stack([(labels == label).mean(axis=0) for label in np.unique(labels)])
    terms = np.where(shares > 0, shares * np.log(np.where(shares > 0, shares, 1.0)), 0.0)
    return np.abs(terms.sum(axis=0)) / np.log(len(labels))


def adjusted_mutual_information(
    first: Int[np.ndarray, " n"], second: Int[np.ndarray, " n"]
) -> float:
    """Information that two clusterings share, corrected for chance.

    Args:
        first: Clusters.
        second: Clusters of the same particles.

    Returns:
        1 for the same clusters, 0 on average for unrelated ones.

    Source:
        Vinh, Epps and Bailey 2010, JMLR 11:2837, with the arithmetic mean of the entropies.
    """
    from sklearn.metrics import adjusted_mutual_info_score

    return float(adjusted_mutual_info_score(first, second))


def agreeing(agrees: Bool[np.ndarray, "runs runs"]) -> list[list[int]]:
    """Put runs together that agree, directly or by way of others.

    Args:
        agrees: Which pairs do; symmetric.

    Returns:
        Groups of runs, the largest first.
    """
    from scipy.sparse.csgraph import connected_components

    count, group = connected_components(agrees, directed=False)
    return sorted((np.flatnonzero(group == g).tolist() for g in range(count)), key=len)[::-1]


def _in_common(names: Sequence[np.ndarray]) -> list[Int[np.ndarray, " n"]]:
    common = names[0]
    for own in names[1:]:
        common = np.intersect1d(common, own)
    found = []
    for own in names:
        order = np.argsort(own)
        found.append(order[np.searchsorted(own, common, sorter=order)])
    return found


def _short(name: str) -> str:
    number, at, file = name.partition("@")
    return f"{number.lstrip('0')}@{PurePath(file).name}" if at else name
