"""Volumes at places of a latent space from the particles, with a window for every shell.

What a model expects of each particle is taken off its image, and what is left is regressed on the
latents. Low shells are strong, so that few particles suffice and windows can be narrow; high shells
are weak and need many. How wide, and how much of what comes out is believed, is chosen shell by
shell on particles that the regression has not seen: each half's is asked of the other half.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Complex, Float, Int
from torch import Tensor

from cryolatent.data import ParticleStack
from cryolatent.data.backprojection import Explained, backproject
from cryolatent.models import Decoder
from cryolatent.physics import FourierLattice, Poses, slice_lattice
from cryolatent.physics.backprojection import Sums
from cryolatent.progress import Advance, unwatched

NARROWEST = 50
"""Particles of the narrowest window; each of the next has twice as many, and the last all."""

RIDGES = (0.0, 0.5, 2.0, 8.0)
"""Prior precisions that are tried, in units of a shell's mean precision from half the window."""

ASKED = 200
"""Particles about a place, at least, of which one half's volumes are asked of the other's."""

CERTAIN = 2.0
"""Standard errors by which a gain must exceed zero: the best of many trials is taken."""


@dataclass(frozen=True)
class Regression:
    """Particles, where they are in latent space, and what is known of them without it.

    Args:
        stack: The particles, where they are believed to be.
        latents: A place for each.
        real: How much each counts: its probability to be a particle.
        halves: The particles of each half.
        explained: Slices that are taken off the images; none to regress the images themselves.
        mask: Where volumes may differ from what is explained; everywhere if left out.
    """

    stack: ParticleStack
    latents: Float[Tensor, "n zdim"]
    real: Float[Tensor, " n"]
    halves: tuple[Int[Tensor, " a"], Int[Tensor, " b"]]
    explained: Explained | None = None
    mask: Float[Tensor, "z y x"] | None = None

    @property
    def counts(self) -> list[int]:
        """How many particles each window has."""
        ladder, most = [NARROWEST], len(self.stack)
        while ladder[-1] < most:
            ladder.append(2 * ladder[-1])
        return [*ladder[:-1], most]

    @cached_property
    def everything(self) -> tuple[Sums, Sums]:
        """Folded sums of all particles of each half, which are those about any place."""
        first, second = (self._summed(half) for half in self.halves)
        return first, second

    def windows(
        self, place: Float[Tensor, " zdim"], progress: Advance = unwatched
    ) -> Iterator[tuple[Sums, Sums]]:
        """The sums of each half over ever wider windows around a place.

        Args:
            place: In latent space.
            progress: Told how many particles are done.

        Yields:
            Folded sums over the nearest particles of `counts`; those of a window hold those of the
            narrower ones, and are changed by the next.
        """
        order = (self.latents - place).square().sum(-1).argsort()
        half_of = torch.zeros(len(self.stack), dtype=torch.long)
        half_of[self.halves[1]] = 1
        sums = tuple(Sums.empty(FourierLattice(self.stack.disc)) for _ in self.halves)
        begin = 0
        for count in self.counts[:-1]:
            ring = order[begin:count]
            for half, total in enumerate(sums):
                total.merge(self._summed(ring[half_of[ring] == half]))
            progress(count)
            begin = count
            yield sums[0], sums[1]
        yield self.everything

    def _summed(self, particles: Int[Tensor, " n"]) -> Sums:
        return backproject(self.stack, particles, self.real[particles], explained=self.explained)


@dataclass(frozen=True)
class Windows:
    """What halves of the particles choose for every shell.

    Args:
        counts: Particles in each window that was tried.
        window: The one chosen, by shell.
        ridge: The prior precision chosen, in units of the mean precision of half the window.
        shrink: By what a half's volume is multiplied to foretell the other half best; zero where
            it foretells nothing.
    """

    counts: tuple[int, ...]
    window: Int[Tensor, " shells"]
    ridge: Float[Tensor, " shells"]
    shrink: Float[Tensor, " shells"]

    @property
    def particles(self) -> list[int]:
        """How many particles the chosen window of each shell has; 0 where nothing is believed."""
        chosen = torch.tensor(self.counts)[self.window]
        return torch.where(self.shrink > 0, chosen, 0).tolist()


