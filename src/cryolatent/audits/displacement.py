"""How far latents move when what they were read from is moved."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from cryolatent.analysis.agreement import range_of
from cryolatent.analysis.bootstrap import bootstrap
from cryolatent.runs.finding import Estimate

PARTNERS = 5
DRAWS = 200
SAME = 1e-6
"""Distances below this share of the largest latent count as none: float32 rounds there."""


@dataclass(frozen=True)
class Displacement:
    """Displacements of latents in units of the distance between unrelated particles.

    Args:
        each: One value per particle.
        median: Their median with its interval.
        null: The median if each particle's moved latent is given to another particle: about one.
    """

    each: Float[np.ndarray, " n"]
    median: Estimate
    null: Estimate


def displacement(
    z: Float[np.ndarray, "n zdim"], moved: Float[np.ndarray, "n zdim"], *, seed: int = 0
) -> Displacement | None:
    """Displacements ``|z'_i - z_i| / median |z_a - z_b|`` over random pairs of particles a, b.

    Each particle is paired with a few others at random. The interval is found by resampling
    particles, with their displacements and their pairs, so it knows of the unit's error too.

    Args:
        z: Latents.
        moved: Latents of the same particles after the move.
        seed: Fixes pairs, permutations and resampling.

    Returns:
        The displacements; None if there are fewer than two particles, no dimension, or half of all
        pairs coincide, so that there is no distance to compare with.
    """
    count = len(z)
    if count < 2 or not z.shape[1]:
        return None
    rng = np.random.default_rng(seed)
    order = rng.permutation(count)
    partners = [_partner(order, step) for step in range(1, min(PARTNERS, count - 1) + 1)]
    pairs = np.stack([np.linalg.norm(z - z[other], axis=1) for other in partners], axis=1)
    apart = np.linalg.norm(moved - z, axis=1)
    unit, least = float(np.median(pairs)), SAME * float(np.abs(z).max())
    if unit <= least:
        return None
    null = [
        np.median(np.linalg.norm(moved[_partner(rng.permutation(count), 1)] - z, axis=1)) / unit
        for _ in range(DRAWS)
    ]
    median = bootstrap(
        lambda rows: float(np.median(apart[rows]) / max(np.median(pairs[rows]), least)),
        count,
        seed=seed,
    )
    return Displacement(apart / unit, median, range_of(np.array(null)))


def own_neighbour(
    z: Float[np.ndarray, "n zdim"], moved: Float[np.ndarray, "n zdim"]
) -> Float[np.ndarray, " n"]:
    """Whether each moved particle's nearest neighbour among the unmoved ones is itself.

    Args:
        z: Latents.
        moved: Latents of the same particles after the move.

    Returns:
        1 or 0 per particle, or one over the number of equally near ones; ``1 / n`` on average by
        chance.
    """
    from scipy.spatial.distance import cdist

    distance = cdist(moved, z)
    own = distance.diagonal()[:, None]
    ties = (distance == own).sum(axis=1)
    return np.where((distance < own).any(axis=1), 0.0, 1.0 / ties)


def _partner(order: Int[np.ndarray, " n"], step: int) -> Int[np.ndarray, " n"]:
    """For each particle another one: the one `step` places further in a random order."""
    partner = np.empty_like(order)
    partner[order] = np.roll(order, -step)
    return partner
