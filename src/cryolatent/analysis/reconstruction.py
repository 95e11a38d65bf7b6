"""Maps from particles at known poses: half-maps, their correlation, a Wiener-weighted map."""

import time
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from cryolatent.data import ParticleStack
from cryolatent.data.backprojection import backproject, noise_spectrum
from cryolatent.data.contrast import warn_of_contrast
from cryolatent.errors import InputError
from cryolatent.io import read_mask, write_volume
from cryolatent.io.files import new_folder, write_text_atomically
from cryolatent.physics import fourier_shell_correlation, resolution_angstrom
from cryolatent.physics.reconstruction import (
    MaskedCorrelation,
    half_map_mask,
    masked_correlation,
    signal_to_noise,
)
from cryolatent.progress import Stage, silent
from cryolatent.runs.finding import Record
from cryolatent.runs.run import Run

FEWEST = 10
RESOLVED = 0.143
AUTO = "auto"
IN_COMMON, LOWEST = 0.5, slice(1, 4)
"""Mean correlation in the lowest shells below which two half-maps have nothing in common."""


@dataclass(frozen=True)
class Reconstruction:
    """A map with its half-maps.

    Args:
        volume: Wiener-weighted map of all particles.
        halves: Unweighted maps of the two halves.
        mask: Mask behind which the halves were correlated, if any.
        plain: Correlation of the halves without mask.
        behind_mask: Correlation behind the mask, if any.
        noise_variance: Noise variance per complex coefficient of each shell.
        particles: Number of particles of each half.
        images_per_second: Speed of the pass over the images.
        last_shell: Last shell used.
        pixel_size_angstrom: Pixel size, in Å.
    """

    volume: Float[Tensor, "z y x"]
    halves: tuple[Float[Tensor, "z y x"], Float[Tensor, "z y x"]]
    mask: Float[Tensor, "z y x"] | None
    plain: Float[Tensor, " shells"]
    behind_mask: MaskedCorrelation | None
    noise_variance: Float[Tensor, " used"]
    particles: tuple[int, int]
    images_per_second: float
    last_shell: int
    pixel_size_angstrom: float

    @property
    def fsc(self) -> Float[Tensor, " shells"]:
        """The correlation that counts: corrected behind the mask, or without mask."""
        return self.plain if self.behind_mask is None else self.behind_mask.corrected

    @property
    def resolution_angstrom(self) -> float:
        """Where the correlation falls below 0.143, in Å, at best that of the last shell."""
        side = 2 * len(self.plain) * self.pixel_size_angstrom
        found = resolution_angstrom(self.fsc, self.pixel_size_angstrom, RESOLVED)
        return max(found, side / self.last_shell)


class ReconstructionSummary(Record):
    """The numbers of a reconstruction; curves hold shells 0 to box / 2 - 1."""

    particles: tuple[int, int]
    """Number of particles in each half."""

    pixel_size_angstrom: float
    """Pixel size, in Å."""

    resolution_angstrom: float
    """Where the half-maps' correlation, corrected if there is a mask, falls below 0.143, in Å."""

    fsc: tuple[float, ...]
    """Correlation of the half-maps without mask."""

    fsc_masked: tuple[float, ...] | None
    """Correlation behind the mask."""

    fsc_randomised: tuple[float, ...] | None
    """The same with random phases from shell `randomised_from` on."""

    fsc_corrected: tuple[float, ...] | None
    """Correlation behind the mask without the mask's own contribution."""

    randomised_from: int | None
    """First shell with random phases."""

    noise_variance: tuple[float, ...]
    """Noise variance per complex coefficient of the unitary transform, shells 0 to the last used:
    the images' power less what the other half's map explains of it."""

    images_per_second: float
    """Speed of the pass over the images."""

    @property
    def reached_angstrom(self) -> float | None:
        """The resolution; None if the half-maps have nothing in common."""
        counts = torch.tensor(self.fsc_corrected or self.fsc)
        return self.resolution_angstrom if have_in_common(counts) else None

    @staticmethod
    def of(made: Reconstruction) -> "ReconstructionSummary":
        """Summarise a reconstruction.

        Args:
            made: The reconstruction.

        Returns:
            Its numbers.
        """
        behind = made.behind_mask
        return ReconstructionSummary(
            particles=made.particles,
            pixel_size_angstrom=made.pixel_size_angstrom,
            resolution_angstrom=made.resolution_angstrom,
            fsc=tuple(made.plain.tolist()),
            fsc_masked=None if behind is None else tuple(behind.masked.tolist()),
            fsc_randomised=None if behind is None else tuple(behind.randomised.tolist()),
            fsc_corrected=None if behind is None else tuple(behind.corrected.tolist()),
            randomised_from=None if behind is None else behind.first,
            noise_variance=tuple(made.noise_variance.tolist()),
            images_per_second=made.images_per_second,
        )


