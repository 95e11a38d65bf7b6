"""One pass over the particles: expectation, and the sums that maximisation needs."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from cryolatent.data import FilteredImages
from cryolatent.models.hypothesis import Hypothesis
from cryolatent.physics import FourierDisc, FourierLattice, NormalEquations, residual_power
from cryolatent.train.em.corrections import PassDraws


@dataclass(frozen=True)
class Sums:
    """What passes over parts of the particles add up to; nothing of it is a mean.

    Args:
        evidence: Log evidence of the particles, in nats.
        kl: The posteriors' divergences from the prior, in nats.
        mean: Posterior means of z.
        particles: How many particles, each by the probability that it is one.
        observations: How many observations, likewise.
        matrix: Packed normal matrices at the voxels.
        vector: Right-hand sides at the voxels.
        power: Expected squared residuals of shells 0 to ``disc.radius``, if asked for.
    """

    evidence: Float[Tensor, ""]
    kl: Float[Tensor, ""]
    mean: Float[Tensor, " zdim"]
    particles: Float[Tensor, ""]
    observations: Float[Tensor, ""]
    matrix: Float[Tensor, "v p"]
    vector: Complex[Tensor, "v c"]
    power: Float[Tensor, " shells"] | None

    def __add__(self, other: "Sums") -> "Sums":
        """The sums over the particles of both."""
        both = (self.power, other.power)
        return Sums(
            self.evidence + other.evidence,
            self.kl + other.kl,
            self.mean + other.mean,
            self.particles + other.particles,
            self.observations + other.observations,
            self.matrix + other.matrix,
            self.vector + other.vector,
            None if both[0] is None or both[1] is None else both[0] + both[1],
        )

    def finished(self, lattice: FourierLattice) -> "Pass":
        """What the sums say; here, once a pass, numbers are read from the device.

        Args:
            lattice: Where the voxels belong.

        Returns:
            Means where they are wanted.
        """
        noise = None
        if self.power is not None:
            noise = mean_residual(self.power, self.observations, lattice.disc)
        mean = (self.mean / self.particles).float()
        return Pass(float(self.evidence), self.matrix, self.vector, mean, float(self.kl), noise)


@dataclass(frozen=True)
class Pass:
    """What one pass over the particles found.

    Args:
        evidence: Sum of the particles' log evidence, in nats.
        matrix: Packed normal matrices at the voxels.
        vector: Right-hand sides at the voxels.
        mean: Mean of the posterior means of z.
        kl: Sum of the posteriors' divergences from the prior, in nats.
        noise: Expected mean square residual of shells 0 to ``disc.radius``, if asked for.
    """

    evidence: float
    matrix: Float[Tensor, "v p"]
    vector: Complex[Tensor, "v c"]
    mean: Float[Tensor, " zdim"]
    kl: float
    noise: Float[Tensor, " shells"] | None


def sweep(
    parts: Iterable[FilteredImages],
    hypothesis: Hypothesis,
    draws: PassDraws | None = None,
    *,
    refit_noise: bool = False,
) -> Sums:
    """Expectation for every particle, and the sums for maximisation.

    Args:
        parts: The particles, chunk by chunk.
        hypothesis: Under which they are explained.
        draws: Where they are inserted; needed where poses are doubted.
        refit_noise: Whether the residuals are wanted too.

    Returns:
        Sums over all particles, which those over others can be added to.
    """
    lattice, values, noise = hypothesis.lattice, hypothesis.values, hypothesis.noise
    posterior = hypothesis.posterior
    equations = NormalEquations(lattice, values.shape[1], independent=posterior.independent)
    gains = 1 / noise[lattice.disc.shells]
    evidence, kl, particles, observations = (
        noise.new_zeros((), dtype=torch.double) for _ in range(4)
    )
    mean = noise.new_zeros(values.shape[1] - (not posterior.independent))
    power = noise.new_zeros(lattice.disc.radius + 1, dtype=torch.double) if refit_noise else None
    for part in parts:
        found = hypothesis.explain(part, *(() if draws is None else draws.about(part)))
        q, share = found.moments.posterior, found.share
        evidence = evidence + found.evidence.double().sum()
        kl = kl + (share * q.kl()).double().sum()
        there, first, second = found.insertion(*(() if draws is None else draws.normal(part)))
        moments = posterior.packed(second)[part.owner], first[part.owner]
        equations.insert(there.images, there.weights, gains, moments, there.rotations)
        weight = share[part.owner, None]
        if power is not None:
            power = power + residual_power(
                values, there.images, there.weights, moments, there.rotations, lattice
            )
            power[1:] += (weight * part.power).double().sum(0)
        mean = mean + (share[:, None] * q.mean).sum(0)
        particles = particles + share.double().sum()
        observations = observations + weight.double().sum()
    return Sums(evidence, kl, mean, particles, observations, *equations.total(), power)


def mean_residual(
    power: Float[Tensor, " shells"], images: int | Float[Tensor, ""], disc: FourierDisc
) -> Float[Tensor, " shells"]:
    """Noise variance of sums of squared residuals.

    Args:
        power: Sums over images and coefficients of shells 0 to ``disc.radius``.
        images: How many images.
        disc: Their coefficients.

    Returns:
        Variance of shells 0 to ``disc.radius``; shell 0 copies shell 1.
    """
    count = disc.to(power.device).shell_count().clamp(min=1)
    noise = (power / (images * count)).float()
    noise[0] = noise[1]
    return noise
