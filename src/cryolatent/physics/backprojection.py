"""Backprojection of observed images: CTF-weighted sums over a Fourier lattice."""

from dataclasses import dataclass

import numpy as np
import scipy.fft
import torch
from jaxtyping import Complex, Float, Int
from torch import Tensor

from cryolatent.physics.aberrations import EVEN
from cryolatent.physics.ctf import CTF, electron_wavelength_angstrom
from cryolatent.physics.grid import FourierDisc
from cryolatent.physics.lattice import FourierLattice
from cryolatent.physics.poses import Poses
from cryolatent.physics.slicing import Interpolation, geometry, in_threads

LEAST = 1e-3
EVENING, TINY = 3, 1e-30
EDGE_PIXELS = 3
FFT_BYTES = 2**20
GRIDDING = {Interpolation.NEAREST: 1, Interpolation.TRILINEAR: 2}


@dataclass(frozen=True)
class FilteredArrays:
    """Observations as they enter sums, in the order of a disc's coefficients.

    Args:
        images: Coefficients times the transfer function, moved to the centre.
        weights: Squares of the transfer functions.
        power: Sums of ``|x|²`` over the coefficients of shells 0 to ``disc.radius``.
    """

    images: Complex[np.ndarray, "n k"]
    weights: Float[np.ndarray, "n k"]
    power: Float[np.ndarray, "n shells"]


