"""Surveys: how wrong poses, contrasts and particles are, read under the volumes of the moment."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from cryolatent.data import FilteredImages
from cryolatent.models.contrast import Contrast
from cryolatent.models.hypothesis import Explained, Hypothesis
from cryolatent.models.nuisances import Nuisances, junk_power
from cryolatent.physics import SHIFTS, TURNS
from cryolatent.train.em.doubts import Doubts

ITERATIONS = 12
"""Steps of expectation maximisation of the priors at each survey; they go on at the next."""

SAMPLE = 2000
"""Particles that widths are fitted to."""

SHRINKAGE = 20.0
"""How many particles the signal's own spectrum counts for, as that of what has no structure."""

TELLING_SHELLS = 8
"""Shells from which junk differs from a particle of little contrast, so that both can be fitted."""

LEAST = 1e-4
"""Smallest width, in radians or pixels, and smallest share: from zero nothing would come back."""


@dataclass(frozen=True)
class Surveyed:
    """What a survey found.

    Args:
        nuisances: Priors fitted to it.
        found: Posteriors of all particles.
    """

    nuisances: Nuisances
    found: list[Explained]


def survey(
    hypothesis: Hypothesis,
    parts: Iterable[tuple[FilteredImages, Tensor, Tensor]],
    doubts: Doubts,
    signal: Float[Tensor, " shells"],
) -> Surveyed:
    """Compare all particles with the volumes, fit the priors, and judge every particle.

    Args:
        hypothesis: Volumes, noise, and the priors before.
        parts: Particles, and where they are expanded about.
        doubts: Which priors are fitted.
        signal: Power of the particle's Fourier coefficients, which structureless things resemble.

    Returns:
        Priors and posteriors.
    """
    compared, contrasts, powers = [], [], []
    for part, moved, contrast in parts:
        row = hypothesis.compare(part, moved)
        powers.append(_junk_power(hypothesis, part))
        # of the images nothing more is needed
        bare = row.part.restricted(part.index.new_zeros(0), 0)
        compared.append(replace(row, part=bare))
        contrasts.append(contrast)
    total = sum(map(len, (row.part for row in compared)))
    stride = max(1, total // SAMPLE)
    sample = [
        (row.every(stride), contrast[::stride])
        for row, contrast in zip(compared, contrasts, strict=True)
    ]
    if hypothesis.lattice.disc.radius < TELLING_SHELLS:
        doubts = replace(doubts, contrast=False, particles=False)
    nuisances, doubts = hypothesis.nuisances, doubts.learned
    for _ in range(ITERATIONS):
        under = hypothesis.under(nuisances)
        nuisances = _refitted(nuisances, [under.judge(*row) for row in sample], doubts)
    judge = hypothesis.under(nuisances).judge
    found = [judge(*row) for row in zip(compared, contrasts, strict=True)]
    if nuisances.junk_spectrum is not None:
        spectrum = _junk_spectrum(found, powers, hypothesis, signal)
        nuisances = replace(nuisances, junk_spectrum=spectrum)
    return Surveyed(nuisances, found)


def _refitted(nuisances: Nuisances, found: list[Explained], doubts: Doubts) -> Nuisances:
    """One step of expectation maximisation of the priors' widths and shares."""
    rows = list(map(_sums, found))
    turns, shifts, contrast, shares, observed = (_total([r[n] for r in rows]) for n in range(5))
    poses = nuisances.poses
    if doubts.rotations:
        tilt, spin = float(turns[:2].mean() / observed), float(turns[2] / observed)
        poses = replace(poses, tilt=max(tilt**0.5, LEAST), spin=max(spin**0.5, LEAST))
    if doubts.shifts:
        shift = float(shifts.mean() / observed)
        poses = replace(poses, shift=max(shift**0.5, LEAST))
    spread = nuisances.contrast
    if doubts.contrast:
        # a common factor is the volumes', so deviations are relative to the mean
        count, first, second = contrast.tolist()
        spread = Contrast(max(second * count / first**2 - 1, LEAST**2) ** 0.5)
    kinds = nuisances.shares
    if doubts.particles:
        particle, shapeless, empty = ((shares + LEAST) / (shares + LEAST).sum()).tolist()
        kinds = particle, shapeless, empty
    return replace(nuisances, poses=poses, contrast=spread, shares=kinds)


def _sums(found: Explained) -> tuple[Tensor, ...]:
    """Squared errors and deviations, weighted by the probability to be a particle."""
    share, moved = found.share.double(), found.best().double()
    weight, placing = share[found.part.owner], found.part.placing
    if placing is not None:
        # what was found elsewhere says nothing of how wrong recorded poses are
        weight = weight * ~placing.lost
    variance = found.errors[1].diagonal(dim1=-2, dim2=-1)
    square = weight @ (moved.square() + variance)
    mean, spread = (t.double() for t in found.moments.contrast)
    powers = torch.stack([torch.ones_like(mean), mean, mean.square() + spread])
    kinds = found.shares.double().sum(0)
    return square[TURNS], square[SHIFTS], powers @ share, kinds, weight.sum()


def _total(rows: list[Tensor]) -> Tensor:
    return torch.stack(rows).sum(0)


def _junk_power(hypothesis: Hypothesis, part: FilteredImages) -> Float[Tensor, "obs shells"] | None:
    """Expected power of structureless coefficients in each shell, given the images."""
    disc, spectrum = hypothesis.lattice.disc, hypothesis.nuisances.junk_spectrum
    if spectrum is None:
        return None
    noise, spectrum = hypothesis.noise[disc.shells], spectrum.to(hypothesis.noise)[disc.shells]
    power = junk_power(part.filtered_power(), part.weights, noise, spectrum)
    by_shell = power.new_zeros(len(power), disc.radius + 1)
    return by_shell.index_add(1, disc.shells, power)


def _junk_spectrum(
    found: list[Explained],
    powers: list[Tensor | None],
    hypothesis: Hypothesis,
    signal: Float[Tensor, " shells"],
) -> Float[Tensor, " shells"]:
    """A step of expectation maximisation of the structureless kind's spectrum."""
    weights = [row.shares[row.part.owner, 1] for row in found]
    total = _total([w @ p for w, p in zip(weights, powers, strict=True) if p is not None])
    observed = _total([w.sum() for w in weights])
    count = hypothesis.lattice.disc.shell_count().clamp(min=1)
    shells = len(total)
    mean = (total / count + SHRINKAGE * signal[:shells]) / (observed + SHRINKAGE)
    spectrum = signal.clone()
    spectrum[:shells] = mean
    spectrum[0] = spectrum[1]
    return spectrum
