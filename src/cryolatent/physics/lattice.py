"""The Fourier lattice: the half of an oversampled Fourier grid that slices of some shells touch."""

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Complex, Float
from torch import Tensor
from torch.nn.functional import pad

from cryolatent.physics.grid import FourierDisc

PLANES = 16


@dataclass(frozen=True)
class FourierLattice:
    """Fourier voxels (kz, ky, kx) with kx >= 0, flat, components contiguous in each voxel.

    A lattice of `oversampling` o represents a volume in a field of view o times the box; voxel
    (z, y, x) is the frequency ``(z, y, x) / o`` in cycles per box. It reaches one voxel beyond the
    last shell, so interpolation never leaves it. The plane kx = 0 holds both members of each
    conjugate pair.

    Args:
        disc: The coefficients that slices hold.
        oversampling: Voxels per cycle per box.
    """

    disc: FourierDisc
    oversampling: int = 2

    @cached_property
    def reach(self) -> int:
        """Largest |index| of a voxel along an axis."""
        return self.oversampling * (self.disc.radius + 1)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of voxels along z, y, x."""
        return 2 * self.reach + 1, 2 * self.reach + 1, self.reach + 1

    @property
    def size(self) -> int:
        """Number of voxels."""
        z, y, x = self.shape
        return z * y * x

    @property
    def side(self) -> int:
        """Side of the real-space grid on which `to_field` samples the field of view."""
        return 2 * self.reach + 2

    @cached_property
    def frequency(self) -> Float[Tensor, " v"]:
        """Distance of each voxel from the origin, in cycles per box."""
        axis = torch.arange(-self.reach, self.reach + 1).float()
        half = torch.arange(self.reach + 1).float()
        squared = axis[:, None, None] ** 2 + axis[:, None] ** 2 + half**2
        return squared.sqrt().flatten() / self.oversampling

    @cached_property
    def inside(self) -> Bool[Tensor, " v"]:
        """Voxels that slices may touch."""
        return self.frequency <= self.disc.radius + 1.0

    @cached_property
    def multiplicity(self) -> Float[Tensor, " v"]:
        """How many voxels of the whole grid a voxel stands for: 2, or 1 on the plane kx = 0."""
        weight = torch.full(self.shape, 2.0)
        weight[..., 0] = 1.0
        return weight.flatten()

    def per_shell(self, spectrum: Float[Tensor, "shells *c"]) -> Float[Tensor, "v *c"]:
        """Interpolate a spectrum at every voxel.

        Args:
            spectrum: Values of shells 0 to ``disc.radius``; the last is kept beyond.

        Returns:
            Values at the voxels.
        """
        below = self.frequency.floor().long().clamp(max=self.disc.radius)
        above = (below + 1).clamp(max=self.disc.radius)
        share = (self.frequency - below).clamp(0, 1)
        share = share.reshape(-1, *[1] * (spectrum.ndim - 1))
        return (1 - share) * spectrum[below] + share * spectrum[above]

    def shell_mean(self, values: Float[Tensor, "v *c"]) -> Float[Tensor, "shells *c"]:
        """Average over the voxels of each shell ``round(frequency)``.

        Args:
            values: Values at the voxels.

        Returns:
            Means of shells 0 to ``disc.radius``.
        """
        shell = self.frequency.round().long()
        keep = shell <= self.disc.radius
        weight = self.multiplicity[keep].reshape(-1, *[1] * (values.ndim - 1)).to(values)
        total = torch.zeros(self.disc.radius + 1, *values.shape[1:], dtype=values.dtype)
        total.index_add_(0, shell[keep], weight * values[keep])
        count = torch.zeros_like(total)
        count.index_add_(0, shell[keep], weight.expand_as(values[keep]))
        return total / count

    def fold(self, values: Tensor) -> Tensor:
        """Add up both members of each conjugate pair on the plane kx = 0, in place.

        Slices insert a point there as it comes, at one member of the pair.

        Args:
            values: Sums at the voxels, real or complex, ``[v]`` or ``[v, c]``.

        Returns:
            The same tensor.
        """
        plane = values.view(*self.shape, *values.shape[1:])[:, :, 0]
        plane += plane.flip(0, 1).conj().resolve_conj()
        return values

    def to_field(self, values: Complex[Tensor, "v c"]) -> Float[Tensor, "c z y x"]:
        """Transform to real space: the whole field of view, sampled on `side` points an axis.

        Args:
            values: Fourier values at the voxels.

        Returns:
            Real fields, centred; values are in the scale of the lattice (see `from_field`).
        """
        components = values.shape[1]
        grid = torch.zeros(components, *(self.side,) * 3, dtype=values.dtype)[..., : self.reach + 2]
        index = torch.arange(-self.reach, self.reach + 1) % self.side
        grid[:, index[:, None], index, : self.reach + 1] = values.T.reshape(-1, *self.shape)
        field = torch.fft.irfftn(grid, s=(self.side,) * 3, dim=(-3, -2, -1), norm="forward")
        return torch.fft.fftshift(field, dim=(-3, -2, -1))

    def from_field(self, field: Float[Tensor, "c z y x"]) -> Complex[Tensor, "v c"]:
        """Transform from real space; the inverse of `to_field`.

        Args:
            field: Real fields of `side` points an axis, centred.

        Returns:
            Fourier values at the voxels.
        """
        field = torch.fft.ifftshift(field, dim=(-3, -2, -1))
        grid = torch.fft.rfftn(field, dim=(-3, -2, -1), norm="forward")
        index = torch.arange(-self.reach, self.reach + 1) % self.side
        values = grid[:, index[:, None], index, : self.reach + 1]
        return values.reshape(len(field), -1).T.contiguous()

    def to_volumes(
        self, values: Complex[Tensor, "v c"], gridding_power: int = 2
    ) -> Float[Tensor, "c z y x"]:
        """Transform to real volumes of the box, in the scale of `volume_to_fourier`.

        Args:
            values: Fourier values at the voxels.
            gridding_power: Divide by the transform of the interpolation's kernel, a sinc to this
                power along each axis: 2 for trilinear, 1 for nearest, 0 for none.

        Returns:
            Volumes, centred on voxel ``box / 2``.
        """
        box, padded = self.disc.box, self.disc.box * self.oversampling
        reach = min(self.reach, padded // 2 - 1)
        kept = slice(self.reach - reach, self.reach + reach + 1)
        index = torch.arange(-reach, reach + 1) % padded
        centred = torch.arange(-(box // 2), box // 2) % padded
        cube = values.T.reshape(-1, *self.shape)[:, kept, kept, : reach + 1]
        # axis by axis and a few planes at a time: of the field of view only the box is kept
        planes = list(cube.split(PLANES, dim=3))
        for number in range(len(planes)):
            for axis in (1, 2):
                shape = list(planes[number].shape)
                shape[axis] = padded
                grid = torch.zeros(shape, dtype=values.dtype)
                grid.index_copy_(axis, index, planes[number])
                planes[number] = torch.fft.ifft(grid, dim=axis).index_select(axis, centred)
        volume = torch.fft.irfft(torch.cat(planes, dim=3), n=padded, dim=3).index_select(3, centred)
        return volume.mul_(box).div_(self.gridding(gridding_power))

    def from_volumes(
        self, volumes: Float[Tensor, "c z y x"], gridding_power: int = 2
    ) -> Complex[Tensor, "v c"]:
        """Transform real volumes; the inverse of `to_volumes` for volumes without higher shells.

        Args:
            volumes: Real volumes of the box.
            gridding_power: As in `to_volumes`.

        Returns:
            Fourier values at the voxels.
        """
        box, padded = self.disc.box, self.disc.box * self.oversampling
        volumes = volumes / self.gridding(gridding_power)
        volumes = pad(volumes, ((padded - box) // 2,) * 6)
        grid = torch.fft.rfftn(torch.fft.ifftshift(volumes, dim=(-3, -2, -1)), dim=(-3, -2, -1))
        index = torch.arange(-self.reach, self.reach + 1) % padded
        values = grid[:, index[:, None], index, : self.reach + 1] / box
        return values.reshape(len(volumes), -1).T.contiguous()

    def gridding(self, power: int) -> Float[Tensor, "z y x"]:
        """The attenuation of a volume by interpolation of its transform.

        Args:
            power: As in `to_volumes`.

        Returns:
            The transform of the interpolation's kernel, at the voxels of the box.
        """
        box = self.disc.box
        position = torch.arange(-(box // 2), box // 2) / (box * self.oversampling)
        kernel = torch.sinc(position) ** power
        return kernel[:, None, None] * kernel[:, None] * kernel
