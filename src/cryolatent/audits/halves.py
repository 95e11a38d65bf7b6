"""Is there heterogeneity, and do a run's latents hold it? Asked of models of the other half."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float, Int

from cryolatent.analysis.bootstrap import bootstrap, mean_estimate
from cryolatent.audits.base import Audit
from cryolatent.runs.finding import Estimate, Finding, p_beyond, verdict_above
from cryolatent.sessions.crossread import HalfRead
from cryolatent.sessions.subject import Need, Subject

LEAST_GAIN = 0.01
"""Nats per particle that nobody would call structure, as in the choice of dimensions."""

LEAST_SHARE = 0.1
"""Share of the variance that latents must at least tell of."""

NEIGHBOURS = 20
PERMUTATIONS = 49
NOTHING = "Neither half of the particles supports any dimension."
WOULD = "Images made as the latents claim show it: so strong a heterogeneity would have been seen."
WOULD_NOT = "Images made as the latents claim would not show it either: too weak, or too few."


@dataclass(frozen=True, kw_only=True)
class Reality(Audit):
    """Do models with heterogeneity foretell unseen coefficients of unseen particles better?

    The statistic is the mean gain in log predictive density over a model of one volume, nats per
    particle. Both doubt poses, contrast and particles, so errors of those are no gain. Null: zero.

    Particles that show nothing refute a run only if they could have shown what it claims. So the
    same is asked of a replica of the data in which the claims hold: *fail* if that passes,
    *inconclusive* if it does not.

    Args:
        read: From `cross_read`.
        replica: Reads a replica in the same way; None if there is nothing that could be claimed.
        seed: Fixes resampling.
    """

    needs: ClassVar[tuple[Need, ...]] = ("latents",)

    read: tuple[HalfRead, HalfRead]
    replica: Callable[[], tuple[HalfRead, HalfRead] | None] = lambda: None
    seed: int = 0

    @property
    def name(self) -> str:
        """Name of the audit."""
        return "reality"

    @property
    def question(self) -> str:
        """What is asked, in a sentence."""
        return (
            "Does a model with heterogeneity, made of one half of the particles, foretell unseen "
            "Fourier coefficients of the other half better than one volume does?"
        )

    def answer(self, subject: Subject) -> Finding:
        """Compare both models on every particle."""
        statistic = self._gain(self.read)
        dimensions = [float(half.dimensions) for half in self.read]
        numbers = {
            f"dimensions_half{number}": Estimate.sure(value)
            for number, value in enumerate(dimensions, 1)
        }
        verdict = verdict_above(statistic, LEAST_GAIN)
        p_value = p_beyond(statistic, LEAST_GAIN)
        note = "" if any(dimensions) else NOTHING
        if not announces(subject):
            # a run that found nothing is contradicted by what is there, and by nothing else
            verdict = "fail" if verdict == "pass" else "not applicable"
            note = f"The run announces no heterogeneity. {note}".strip()
        elif verdict == "fail":
            again = self.replica()
            would = False
            if again is not None:
                numbers["gain_of_replica"] = gain = self._gain(again)
                would = verdict_above(gain, LEAST_GAIN) == "pass"
                # both have to be so
                p_value = max(p_value, p_beyond(gain, LEAST_GAIN))
            verdict = "fail" if would else "inconclusive"
            note = f"{note} {WOULD if would else WOULD_NOT}".strip()
        return self.finding(
            verdict,
            statistic,
            particles=sum(len(half.rows) for half in self.read),
            null=Estimate.sure(0.0),
            threshold=LEAST_GAIN,
            note=note,
            numbers=numbers,
        ).at(p_value)

    def _gain(self, read: tuple[HalfRead, HalfRead]) -> Estimate:
        return mean_estimate(np.concatenate([half.gain for half in read]), seed=self.seed)


@dataclass(frozen=True, kw_only=True)
class Agreement(Audit):
    """Do a run's latents tell what models that have not seen the particle say of it?

    The statistic is the share of the variance of those models' latents that a particle's
    neighbours in the run's latent space predict, itself left out, so neither scale, turn nor bend
    of either space matters. Null: the run's latents given to other particles.

    Args:
        read: From `cross_read`.
        seed: Fixes permutations and resampling.
    """

    needs: ClassVar[tuple[Need, ...]] = ("latents",)

    read: tuple[HalfRead, HalfRead]
    seed: int = 0

    @property
    def name(self) -> str:
        """Name of the audit."""
        return "agreement"

    @property
    def question(self) -> str:
        """What is asked, in a sentence."""
        return (
            "Do particles that are neighbours in the run's latent space look alike to a model that "
            "has seen none of them?"
        )

    def answer(self, subject: Subject) -> Finding:
        """Predict the halves' latents from the run's."""
        latents = subject.latents()
        if latents is None:
            raise TypeError("a need that is not met")
        z = latents.distribution.mean.numpy().astype(float)
        halves = [
            (half.latents, neighbours(z[half.rows], NEIGHBOURS))
            for half in self.read
            if half.dimensions and z.shape[1]
        ]
        if not halves:
            note = "The run has no latent dimensions." if not z.shape[1] else NOTHING
            return self.finding("inconclusive", particles=len(z), threshold=LEAST_SHARE, note=note)
        total = np.concatenate([np.square(x - x.mean(axis=0)).sum(axis=1) for x, _ in halves])
        rng = np.random.default_rng(self.seed)
        # latents of the halves given to other particles are the run's given to others
        null = [
            1
            - sum(unexplained_by(near, rng.permutation(x)).sum() for x, near in halves)
            / total.sum()
            for _ in range(PERMUTATIONS)
        ]
        left = np.concatenate([unexplained_by(near, x) for x, near in halves])
        statistic = bootstrap(
            lambda rows: 1 - float(left[rows].sum() / total[rows].sum()), len(left), seed=self.seed
        )
        chance = Estimate.of_null(null)
        threshold = max(LEAST_SHARE, chance.high)
        verdict = verdict_above(statistic, threshold)
        return self.finding(
            verdict, statistic, particles=len(left), null=chance, threshold=threshold
        )


def neighbours(z: Float[np.ndarray, "n d"], count: int) -> Int[np.ndarray, "n k"]:
    """Each particle's nearest others.

    Args:
        z: Latents.
        count: How many; fewer where there are not so many.

    Returns:
        Their positions; of equally near ones any.
    """
    from sklearn.neighbors import NearestNeighbors

    count = max(1, min(count, len(z) - 1))
    return NearestNeighbors(n_neighbors=count).fit(z).kneighbors(return_distance=False)


def unexplained_by(
    near: Int[np.ndarray, "n k"], values: Float[np.ndarray, "n c"]
) -> Float[np.ndarray, " n"]:
    """How badly particles' neighbours predict them.

    Args:
        near: Positions of each particle's neighbours.
        values: What is predicted.

    Returns:
        Squared errors of the neighbours' mean.
    """
    return np.square(values - values[near].mean(axis=1)).sum(axis=1)


def announces(subject: Subject) -> bool:
    """Whether a subject's latents say that particles differ.

    Args:
        subject: A run, or what is known of one.

    Returns:
        False if they have no dimensions, or one state.
    """
    latents = subject.latents()
    if latents is None:
        return False
    return latents.distribution.mean.shape[1] > int(latents.distribution.is_discrete)
