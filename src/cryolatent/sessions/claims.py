"""What a run's latents claim, put to particles that the claim was not fitted to.

Volumes are regressed on the latents of one half of the particles, under that half's poses,
contrasts and kinds, and judged by how well they foretell the images of the other half from *their*
latents. Latents of other particles foretell nothing. That latents foretell something does not prove
them: they were made of the same images, by a decoder whose noise both halves share.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import exp, log

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from cryolatent.data import FilteredImages, ParticleStack
from cryolatent.models.hypothesis import ERRORS, Explained, Hypothesis, moved_on
from cryolatent.models.posteriors.exact import ExactGaussian
from cryolatent.models.prediction import read_as
from cryolatent.models.replica import Drawn, ReplicaImages
from cryolatent.physics import SHIFTS, TURNS, FourierDisc, Poses, turned, unpack
from cryolatent.sessions.crossread import AT_ONCE, Half
from cryolatent.train.em.corrections import ROUNDING
from cryolatent.train.em.given import volumes_given

MOST = 6
"""Principal axes of the latents that volumes are regressed on."""

LEAST_SPREAD = 1e-3
"""Standard deviation of an axis, relative to the first, below which it says nothing."""

MOST_SCALE = 1.5

MOST_LIFT = 2.0
"""What a shell of a replica's mean volume is multiplied by at most."""

ROUNDS, CLOSE, LEAST, TINY = 5, 0.1, 1e-3, 1e-9
"""How often a replica's strength is tried, and within what factor, as a logarithm, it is right."""


@dataclass(frozen=True)
class Claim:
    """What regressed volumes foretell of the other half.

    Args:
        rows: Particles of the other half.
        hypothesis: The half's mean volume and slopes.
        z: Their whitened latents.
        gram: Of the components' slices, poses integrated out.
        inner: Of the slices with the image.
        rival: Log odds of what is no particle.
        share: Probability that each is a particle.
        contrast: A draw of each particle's contrast; zero of what is drawn as no particle.
        shapeless: Whether it is drawn as something of power without structure.
        moves: A draw of how wrong each observation's pose is, in radians and pixels.
    """

    rows: Int[np.ndarray, " m"]
    hypothesis: Hypothesis
    z: Float[Tensor, "m d"]
    gram: Float[Tensor, "m c c"]
    inner: Float[Tensor, "m c"]
    rival: Float[Tensor, " m"]
    share: Float[Tensor, " m"]
    contrast: Float[Tensor, " m"]
    shapeless: Float[Tensor, " m"]
    moves: Float[Tensor, "obs 5"]

    def gain(self, scale: float, order: Int[Tensor, " m"] | None = None) -> Float[np.ndarray, " m"]:
        """Gain in log evidence from knowing the latents.

        Args:
            scale: What differences are multiplied by.
            order: Whose latents each particle is given; its own by default.

        Returns:
            Nats.
        """
        z = self.z if order is None else self.z[order]
        return (self.evidence(scale * z) - self.evidence(0 * z)).double().numpy()

    def energies(
        self, step: Float[Tensor, "m d"] | None = None, base: Float[Tensor, "m d"] | None = None
    ) -> tuple[Float[Tensor, " m"], Float[Tensor, " m"]]:
        """What differences explain of the images, and what they have.

        Args:
            step: Of latents; the particles' own by default.
            base: Where they begin; at the mean volume by default.

        Returns:
            Both for each particle, times the probability that it is one.
        """
        step = self.z if step is None else step
        start = torch.zeros_like(step) if base is None else base
        moved = torch.cat([torch.zeros(len(step), 1), step], dim=1)
        there = torch.cat([torch.ones(len(step), 1), start], dim=1)
        lack = self.inner - torch.einsum("nij,nj->ni", self.gram, there)
        power = torch.einsum("ni,nij,nj->n", moved, self.gram, moved)
        return self.share * (moved * lack).sum(-1), self.share * power

    def evidence(self, z: Float[Tensor, "m d"]) -> Float[Tensor, " m"]:
        """Log evidence of the images, but for what depends on them alone.

        Args:
            z: A whitened latent for each particle.

        Returns:
            Nats.
        """
        zeta = torch.cat([torch.ones(len(z), 1), z], dim=1)
        gram = torch.einsum("ni,nij,nj->n", zeta, self.gram, zeta)
        contrast = self.hypothesis.nuisances.contrast
        known = contrast.scaled(gram, (zeta * self.inner).sum(-1)).gain
        return torch.logaddexp(known, self.rival)