def filter_images(
    images: Float[np.ndarray, "n y x"], poses: Poses, ctf: CTF, disc: FourierDisc
) -> FilteredArrays:
    """Transform real images, multiply them by their transfer functions and undo their shifts.

    The compiled equivalent of ``images_to_disc * ctf.evaluate * shift_phases.conj``.

    Args:
        images: Real images of side ``disc.box``, float32.
        poses: Their poses, of which only the shifts are used.
        ctf: Their transfer functions.
        disc: The coefficients wanted.

    Returns:
        Images, weights and power.
    """
    from cryolatent.physics import backprojection_kernels as kernels

    count, box = len(images), disc.box
    runs, shells = _runs(disc), disc.shells.numpy()
    shifts = (poses.shifts_angstrom / ctf.pixel_size_angstrom[:, None]).double().numpy()
    # images are centred on pixel box / 2: half a turn per cycle
    kx, ky = np.arange(disc.radius + 1), runs[:, 0]
    columns = np.exp(2j * np.pi * kx * (shifts[:, :1] / box + 0.5)) / box
    lines = np.exp(2j * np.pi * ky * (shifts[:, 1:] / box + 0.5))
    filtered = FilteredArrays(
        np.empty((count, disc.size), np.complex64),
        np.empty((count, disc.size), np.float32),
        np.zeros((count, disc.radius + 1), np.float32),
    )
    transfer = transfer_polynomials(ctf, box), *_envelopes(ctf, disc)
    columns, lines = columns.astype(np.complex64), lines.astype(np.complex64)
    step = max(1, FFT_BYTES // (4 * box**2))

    def work(_: int, rows: slice) -> None:
        for start in range(rows.start, rows.stop, step):
            part = slice(start, min(start + step, rows.stop))
            kernels.filter_observations(
                scipy.fft.rfft2(images[part]),
                (runs, shells),
                tuple(values[part] for values in transfer),
                (columns[part], lines[part]),
                filtered.images[part],
                filtered.weights[part],
                filtered.power[part],
            )

    in_threads(work, count)
    return filtered


def transfer_polynomials(ctf: CTF, box: int) -> Float[np.ndarray, "n 9"]:
    """Write transfer functions as sines of polynomials in the position on the grid.

    ``CTF = s exp(-B k² / 4) sin 2πp(kx, ky)``, kx and ky in cycles per box: the astigmatism's
    cosine is a quadratic form, and amplitude contrast w adds a phase ``asin w``.

    Args:
        ctf: Transfer functions.
        box: Side of the images, in pixels.

    Returns:
        Coefficients of p, in turns, in the order of `aberrations.EVEN`.

    Source:
        `CTF.evaluate`.
    """
    wavelength = electron_wavelength_angstrom(ctf.voltage_kv.double())
    step = 1 / (box * ctf.pixel_size_angstrom.double())
    mean = 0.5 * (ctf.defocus_u_angstrom.double() + ctf.defocus_v_angstrom)
    half = 0.5 * (ctf.defocus_u_angstrom.double() - ctf.defocus_v_angstrom)
    double_angle = 2 * torch.deg2rad(ctf.defocus_angle_degrees.double())
    along, across = half * torch.cos(double_angle), half * torch.sin(double_angle)
    first = torch.pi * wavelength
    fourth = -0.5 * torch.pi * 1e7 * ctf.spherical_aberration_mm.double() * wavelength**3
    offset = torch.deg2rad(ctf.phase_shift_degrees.double())
    offset = offset + torch.asin(ctf.amplitude_contrast.double())
    none = torch.zeros_like(fourth)
    parts = [
        offset,
        first * (mean + along),
        2 * first * across,
        first * (mean - along),
        fourth,
        none,
        2 * fourth,
        none,
        fourth,
    ]
    phase = torch.stack(parts, dim=-1)
    if ctf.aberration is not None:
        phase = phase + ctf.aberration
    degrees = torch.tensor([a + b for a, b in EVEN])
    return (phase * step[:, None] ** degrees / (2 * torch.pi)).float().numpy()


def _envelopes(
    ctf: CTF, disc: FourierDisc
) -> tuple[Float[np.ndarray, "n r"], Float[np.ndarray, " n"]]:
    """The envelopes along one axis, cycles per box 0 to ``disc.radius``, and the scales."""
    count = len(ctf)
    envelopes, scales = torch.ones(count, disc.radius + 1), torch.ones(count)
    if ctf.b_factor_angstrom2 is not None:
        k2 = (torch.arange(disc.radius + 1) / (disc.box * ctf.pixel_size_angstrom[:, None])) ** 2
        envelopes = torch.exp(-0.25 * ctf.b_factor_angstrom2[:, None] * k2)
    if ctf.scale is not None:
        scales = ctf.scale
    return envelopes.float().numpy(), scales.float().numpy()


@dataclass(frozen=True)
class Sums:
    """Sums over observations at every voxel of a lattice.

    Args:
        lattice: Where they belong.
        voxels: Real and imaginary part of ``Σ C·x`` and ``Σ C²``, unfolded while images are added.
        interpolation: How a point between voxels is shared out.
    """

    lattice: FourierLattice
    voxels: Float[np.ndarray, "v 3"]
    interpolation: Interpolation = Interpolation.TRILINEAR

    @staticmethod
    def empty(
        lattice: FourierLattice, interpolation: Interpolation = Interpolation.TRILINEAR
    ) -> "Sums":
        """Sums over nothing.

        Args:
            lattice: Where they belong.
            interpolation: How a point between voxels will be shared out.

        Returns:
            Zeros.
        """
        return Sums(lattice, np.zeros((lattice.size, 3), np.float32), interpolation)

    def add(self, filtered: FilteredArrays, poses: Poses, weights: Float[np.ndarray, " n"]) -> None:
        """Add observations, in place.

        Args:
            filtered: The observations.
            poses: Their poses, of which only the rotations are used.
            weights: How often each counts.
        """
        from cryolatent.physics import backprojection_kernels as kernels

        where = geometry(poses.rotations, self.lattice, self.interpolation)
        gains = np.ascontiguousarray(weights, np.float32)
        runs, ends = self._runs(poses)
        tiles = np.arange(len(ends)).reshape(2 * [self._bars])
        # tiles of one colour share no voxel, so threads can add to them at the same time
        for tile in (tiles[z::2, y::2].ravel() for z in (0, 1) for y in (0, 1)):
            bounds = np.stack([ends[tile - 1] * (tile > 0), ends[tile]], axis=-1)

            def work(_: int, part: slice, bounds: np.ndarray = bounds) -> None:
                kernels.insert_runs(
                    filtered.images,
                    filtered.weights,
                    gains,
                    (runs, bounds[part]),
                    where,
                    self.voxels,
                )

            in_threads(work, len(bounds))

    @property
    def _bars(self) -> int:
        from cryolatent.physics import backprojection_kernels as kernels

        return (self.lattice.shape[0] - 1) // kernels.TILE + 1

    def _runs(self, poses: Poses) -> tuple[Int[np.ndarray, "runs 3"], Int[np.ndarray, " tiles"]]:
        """Runs (image, first coefficient, end) in the order of their tiles, and each tile's end."""
        from cryolatent.physics import backprojection_kernels as kernels

        where = geometry(poses.rotations, self.lattice, self.interpolation)
        size = self.lattice.disc.size
        found = np.empty((len(poses) * size, 3), np.int32)

        def work(_: int, rows: slice) -> np.ndarray:
            part = found[rows.start * size : rows.stop * size]
            return part[: kernels.find_runs(where, rows.start, rows.stop, part)]

        parts = np.concatenate(in_threads(work, len(poses)))
        ends = np.bincount(parts[:, 2], minlength=self._bars**2).cumsum()
        runs = np.empty_like(parts)
        kernels.sort_runs(parts, size, np.append(0, ends[:-1]), runs)
        return runs, ends

    def merge(self, other: "Sums") -> None:
        """Add other sums over the same lattice, in place.

        Args:
            other: The sums, both folded or both not.
        """
        np.add(self.voxels, other.voxels, out=self.voxels)

    def fold(self) -> "Sums":
        """Add up both members of each conjugate pair, in place, once all images are added.

        Returns:
            The same sums.
        """
        voxels = torch.from_numpy(self.voxels)
        self.lattice.fold(voxels[:, 2])
        self.lattice.fold(voxels[:, 0])
        plane = voxels.view(*self.lattice.shape, 3)[:, :, 0, 1]
        plane -= plane.flip(0, 1)
        return self

    def density(self) -> Float[Tensor, " shells"]:
        """Mean of ``Σ C²`` over the voxels of each shell.

        Returns:
            Means of shells 0 to ``disc.radius``.
        """
        from cryolatent.physics import backprojection_kernels as kernels

        totals = np.zeros((self.lattice.disc.radius + 1, 2))
        kernels.measure_shells(self.voxels, self.lattice.shape, self.lattice.oversampling, totals)
        return torch.from_numpy(totals[:, 0] / totals[:, 1]).float()

    def values(self, precision: Float[Tensor, " shells"] | None = None) -> Complex[Tensor, " v"]:
        """Divide folded sums by their density: ``Σ C·x / (density + precision)``.

        The density is ``Σ C²``, at least a thousandth of its shell's mean, made even over
        neighbouring voxels (see `even_density`).

        Args:
            precision: Prior precision of each shell, shells 0 to ``disc.radius``, in units of the
                noise's; none by default.

        Returns:
            Fourier values at the voxels.
        """
        from cryolatent.physics import backprojection_kernels as kernels

        mean = self.density()
        spectrum = torch.zeros_like(mean) if precision is None else precision.float()
        shape, oversampling = self.lattice.shape, self.lattice.oversampling
        density = torch.empty(self.lattice.shape)
        flat = density.view(-1).numpy()
        kernels.raise_density(self.voxels, (LEAST * mean).numpy(), shape, oversampling, flat)
        even = even_density(density).view(-1).numpy()
        values = torch.empty(self.lattice.size, dtype=torch.complex64)
        kernels.divide_sums(
            self.voxels, even, spectrum.numpy(), shape, oversampling, values.numpy()
        )
        return values

    def solve(self, precision: Float[Tensor, " shells"] | None = None) -> Float[Tensor, "z y x"]:
        """Make a map of folded sums: the volume of their values (`values`, `volume`).

        Args:
            precision: As in `values`.

        Returns:
            The map, in the scale of `volume_to_fourier`.
        """
        return self.volume(self.values(precision))

    def volume(self, values: Complex[Tensor, " v"]) -> Float[Tensor, "z y x"]:
        """Make a map of Fourier values.

        The constant that no image shows is chosen so that the map is zero on average outside the
        sphere that touches the box, and the corners, where interpolation amplifies noise, are cut
        off.

        Args:
            values: At the voxels.

        Returns:
            The map, in the scale of `volume_to_fourier`.
        """
        box = self.lattice.disc.box
        volume = self.lattice.to_volumes(values[:, None], gridding_power=0)[0]
        distance = sphere_distance(box)
        volume -= volume[distance > box / 2].mean()
        fall = ((distance - box / 2) / EDGE_PIXELS).clamp(0, 1)
        volume *= 0.5 * (1 + torch.cos(torch.pi * fall))
        return volume / self.lattice.gridding(GRIDDING[self.interpolation])


def even_density(density: Float[Tensor, "z y x"]) -> Float[Tensor, "z y x"]:
    """Find the density by which sums are to be divided, of samples that lie unevenly.

    A map that fills only half the field of view has a transform that is smooth over neighbouring
    voxels. Weights ``w`` are sought for which ``w · density``, smoothed over them, is one; then
    every sample counts alike, where plain division by the density of a voxel that few samples
    touch gives those the same say as the many in the next.

    Args:
        density: Density at a lattice's voxels.

    Returns:
        ``1 / w`` after three iterations.

    Source:
        Pipe and Menon 1999, doi:10.1002/(SICI)1522-2594(199901)41:1<179::AID-MRM25>3.0.CO;2-V,
        with a binomial kernel of three voxels an axis.
    """
    even = torch.ones_like(density)
    ratio, spare = torch.empty_like(density), torch.empty_like(density)
    for _ in range(EVENING):
        torch.div(density, even.clamp_(min=TINY), out=ratio)
        even *= _smooth(ratio, spare)
    return even


def _smooth(
    density: Float[Tensor, "z y x"], spare: Float[Tensor, "z y x"]
) -> Float[Tensor, "z y x"]:
    """Average with the binomial kernel (1/4, 1/2, 1/4) along each axis; both tensors are used."""
    opposite = density[:, :, 1].flip(0, 1)
    for axis in (2, 1, 0):
        count = density.shape[axis] - 1
        torch.mul(density, 0.5, out=spare)
        spare.narrow(axis, 1, count).add_(density.narrow(axis, 0, count), alpha=0.25)
        spare.narrow(axis, 0, count).add_(density.narrow(axis, 1, count), alpha=0.25)
        if axis == 2:
            spare[:, :, 0] += 0.25 * opposite
        density, spare = spare, density
    return density


def sphere_distance(box: int) -> Float[Tensor, "z y x"]:
    """Distance of each voxel of a volume from its centre, voxel ``box / 2``.

    Args:
        box: Side of the volume, in voxels.

    Returns:
        Distances in voxels.
    """
    squared = (torch.arange(box).float() - box // 2) ** 2
    return (squared[:, None, None] + squared[:, None] + squared).sqrt()


def _runs(disc: FourierDisc) -> Int[np.ndarray, "rows 4"]:
    """The rows of a disc: ky, first kx, end of kx, and the position of the first coefficient."""
    kx, ky = disc.coordinates.long().numpy().T
    start = np.flatnonzero(np.diff(ky, prepend=ky[0] - 1))
    count = np.diff(start, append=len(ky))
    return np.stack([ky[start], kx[start], kx[start] + count, start], axis=-1)
