"""One pass over the particles: expectation, and the sums that maximisation needs."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Complex, Float, Int
from torch import Tensor

from cryolatent.data import FilteredImages
from cryolatent.models.contrast import ONE, Contrast
from cryolatent.models.posteriors.exact import ClosedForm
from cryolatent.physics import (
    FourierLattice,
    NormalEquations,
    residual_power,
    slice_products,
)


@dataclass(frozen=True)
class Statistics:
    """What a particle's images say of its coefficients, at one state of the volumes.

    Args:
        index: Position of each particle in its stack.
        gram: Packed ``2 Re(gᴴ Σ⁻¹ g)``.
        inner: ``2 Re(gᴴ Σ⁻¹ x)``.
        empty: Log density of the images without any particle.
    """

    index: Int[Tensor, " n"]
    gram: Float[Tensor, "n p"]
    inner: Float[Tensor, "n c"]
    empty: Float[Tensor, " n"]


def statistics(
    part: FilteredImages,
    values: Complex[Tensor, "v c"],
    noise: Float[Tensor, " shells"],
    lattice: FourierLattice,
    *,
    independent: bool,
) -> Statistics:
    """Compare images with the slices of every component.

    Args:
        part: Some particles.
        values: Components at the lattice's voxels.
        noise: Noise variance of shells 0 to ``disc.radius``.
        lattice: Where the values belong.
        independent: Whether products of different components are left out.

    Returns:
        One row per particle.
    """
    disc = lattice.disc
    gains = 2 / noise[disc.shells]
    gram, inner = slice_products(
        values, part.images, part.weights, gains, part.rotations, lattice, independent=independent
    )
    count = disc.shell_count()[1:]
    normaliser = (count * torch.log(torch.pi * noise[1:])).sum()
    empty = -(part.power / noise[1:]).sum(-1) - normaliser

    def by_particle(rows: Tensor) -> Tensor:
        return rows.new_zeros(len(part), *rows.shape[1:]).index_add(0, part.owner, rows)

    return Statistics(part.index, *map(by_particle, (gram, inner, empty)))


@dataclass(frozen=True)
class Sums:
    """What passes over parts of the particles add up to; nothing of it is a mean.

    Args:
        evidence: Log evidence of the particles, in nats.
        kl: The posteriors' divergences from the prior, in nats.
        mean: Posterior means of z.
        particles: How many particles.
        observations: How many observations.
        matrix: Packed normal matrices at the voxels.
        vector: Right-hand sides at the voxels.
        power: Expected squared residuals of shells 0 to ``disc.radius``, if asked for.
    """

    evidence: Float[Tensor, ""]
    kl: Float[Tensor, ""]
    mean: Float[Tensor, " zdim"]
    particles: int
    observations: int
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
            count = lattice.disc.to(self.power.device).shell_count().clamp(min=1)
            noise = (self.power / (self.observations * count)).float()
            noise[0] = noise[1]
        mean = self.mean / self.particles
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
    values: Complex[Tensor, "v c"],
    noise: Float[Tensor, " shells"],
    lattice: FourierLattice,
    posterior: ClosedForm,
    contrast: Contrast = ONE,
    *,
    refit_noise: bool = False,
) -> Sums:
    """Expectation for every particle, and the sums for maximisation.

    Args:
        parts: The particles, chunk by chunk.
        values: Components at the lattice's voxels.
        noise: Noise variance of shells 0 to ``disc.radius``.
        lattice: Where the values belong.
        posterior: What z is.
        contrast: Prior of the particles' contrast.
        refit_noise: Whether the residuals are wanted too.

    Returns:
        Sums over all particles, which those over others can be added to.
    """
    equations = NormalEquations(lattice, values.shape[1], independent=posterior.independent)
    gains = 1 / noise[lattice.disc.shells]
    evidence, kl = (noise.new_zeros((), dtype=torch.double) for _ in range(2))
    mean = noise.new_zeros(values.shape[1] - (not posterior.independent))
    power = noise.new_zeros(lattice.disc.radius + 1, dtype=torch.double) if refit_noise else None
    particles, observations = 0, 0
    for part in parts:
        found = statistics(part, values, noise, lattice, independent=posterior.independent)
        q = posterior.moments(found.gram, found.inner, contrast)
        evidence = evidence + (found.empty + q.gain).double().sum()
        kl = kl + q.posterior.kl().double().sum()
        moments = posterior.packed(q.second)[part.owner], q.first[part.owner]
        equations.insert(part.images, part.weights, gains, moments, part.rotations)
        if power is not None:
            power = power + residual_power(
                values, part.images, part.weights, moments, part.rotations, lattice
            )
            power[1:] += part.power.double().sum(0)
        mean = mean + q.posterior.mean.sum(0)
        particles, observations = particles + len(part), observations + len(part.images)
    return Sums(evidence, kl, mean, particles, observations, *equations.total(), power)
