"""Scores what a program found against a simulation's truth."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score
from sklearn.mixture import GaussianMixture
from torch import Tensor

from benchmarks.peers.records import Point
from cryolatent.analysis.against_truth import FSC_PARTICLES
from cryolatent.analysis.bootstrap import mean_estimate
from cryolatent.analysis.summary import Estimate
from cryolatent.analysis.truth import fsc_area, rand_index
from cryolatent.physics import fourier_shell_correlation
from cryolatent.simulate.truth import JUNK, Truth

STARTS = 10
PATIENCE, LEAST_GAIN, LEFT_CHANCE = 5, 0.01, 0.1


def best_labels(latents: Float[np.ndarray, "n zdim"], state: Int[np.ndarray, " n"]) -> np.ndarray:
    """Cluster latents as favourably as the truth allows.

    Args:
        latents: Posterior means.
        state: True states, -1 for junk; their number is given to the clustering.

    Returns:
        The labels of k-means or of a Gaussian mixture, whichever agree better with the truth.
    """
    real = state != JUNK
    states = len(np.unique(state[real]))
    candidates = (
        KMeans(states, n_init=STARTS, random_state=0).fit_predict(latents),
        GaussianMixture(states, n_init=STARTS, random_state=0).fit_predict(latents),
    )
    return max(candidates, key=lambda labels: adjusted_rand_score(state[real], labels[real]))


def point(step: int, cpu_seconds: float, labels: Int[np.ndarray, " n"], truth: Truth) -> Point:
    """Quality at a cost.

    Args:
        step: Epoch or iteration.
        cpu_seconds: Until then.
        labels: Clusters or classes in the order of the truth.
        truth: The truth.

    Returns:
        The point, without an interval.
    """
    real = truth.state != JUNK
    index = adjusted_rand_score(truth.state[real], labels[real])
    return Point(step, round(cpu_seconds, 2), round(float(index), 4))


def settled(curve: Sequence[Point]) -> Point:
    """Find where a training may stop.

    Args:
        curve: Quality by epoch.

    Returns:
        The first point, once the index has left chance, that is better by less than `LEAST_GAIN`
        than the best one `PATIENCE` epochs before; the last point if there is none.
    """
    for point in curve:
        before = [other.ari for other in curve if other.step <= point.step - PATIENCE]
        if before and LEFT_CHANCE < point.ari < max(before) + LEAST_GAIN:
            return point
    return curve[-1]


def score_labels(labels: Int[np.ndarray, " n"], truth: Truth) -> Estimate:
    """Adjusted Rand index of labels given in the order of the truth.

    Args:
        labels: Clusters or classes.
        truth: The truth.

    Returns:
        The index with its interval.
    """
    return rand_index(labels, truth.state)


def chosen_particles(truth: Truth, seed: int = 0) -> Int[np.ndarray, " m"]:
    """Draw the particles of the per-image FSC, the same ones that ``cryolatent analyze`` draws.

    Args:
        truth: The truth.
        seed: Fixes the draw.

    Returns:
        Positions in the truth.
    """
    real = np.flatnonzero(truth.state != JUNK)
    return np.random.default_rng(seed).permutation(real)[:FSC_PARTICLES]


def score_maps(maps: Mapping[int, Float[Tensor, "z y x"]], truth: Truth) -> Estimate:
    """Mean per-image FSC area.

    Args:
        maps: The map that a method gives each of the chosen particles, by position in the truth.
        truth: The truth.

    Returns:
        The mean with its interval.
    """
    curves = [
        fourier_shell_correlation(volume, truth.volumes[truth.state[row]])
        for row, volume in maps.items()
    ]
    return mean_estimate(fsc_area(torch.stack(curves)).numpy())