def reconstruct(
    stack: ParticleStack,
    *,
    weights: Float[Tensor, " n"] | None = None,
    mask: str | Path | Float[Tensor, "z y x"] | None = None,
    seed: int = 0,
    stage: Stage = silent,
) -> Reconstruction:
    """Reconstruct a map and half-maps from particles at their recorded poses.

    The map is ``Σ C·x / (Σ C² + 1/SSNR)`` with the signal-to-noise ratio from the halves'
    correlation. Noise is taken to be equal for all particles, so within a shell its variance
    cancels but for that ratio.

    Args:
        stack: The particles; halves are those that the source assigned, or else random.
        weights: How often each particle counts; once by default, and those at zero not at all.
        mask: A mask, the MRC file of one, or ``auto`` to make one from the map.
        seed: Fixes random halves and random phases.
        stage: Told of the progress.

    Returns:
        The map, its halves and what they say.

    Raises:
        InputError: If a half has fewer than ten particles, an image cannot be used, or the mask
            does not fit.
    """
    given = _given_mask(mask, stack)
    halves = stack.split(seed)
    if weights is not None:
        halves = tuple(half[weights[half] > 0] for half in halves)
    particles = len(halves[0]), len(halves[1])
    if min(particles) < FEWEST:
        raise InputError(
            stack.source,
            f"halves of {particles[0]} and {particles[1]} particles",
            f"at least {FEWEST} in each",
            "Give more particles." if weights is None else "Ask for more `effective_particles`.",
        )
    start = time.perf_counter()
    first, second = (
        backproject(
            stack,
            half,
            None if weights is None else weights[half],
            stage(f"half {number}", len(stack.observations(half)[0])),
        )
        for number, half in enumerate(halves, 1)
    )
    seconds = time.perf_counter() - start
    advance = stage("maps", 4)
    maps = first.solve(), second.solve()
    advance(2)
    last = stack.disc.radius
    plain = _within(fourier_shell_correlation(*maps), last)
    if isinstance(mask, str) and mask == AUTO:
        given = _found_mask(stack, maps, plain)
    behind = None if given is None else _behind(given, maps, last, seed)
    advance(3)
    first.merge(second)
    del second
    ratio = signal_to_noise((plain if behind is None else behind.corrected)[: last + 1])
    volume = first.solve(first.density() / ratio)
    del first
    noise = [
        noise_spectrum(stack, half, other, None if weights is None else weights[half])
        for half, other in zip(halves, maps[::-1], strict=True)
    ]
    advance(4)
    return Reconstruction(
        volume=volume,
        halves=maps,
        mask=given,
        plain=plain,
        behind_mask=behind,
        noise_variance=(noise[0] + noise[1]) / 2,
        particles=particles,
        images_per_second=sum(len(stack.observations(half)[0]) for half in halves) / seconds,
        last_shell=last,
        pixel_size_angstrom=stack.pixel_size_angstrom,
    )


def have_in_common(fsc: Float[Tensor, " shells"]) -> bool:
    """Whether two half-maps show one thing at all.

    Args:
        fsc: Their correlation.

    Returns:
        False if they are unlike even in the lowest shells, as those of noise are.
    """
    return float(fsc[LOWEST].mean()) > IN_COMMON


def write_reconstruction(
    stack: ParticleStack,
    folder: Path,
    *,
    mask: str | Path | None = None,
    seed: int = 0,
    stage: Stage = silent,
) -> ReconstructionSummary:
    """Reconstruct, and write ``map.mrc``, ``half1.mrc``, ``half2.mrc`` and ``summary.json``.

    Args:
        stack: As in `reconstruct`.
        folder: New or empty folder; ``mask.mrc`` is also written if a mask was used.
        mask: As in `reconstruct`.
        seed: As in `reconstruct`.
        stage: Told of the progress.

    Returns:
        What is in ``summary.json``.

    Raises:
        InputError: As `reconstruct`, and if the folder is not free.
    """
    Run.check_free(folder)
    warn_of_contrast(stack)
    made = reconstruct(stack, mask=mask, seed=seed, stage=stage)
    summary = ReconstructionSummary.of(made)
    with new_folder(folder) as partial:
        write_maps(made, partial, "map", "half1", "half2")
        if made.mask is not None:
            write_volume(partial / "mask.mrc", made.mask.numpy(), made.pixel_size_angstrom)
        write_text_atomically(partial / "summary.json", summary.model_dump_json(indent=2))
    return summary


def write_maps(made: Reconstruction, folder: Path, *names: str) -> None:
    """Write the map and its halves.

    Args:
        made: The reconstruction.
        folder: Where to write.
        names: Names of map, first and second half, without ``.mrc``.
    """
    for name, volume in zip(names, (made.volume, *made.halves), strict=True):
        write_volume(folder / f"{name}.mrc", volume.numpy(), made.pixel_size_angstrom)


def _found_mask(
    stack: ParticleStack, maps: tuple[Tensor, Tensor], fsc: Float[Tensor, " shells"]
) -> Float[Tensor, "z y x"]:
    """Make a mask from the map, smoothed to half the shell where the halves correlate by 0.5."""
    half_bit = torch.nonzero(fsc[1:] < 0.5)
    shell = int(half_bit[0]) + 1 if len(half_bit) else stack.disc.radius
    mask = half_map_mask(*maps, max(shell / 2, 2.0))
    if not mask.any():
        raise InputError(
            '`mask="auto"`',
            "no density above the solvent's noise",
            "a molecule",
            "Check poses and contrast (`invert_contrast`), or give a mask file.",
        )
    return mask


def _behind(
    mask: Float[Tensor, "z y x"], maps: tuple[Tensor, Tensor], last: int, seed: int
) -> MaskedCorrelation:
    found = masked_correlation(*maps, mask, seed)
    return MaskedCorrelation(
        masked=_within(found.masked, last),
        randomised=_within(found.randomised, last),
        corrected=_within(found.corrected, last),
        first=found.first,
    )


def _within(curve: Float[Tensor, " shells"], last: int) -> Float[Tensor, " shells"]:
    """Set the shells that were not used to zero."""
    return torch.where(torch.arange(len(curve)) <= last, curve, 0.0)


def _given_mask(
    mask: str | Path | Float[Tensor, "z y x"] | None, stack: ParticleStack
) -> Float[Tensor, "z y x"] | None:
    """A mask that is there already: none is, or it is made from the map later."""
    if isinstance(mask, Tensor):
        return mask
    if mask is None or mask == AUTO:
        return None
    return torch.from_numpy(read_mask(Path(mask), stack.images.box, stack.pixel_size_angstrom))
