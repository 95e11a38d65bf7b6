"""States or clusters in numbers: how many particles each has, and how surely."""

import numpy as np
from jaxtyping import Float

from cryolatent.analysis.bootstrap import bootstrap, mean_estimate
from cryolatent.analysis.clusters import Clusters
from cryolatent.analysis.summary import Cluster, Estimate
from cryolatent.models.latents import Latents


def describe_groups(latents: Latents, groups: Clusters) -> list[Cluster]:
    """Describe every group by its particles.

    Args:
        latents: Those of the run.
        groups: Of its particles.

    Returns:
        One record per group, in the order of their numbers.
    """
    shares = groups.shares.double().numpy()
    real = latents.is_particle.double().numpy()
    found = []
    for number, medoid in enumerate(groups.medoids):
        own = groups.labels == number
        found.append(
            Cluster(
                number=number,
                size=int(own.sum()),
                population=population(shares[:, number], real),
                certainty=_certainty(groups, shares[own, number]),
                medoid=str(latents.ids[medoid]),
            )
        )
    return found


def population(share: Float[np.ndarray, " n"], real: Float[np.ndarray, " n"]) -> Estimate:
    """Share of the particles that a group has, particles that are none left out.

    Args:
        share: Probability of each particle to be of the group.
        real: Probability of each to be a particle.

    Returns:
        ``Σ r s / Σ r`` with its interval over resamples of the particles; it does not contain what
        another training would change.
    """
    part = real * share
    return bootstrap(lambda rows: float(part[rows].sum() / real[rows].sum()), len(part))


def _certainty(groups: Clusters, shares: Float[np.ndarray, " m"]) -> Estimate | None:
    """None for groups of a clustering that says no probabilities, and for a single one."""
    hard = bool(((groups.shares == 0) | (groups.shares == 1)).all())
    return None if hard or not len(shares) else mean_estimate(shares)