def whitened(z: Float[np.ndarray, "n d"], most: int = MOST) -> Float[Tensor, "n a"]:
    """Principal axes of latents, each of variance one.

    Args:
        z: Latents.
        most: How many axes at most.

    Returns:
        Uncorrelated columns, those of the largest variance; none where all are alike.
    """
    centred = z - z.mean(axis=0)
    if not centred.size:
        return torch.zeros(len(z), 0)
    left, size, _ = np.linalg.svd(centred, full_matrices=False)
    kept = int((size > LEAST_SPREAD * max(size[0], 1e-12)).sum())
    return torch.from_numpy(left[:, : min(kept, most)] * len(z) ** 0.5).float()


@torch.no_grad()
def claims(
    stack: ParticleStack,
    halves: tuple[Half, Half],
    z: Float[np.ndarray, "n d"],
    seed: int = 0,
    most: int = MOST,
) -> tuple[Claim, Claim]:
    """Regress volumes on each half's latents, and compare them with the other half's images.

    Args:
        stack: All particles, in the order of `z`.
        halves: Models of each half.
        z: The run's latents.
        seed: Fixes draws.
        most: Principal axes that volumes are regressed on.

    Returns:
        One claim per half.
    """
    axes = whitened(z, most)
    first, second = halves
    pairs = (first, second.rows), (second, first.rows)
    found = [_claim(half, axes[own], axes[half.rows], seed) for half, own in pairs]
    return found[0], found[1]


def scales(pair: tuple[Claim, Claim]) -> tuple[float, float]:
    """What each claim's differences are to be multiplied by, as the other claim says."""
    first, second = (float(scale(*(e.sum() for e in claim.energies()))) for claim in pair)
    return second, first


def scale(explained: Tensor, power: Tensor) -> Tensor:
    """What differences are to be multiplied by to explain most.

    Args:
        explained: By differences as they are.
        power: That these have.

    Returns:
        Their ratio, not below zero.
    """
    return (explained / power.clamp(min=1e-12)).clamp(0.0, MOST_SCALE)


def replica(
    stack: ParticleStack,
    halves: tuple[Half, Half],
    pair: tuple[Claim, Claim],
    z: Float[np.ndarray, "n d"],
    seed: int = 0,
) -> ParticleStack:
    """The data set as it would be if what the latents claim were so.

    Volumes are the mean of both halves' regressions, the mean volume as strong as it takes to give
    images the power of the data's, and differences as strong as it takes for the
    same regression to find in the replica what it finds in the data. Contrasts, kinds and poses are
    drawn from what one volume says of each particle. Recorded poses, transfer functions and numbers
    are those of the data; the noise of every image is the mean one.

    Args:
        stack: All particles, in the order of `z`.
        halves: Models of each half.
        pair: The claims.
        z: The run's latents.
        seed: Fixes the noise.

    Returns:
        The same particles with other images.
    """
    wanted, strength, steepness = max(_explained(pair), TINY), 1.0, 3.0
    tried: tuple[float, float] | None = None
    lift = _lift(stack, halves, pair, seed)
    made = _made(stack, pair, strength, lift, seed)
    for _ in range(ROUNDS):
        found = max(_explained(claims(made, showing(halves, made), z, seed)), LEAST * wanted)
        off = log(found / wanted)
        if abs(off) < CLOSE:
            break
        if tried is not None and abs(log(strength / tried[0])) > LEAST:
            # what is found grows with the square, or faster where little of it stands out
            steepness = min(max((off - tried[1]) / log(strength / tried[0]), 2.0), 6.0)
        tried = strength, off
        strength *= exp(-off / steepness)
        made = _made(stack, pair, strength, lift, seed)
    return made


def homogeneous(stack: ParticleStack, halves: tuple[Half, Half], seed: int = 0) -> ParticleStack:
    """The data set as it would be if its particles did not differ: a `replica` of one volume.

    Args:
        stack: All particles.
        halves: Models of each half.
        seed: Fixes draws and noise.

    Returns:
        The same particles with other images.
    """
    pair = claims(stack, halves, np.zeros((len(stack), 0)), seed)
    return _made(stack, pair, 0.0, _lift(stack, halves, pair, seed), seed)


def _lift(
    stack: ParticleStack, halves: tuple[Half, Half], pair: tuple[Claim, Claim], seed: int
) -> Float[Tensor, " shells"]:
    """What the mean volume lacks: a posterior mean has less power than the molecule.

    Per shell, ``sqrt(1 + (P - P') / (P' - P_noise))`` with the power P of the images and P' of a
    replica's.
    """
    lattice, noise = pair[0].hypothesis.lattice, pair[0].hypothesis.noise
    shells = lattice.disc.shells
    made = _made(stack, pair, 0.0, torch.ones_like(noise), seed)
    shown, found = (
        torch.stack(
            [part.power.mean(0) for half in models for part in _images(half.other, lattice.disc)]
        ).mean(0)
        for models in (halves, showing(halves, made))
    )
    blank = torch.zeros_like(noise).index_add_(0, shells, noise[shells])[1:]
    signal = (found - blank).clamp(min=TINY)
    lift = (1 + (shown - found) / signal).clamp(1.0, MOST_LIFT**2).sqrt()
    return torch.cat([lift[:1], lift])


