"""Are a posterior's widths what they claim to be? Simulation-based calibration."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from cryolatent.analysis.bootstrap import bootstrap, mean_estimate
from cryolatent.analysis.density import covariance_of
from cryolatent.audits.base import Audit
from cryolatent.audits.halves import announces
from cryolatent.audits.reading import cannot_reread, chosen_particles, reread
from cryolatent.models.distributions import Distribution
from cryolatent.runs.finding import Estimate, Finding, Table, p_beyond, verdict_about
from cryolatent.sessions.subject import Need, Subject

NOMINAL = 0.9
BINS = 20
POINTS = "Its latents are points, which claim no width."
NARROW = "The posterior is surer than it should be: of {nominal:.0%} regions {value:.0%} hold."
WIDE = "The posterior is less sure than it could be: of {nominal:.0%} regions {value:.0%} hold."


@dataclass(frozen=True, kw_only=True)
class Calibration(Audit):
    """Simulate particles of known latents, read them, and see how often regions hold the truth.

    Latents are drawn from the prior and images from the run's model, at the recorded poses and
    transfer functions. If the posterior is the model's, the truth's rank among draws of it is
    uniform, so 90 % regions hold 90 % of the truths: that share is the statistic. Null: the
    binomial range of a posterior that is right. The decoder is not put to the test, nor whether it
    fits the data: that the run's own latents are distributed as the prior says is a further number.

    Args:
        threshold: How far from its nominal value the share may be.
        seed: Fixes particles, draws and resampling.

    Source:
        Talts et al. 2018, arXiv:1804.06788.
    """

    needs: ClassVar[tuple[Need, ...]] = (
        "latents",
        "system",
        "calibrated widths",
        "a posterior that reads images",
        "particles",
    )

    threshold: float = 0.05
    seed: int = 0

    @property
    def name(self) -> str:
        """Name of the audit."""
        return "calibration"

    @property
    def question(self) -> str:
        """What is asked, in a sentence."""
        return (
            "Of particles that are simulated from the run's own model, how many of the posterior's "
            "90 % regions hold the latent?"
        )

    def answer(self, subject: Subject) -> Finding:
        """Simulate up to 2,000 particles."""
        system, stack, latents = subject.system(), subject.particles(), subject.latents()
        if system is None or stack is None or latents is None:
            raise TypeError("a need that is not met")
        reason = cannot_reread(system, stack) or ("" if latents.distribution.is_bound else POINTS)
        if reason or not announces(subject):
            note = reason or "The run announces no heterogeneity."
            return self.finding("not applicable", threshold=self.threshold, note=note)
        index = chosen_particles(len(stack), self.seed)
        read = reread(system, stack, index, self.seed)
        rank = ranks(read.found, read.z, np.random.default_rng(self.seed))
        held = covered(rank, discrete=read.found.is_discrete)
        statistic = mean_estimate(held.mean(axis=1), seed=self.seed)
        spread = 1.96 * (NOMINAL * (1 - NOMINAL) / held.size) ** 0.5
        numbers = {"aggregate": aggregate(latents.distribution, self.seed)}
        if not read.found.is_discrete:
            numbers["temperature"] = temperature(rank, self.seed)
        verdict = verdict_about(statistic, NOMINAL, self.threshold)
        side = -1 if statistic.value < NOMINAL else 1
        words = NARROW if side < 0 else WIDE
        p_value = p_beyond(statistic, NOMINAL + side * self.threshold)
        note = words.format(nominal=NOMINAL, value=statistic.value) if verdict == "fail" else ""
        if note and "temperature" in numbers:
            note += f" Widths times {numbers['temperature'].value:.2g} would be right."
        return self.finding(
            verdict,
            statistic,
            particles=len(index),
            null=Estimate(value=NOMINAL, low=NOMINAL - spread, high=NOMINAL + spread),
            threshold=self.threshold,
            note=note,
            numbers=numbers,
            tables={"ranks": rank_table(rank)},
        ).at(p_value)


def ranks(
    q: Distribution, z: Float[Tensor, "n zdim"], rng: np.random.Generator
) -> Float[np.ndarray, "n d"]:
    """Ranks of latents among infinitely many draws of their posteriors, as shares.

    Args:
        q: Normal posteriors, or states.
        z: Latents.
        rng: Breaks ties of states.

    Returns:
        Uniform between 0 and 1 and independent if z is distributed as q says. Of normal
        distributions ``Φ(L⁻¹ (z - μ))`` with ``L Lᵀ = Σ``; of states one column, the probability of
        those that are likelier than the one that is so, and a random part of its own.

    Source:
        Talts et al. 2018, arXiv:1804.06788, theorem 1.
    """
    from scipy.special import ndtr

    mean = q.mean.double()
    if q.is_discrete:
        own = (mean * z).sum(1, keepdim=True)
        above = (mean * (mean > own)).sum(1, keepdim=True).numpy()
        return above + rng.random(above.shape) * own.numpy()
    covariance = covariance_of(q)
    if covariance is None:
        raise TypeError(f"{type(q).__name__} claims no width")
    root = torch.linalg.cholesky(covariance.double())
    off = (z.double() - mean)[..., None]
    return ndtr(torch.linalg.solve_triangular(root, off, upper=False)[..., 0].numpy())


def covered(
    rank: Float[np.ndarray, "n d"], *, discrete: bool, nominal: float = NOMINAL
) -> Float[np.ndarray, "n d"]:
    """Whether regions of a given probability hold the truth: central ones, or the likeliest states.

    Args:
        rank: From `ranks`.
        discrete: Whether of states.
        nominal: The probability.

    Returns:
        1 or 0.
    """
    content = rank if discrete else np.abs(2 * rank - 1)
    return (content < nominal).astype(float)


def temperature(rank: Float[np.ndarray, "n d"], seed: int = 0) -> Estimate:
    """What widths have to be multiplied by for nominal regions to hold as much as they claim.

    Args:
        rank: Of normal posteriors, from `ranks`.
        seed: Fixes resampling.

    Returns:
        ``Q(|u|) / Q(|ε|)`` with Q the nominal quantile, ``u = Φ⁻¹(rank)`` and ε standard normal.
    """
    from scipy.special import ndtri

    # farther than float64 tells apart is far enough
    off = np.abs(ndtri(np.clip(rank, 1e-16, 1 - 1e-16)))
    unit = float(ndtri(0.5 * (1 + NOMINAL)))
    return bootstrap(
        lambda rows: float(np.quantile(off[rows], NOMINAL)) / unit, len(rank), seed=seed
    )


def aggregate(q: Distribution, seed: int = 0) -> Estimate:
    """How the posteriors of all particles together differ from the prior: 1 if they do not.

    Args:
        q: One row per particle.
        seed: Fixes resampling.

    Returns:
        Variance of a draw of each posterior, mean of all dimensions, over the prior's; of states
        one less the total variation of their shares from the prior.

    Source:
        Aggregate posterior: Hoffman and Johnson 2016, "ELBO surgery".
    """
    mean = q.mean.double().numpy()
    if q.is_discrete:
        prior = q.prior_mean.double().numpy()
        return bootstrap(
            lambda rows: 1 - 0.5 * float(np.abs(mean[rows].mean(axis=0) - prior).sum()),
            len(mean),
            seed=seed,
        )
    width = q.as_diagonal().log_var.double().exp().numpy()
    return bootstrap(
        lambda rows: float((mean[rows].var(axis=0) + width[rows].mean(axis=0)).mean()),
        len(mean),
        seed=seed,
    )


def rank_table(rank: Float[np.ndarray, "n d"]) -> Table:
    """Histograms of ranks, a column per dimension.

    Args:
        rank: From `ranks`.

    Returns:
        Counts in bins of equal width; columns ``from``, ``rank_0`` ...
    """
    edges = np.linspace(0, 1, BINS + 1)
    columns = {"from": tuple(edges[:-1].tolist())}
    for axis, column in enumerate(rank.T):
        columns[f"rank_{axis}"] = tuple(np.histogram(column, edges)[0].astype(float).tolist())
    return Table(columns=columns)