def choose_windows(
    regression: Regression, places: Float[Tensor, "p zdim"], progress: Advance = unwatched
) -> Windows:
    """Choose the window of every shell by what each half foretells of the other.

    A volume v of one half gains ``2 Re v*n - v* D v`` of the other half's images about the same
    place (of the nearest 200 particles), whose sums are n and D, in units of the noise; over all
    places and both halves, as much as multiplying it by the best factor allows. Of windows and
    priors that with the largest gain is taken, and nothing where the gain is not twice its standard
    error over places.

    Args:
        regression: The particles.
        places: Where to try; the same windows serve everywhere.
        progress: Told how many places are done.

    Returns:
        A choice for every shell.
    """
    trials = []
    for done, place in enumerate(places, 1):
        trials.append(_trials(regression, place))
        progress(done)
    cross, power = torch.stack(trials).double().unbind(-1)  # place window ridge shell
    shrink = (cross.sum(0) / power.sum(0).clamp(min=1e-30)).clamp(0, 1)
    gains = 2 * shrink * cross - shrink.square() * power
    total = gains.sum(0).flatten(0, 1)
    best = total.argmax(0)
    error = gains.std(0).flatten(0, 1) * len(places) ** 0.5
    shells = torch.arange(total.shape[1])
    believed = total[best, shells] > CERTAIN * error[best, shells]
    return Windows(
        counts=tuple(regression.counts),
        window=best // len(RIDGES),
        ridge=torch.tensor(RIDGES)[best % len(RIDGES)],
        shrink=torch.where(believed, shrink.flatten(0, 1)[best, shells], 0.0).float(),
    )


def regressed(
    regression: Regression,
    windows: Windows,
    place: Float[Tensor, " zdim"],
    progress: Advance = unwatched,
) -> Float[Tensor, "z y x"]:
    """What particles around a place show beyond what is explained.

    Args:
        regression: The particles.
        windows: As `choose_windows` found them.
        place: In latent space.
        progress: Told how many particles are done.

    Returns:
        A volume to be added to what is explained there.
    """
    lattice = FourierLattice(regression.stack.disc)
    values = torch.zeros(lattice.size, dtype=torch.complex64)
    # all particles have twice the precision of half of them, and are shrunk accordingly less
    both = 2 * windows.shrink / (1 + windows.shrink)
    sums = None
    for number, sums in enumerate(regression.windows(place, progress)):
        used = windows.shrink * (windows.window == number)
        if used.any():
            total = Sums(lattice, sums[0].voxels + sums[1].voxels)
            found = _ridged(total, total.values(), windows.ridge / 2)
            values += found * lattice.per_shell(both * (used > 0))
    if sums is None:
        return torch.zeros(3 * (regression.stack.images.box,))
    volume = sums[0].volume(values)
    return volume if regression.mask is None else volume * regression.mask


def explained_by_decoder(decoder: Decoder, latents: Float[Tensor, "n zdim"]) -> Explained:
    """What a decoder expects of particles at their latents.

    Args:
        decoder: Renders the latents.
        latents: One for each particle.

    Returns:
        Slices by particle and pose.
    """

    @torch.no_grad()
    def slices(particles: Int[Tensor, " n"], poses: Poses) -> Complex[Tensor, "n k"]:
        return decoder.slices(latents[particles], poses)

    return slices


def explained_by_volume(stack: ParticleStack, volume: Float[Tensor, "z y x"]) -> Explained:
    """What one volume expects of all particles.

    Args:
        stack: The particles.
        volume: Such as the consensus.

    Returns:
        Slices by particle and pose.
    """
    lattice = FourierLattice(stack.disc)
    values = lattice.from_volumes(volume[None])
    return lambda particles, poses: slice_lattice(values, poses.rotations, lattice)[..., 0]


def _trials(
    regression: Regression, place: Float[Tensor, " zdim"]
) -> Float[Tensor, "windows ridges shells 2"]:
    """Cross term and power of each half's volumes on the other half's particles nearby."""
    rows, kept, asked = [], [], []
    for count, sums in zip(regression.counts, regression.windows(place), strict=True):
        kept.append([(Sums(half.lattice, half.voxels.copy()), half.values()) for half in sums])
        if count <= ASKED or not asked:
            asked = [half for half, _ in kept[-1]]
        if count > ASKED or count == regression.counts[-1]:
            rows += [
                torch.stack([_foretold_by(halves, ridge, asked) for ridge in RIDGES])
                for halves in kept
            ]
            kept = []
    return torch.stack(rows)


def _foretold_by(
    halves: list[tuple[Sums, Complex[Tensor, " v"]]], ridge: float, asked: list[Sums]
) -> Float[Tensor, "shells 2"]:
    first, second = (_ridged(sums, values, ridge) for sums, values in halves)
    return _foretold(first, asked[1]) + _foretold(second, asked[0])


def _ridged(
    sums: Sums, values: Complex[Tensor, " v"], ridge: float | Float[Tensor, " shells"]
) -> Complex[Tensor, " v"]:
    """Values under a prior whose precision is so many times the shell's mean."""
    voxels = torch.from_numpy(sums.voxels)
    # what the sums were divided by: the density, made even
    density = torch.complex(voxels[:, 0], voxels[:, 1]).abs() / values.abs().clamp(min=1e-30)
    prior = sums.lattice.per_shell(ridge * sums.density())
    return values * (density / (density + prior).clamp(min=1e-30))


def _foretold(values: Complex[Tensor, " v"], asked: Sums) -> Float[Tensor, "shells 2"]:
    voxels = torch.from_numpy(asked.voxels)
    cross = values.real * voxels[:, 0] + values.imag * voxels[:, 1]
    power = values.abs().square() * voxels[:, 2]
    return asked.lattice.shell_sum(torch.stack([cross, power], dim=-1))
