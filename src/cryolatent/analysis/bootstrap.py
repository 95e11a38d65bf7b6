"""Intervals by resampling particles."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Int

from cryolatent.analysis.summary import Estimate

RESAMPLES = 1000


def bootstrap(
    statistic: Callable[[Int[np.ndarray, " n"]], float],
    particles: int,
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Estimate:
    """A statistic of all particles with its 95 % percentile interval.

    Args:
        statistic: Maps particle positions, with repeats, to a number.
        particles: Number of particles.
        seed: Fixes the resampling.
        resamples: Number of resamples.

    Returns:
        The statistic and its interval.

    Source:
        Efron 1979, doi:10.1214/aos/1176344552.
    """
    rng = np.random.default_rng(seed)
    draws = [statistic(rng.integers(particles, size=particles)) for _ in range(resamples)]
    low, high = np.quantile(draws, (0.025, 0.975))
    return Estimate(value=statistic(np.arange(particles)), low=float(low), high=float(high))


def mean_estimate(values: np.ndarray, *, seed: int = 0) -> Estimate:
    """A mean with its 95 % bootstrap interval.

    Args:
        values: One per particle.
        seed: Fixes the resampling.

    Returns:
        The mean and its interval.
    """
    values = np.asarray(values, dtype=float)
    return bootstrap(lambda rows: float(values[rows].mean()), len(values), seed=seed)