def _explained(pair: tuple[Claim, Claim]) -> float:
    return float(np.mean([float(claim.energies()[0].mean()) for claim in pair]))


def showing(halves: tuple[Half, Half], stack: ParticleStack) -> tuple[Half, Half]:
    """The same models, of other images of their particles.

    Args:
        halves: Models of each half.
        stack: All particles, with other images.

    Returns:
        Both halves.
    """
    first, second = (stack.select(torch.from_numpy(half.rows)) for half in halves)
    return replace(halves[0], own=second, other=first), replace(halves[1], own=first, other=second)


def _made(
    stack: ParticleStack,
    pair: tuple[Claim, Claim],
    strength: float,
    lift: Float[Tensor, " shells"],
    seed: int,
) -> ParticleStack:
    one, other = (claim.hypothesis for claim in pair)
    values = 0.5 * (one.values + other.values)
    values[:, 0] *= one.lattice.per_shell(lift)
    rows, owner = stack.observations(torch.arange(len(stack)))
    weights = torch.zeros(len(stack), 1 + pair[0].z.shape[1])
    shapeless, moves = torch.zeros(len(stack)), torch.zeros(len(rows), ERRORS)
    for claim in pair:
        zeta = torch.cat([torch.ones(len(claim.z), 1), strength * claim.z], dim=1)
        weights[claim.rows] = claim.contrast[:, None] * zeta
        shapeless[claim.rows] = claim.shapeless
        moves[stack.observations(torch.from_numpy(claim.rows))[0]] = claim.moves
    shifts = stack.poses.shifts_angstrom + moves[:, SHIFTS] * stack.ctf.pixel_size_angstrom[:, None]
    poses = Poses(turned(stack.poses.rotations, moves[:, TURNS]), shifts)
    spectrum = one.nuisances.junk_spectrum
    images = ReplicaImages(
        one.lattice,
        values,
        one.noise,
        torch.zeros_like(one.noise) if spectrum is None else spectrum.to(one.noise),
        Drawn(weights, shapeless, poses, owner),
        stack.ctf,
        rows.numpy(),
        seed,
    )
    return replace(stack, images=images, noise_groups=None, noise_level=None, image_scale=1.0)


def _claim(half: Half, own: Float[Tensor, "h d"], z: Float[Tensor, "m d"], seed: int) -> Claim:
    poses, generator = read_as(half.one), torch.Generator().manual_seed(seed)
    last = poses.hypothesis
    disc, radius = last.lattice.disc, 0.9 * half.own.disc.box / 2
    mine = _images(half.own, disc)
    values = volumes_given(poses, mine, own, radius, seed)
    posterior = ExactGaussian(z.shape[1])
    hypothesis = Hypothesis(last.lattice, values, last.noise, posterior, last.nuisances)
    rows: list[tuple[Tensor, ...]] = []
    for part in _images(half.other, disc):
        there = poses.placed(part)
        alone = poses.explain(there)
        contrast = alone.moments.contrast
        found = hypothesis.explain(there, alone.compared.moved, contrast[0])
        (mean, variance), normal = contrast, torch.randn(2, len(part), generator=generator)
        kind = (alone.shares.cumsum(1) < torch.special.ndtr(normal[:1]).T).sum(1)
        drawn = (mean + variance.clamp(min=0).sqrt() * normal[1]).clamp(min=0) * (kind == 0)
        rows.append(
            (
                unpack(found.terms.gram),
                found.terms.inner,
                found.rival - found.terms.gain[:, 0],
                alone.share,
                drawn,
                (kind == 1).float(),
                _drawn(alone, generator),
            )
        )
    return Claim(half.rows, hypothesis, z, *map(torch.cat, zip(*rows, strict=True)))


def _images(stack: ParticleStack, disc: FourierDisc) -> Iterator[FilteredImages]:
    for rows in torch.arange(len(stack)).split(AT_ONCE):
        yield FilteredImages.read(stack, rows, disc)


def _drawn(found: Explained, generator: torch.Generator) -> Float[Tensor, "obs 5"]:
    """Errors of poses, from their posterior."""
    mean, covariance = found.errors
    normal = torch.randn(mean.shape, generator=generator)
    root = torch.linalg.cholesky_ex(covariance + ROUNDING * torch.eye(ERRORS)).L
    drawn = moved_on(found.compared.moved, mean + (root @ normal[..., None])[..., 0])
    return found.from_recorded(drawn)
