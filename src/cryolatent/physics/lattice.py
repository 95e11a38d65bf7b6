"""The Fourier lattice: the half of an oversampled Fourier grid that slices of some shells touch."""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import ceil

import torch
from jaxtyping import Bool, Complex, Float
from torch import Tensor
from torch.nn.functional import grid_sample

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

    @property
    def device(self) -> torch.device:
        """Where its tensors lie: with those of the disc."""
        return self.disc.device

    def to(self, device: torch.device) -> "FourierLattice":
        """The same voxels on another device.

        Args:
            device: Where the tensors are to lie.

        Returns:
            One lattice for each device, so that its tensors are made once.
        """
        return self if device == self.device else _lattice(self.disc.to(device), self.oversampling)

    @cached_property
    def reach(self) -> int:
        """Largest |index| of a voxel along an axis.

        Points lie below ``radius + 1/2``; one voxel more is touched at most.
        """
        return ceil(self.oversampling * (self.disc.radius + 0.5))

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of voxels along z, y, x."""
        return 2 * self.reach + 1, 2 * self.reach + 1, self.reach + 1

    @property
    def size(self) -> int:
        """Number of voxels."""
        z, y, x = self.shape
        return z * y * x

    @cached_property
    def side(self) -> int:
        """Side of the real-space grid on which `to_field` samples the field of view."""
        from scipy.fft import next_fast_len

        side = 2 * self.reach + 2
        while side % 2 or side != next_fast_len(side, real=True):
            side += 1
        return side

    @cached_property
    def coordinates(self) -> Float[Tensor, "v 3"]:
        """Each voxel's frequency (kx, ky, kz), in cycles per box."""
        axis = torch.arange(-self.reach, self.reach + 1, device=self.device).float()
        half = torch.arange(self.reach + 1, device=self.device).float()
        z, y, x = torch.meshgrid(axis, axis, half, indexing="ij")
        return torch.stack([x, y, z], dim=-1).view(-1, 3) / self.oversampling

    @cached_property
    def frequency(self) -> Float[Tensor, " v"]:
        """Distance of each voxel from the origin, in cycles per box."""
        return self.coordinates.square().sum(-1).sqrt()

    @cached_property
    def inside(self) -> Bool[Tensor, " v"]:
        """Voxels that slices may touch."""
        return self.frequency <= self.disc.radius + 1.0

    @cached_property
    def multiplicity(self) -> Float[Tensor, " v"]:
        """How many voxels of the whole grid a voxel stands for: 2, or 1 on the plane kx = 0."""
        weight = torch.full(self.shape, 2.0, device=self.device)
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
        return self.shell_sum(values) / self.shell_sum(torch.ones_like(values))

    def shell_sum(self, values: Float[Tensor, "v *c"]) -> Float[Tensor, "shells *c"]:
        """Add up the voxels of each shell, both members of each conjugate pair.

        Args:
            values: Values at the voxels.

        Returns:
            Sums of shells 0 to ``disc.radius``.
        """
        beyond = self.disc.radius + 1
        shell = self.frequency.round().long().clamp(max=beyond)
        weight = self.multiplicity.reshape(-1, *[1] * (values.ndim - 1)).to(values)
        total = values.new_zeros(beyond + 1, *values.shape[1:])
        return total.index_add_(0, shell, weight * values)[:beyond]

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
            Real fields in FFT order (centre first), the sum over all frequencies at each point.
        """
        fields = values.real.new_empty(values.shape[1], *(self.side,) * 3)
        grid = values.new_zeros(self.grid_shape)
        for n in range(len(fields)):
            self._lay(values[:, n], grid)
            self.inverse(grid, fields[n])
        return fields

    def from_field(self, field: Float[Tensor, "c z y x"]) -> Complex[Tensor, "v c"]:
        """Transform from real space; the inverse of `to_field`.

        Args:
            field: Real fields of `side` points an axis, in FFT order.

        Returns:
            Fourier values at the voxels.
        """
        values = field.new_empty(self.size, len(field), dtype=torch.complex64)
        for n in range(len(field)):
            self.read_grid(self.forward(field[n]), values[:, n])
        return values

    @property
    def grid_shape(self) -> tuple[int, int, int]:
        """Of the half grid of a real transform of `side` points an axis."""
        return self.side, self.side, self.side // 2 + 1

    def to_grid(self, values: Tensor) -> Tensor:
        """Lay voxels out as a real transform's half grid, zero elsewhere.

        Args:
            values: Numbers at the voxels, ``[v, c]``.

        Returns:
            The same, ``[c, side, side, side / 2 + 1]``.
        """
        grids = values.new_zeros(values.shape[1], *self.grid_shape)
        for n in range(len(grids)):
            self._lay(values[:, n], grids[n])
        return grids

    def read_grid(self, grid: Complex[Tensor, "kz ky kx"], column: Complex[Tensor, " v"]) -> None:
        """Take the voxels from a half grid.

        Args:
            grid: From `forward`.
            column: Where their numbers go, such as a component's column of all values.
        """
        cube = column.unflatten(0, self.shape)
        for voxels, places in self._quadrants:
            cube[voxels] = grid[places]

    def forward(self, field: Float[Tensor, "z y x"]) -> Complex[Tensor, "kz ky kx"]:
        """Transform a field to a half grid."""
        return torch.fft.rfftn(field, norm="forward")

    def inverse(
        self, grid: Complex[Tensor, "kz ky kx"], field: Float[Tensor, "z y x"]
    ) -> Float[Tensor, "z y x"]:
        """Transform a half grid to real space.

        Args:
            grid: From `to_grid` or `forward`.
            field: Where the field goes, in FFT order.

        Returns:
            The field.
        """
        return torch.fft.irfftn(grid, s=(self.side,) * 3, norm="forward", out=field)

    def _lay(self, column: Tensor, grid: Tensor) -> None:
        cube = column.unflatten(0, self.shape)
        for voxels, places in self._quadrants:
            grid[places] = cube[voxels]

    @cached_property
    def _quadrants(self) -> list[tuple[tuple[slice, ...], tuple[slice, ...]]]:
        """Voxels of either sign along z and y, and where a half grid has them."""
        reach, side = self.reach, self.side
        halves = (slice(reach), slice(side - reach, side)), (slice(reach, None), slice(reach + 1))
        whole = slice(None), slice(reach + 1)
        return [((z[0], y[0], whole[0]), (z[1], y[1], whole[1])) for z in halves for y in halves]

    def field_of(self, mask: Float[Tensor, "z y x"]) -> Float[Tensor, "side side side"]:
        """Sample a map of the box where `to_field` samples the field of view.

        Args:
            mask: A map of the box; beyond it is zero.

        Returns:
            Its trilinear interpolation, in FFT order.
        """
        box = self.disc.box
        steps = torch.arange(self.side, device=mask.device) - self.side // 2
        position = steps * (self.oversampling * box / self.side) + box // 2
        unit = (2 * position + 1) / box - 1
        z, y, x = torch.meshgrid(unit, unit, unit, indexing="ij")
        points = torch.stack([x, y, z], dim=-1)[None]
        field = grid_sample(mask[None, None], points, align_corners=False)[0, 0]
        return torch.fft.ifftshift(field)

    def grown_from(
        self, values: Complex[Tensor, "u c"], smaller: "FourierLattice"
    ) -> Complex[Tensor, "v c"]:
        """Copy the values of a lattice of fewer shells; the new voxels are zero.

        Args:
            values: Fourier values at the smaller lattice's voxels.
            smaller: A lattice of the same box and oversampling.

        Returns:
            Fourier values at this lattice's voxels.
        """
        grown = values.new_zeros(*self.shape, values.shape[1])
        side, gap = 2 * smaller.reach + 1, self.reach - smaller.reach
        middle = slice(gap, gap + side)
        cube = (values * smaller.inside[:, None]).view(*smaller.shape, -1)
        grown[middle, middle, : smaller.reach + 1] = cube
        return grown.view(self.size, -1)

    def cropped(
        self, values: Complex[Tensor, "v c"], smaller: "FourierLattice"
    ) -> Complex[Tensor, "u c"]:
        """Keep the voxels of a lattice of fewer shells.

        Args:
            values: Fourier values at this lattice's voxels.
            smaller: A lattice of the same box and oversampling.

        Returns:
            Fourier values at the smaller lattice's voxels.
        """
        gap = self.reach - smaller.reach
        middle = slice(gap, gap + 2 * smaller.reach + 1)
        cube = values.view(*self.shape, -1)[middle, middle, : smaller.reach + 1]
        return cube.reshape(smaller.size, -1)

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
        index = torch.arange(-reach, reach + 1, device=values.device) % padded
        centred = torch.arange(-(box // 2), box // 2, device=values.device) % padded
        cube = values.T.reshape(-1, *self.shape)[:, kept, kept, : reach + 1]
        # axis by axis and a few planes at a time: of the field of view only the box is kept
        planes = list(cube.split(PLANES, dim=3))
        for number in range(len(planes)):
            for axis in (1, 2):
                shape = list(planes[number].shape)
                shape[axis] = padded
                grid = values.new_zeros(shape)
                grid.index_copy_(axis, index, planes[number])
                planes[number] = torch.fft.ifft(grid, dim=axis).index_select(axis, centred)
        volume = torch.fft.irfft(torch.cat(planes, dim=3), n=padded, dim=3).index_select(3, centred)
        return volume.mul_(box).div_(self.gridding(gridding_power))

    def from_volumes(
        self, volumes: Float[Tensor, "c z y x"], gridding_power: int = 2
    ) -> Complex[Tensor, "v c"]:
        """Transform real volumes without higher shells; undoes `to_volumes` of the opposite power.

        Args:
            volumes: Real volumes of the box.
            gridding_power: As in `to_volumes`; negative to multiply instead.

        Returns:
            Fourier values at the voxels.
        """
        box, size = self.disc.box, len(volumes)
        volumes = volumes / (box * self.gridding(gridding_power))
        along, half = self._waves
        # of the padded field only the box is not zero, and only voxels in reach are wanted: three
        # products, each with the axis that it sums first, are cheaper than the transform of it all
        rows = torch.complex(volumes @ half.real.T, volumes @ half.imag.T)
        kz = along @ rows.transpose(0, 1).reshape(box, -1)
        y_first = kz.view(len(along), size, box, -1).permute(2, 0, 3, 1)
        ky = along @ y_first.reshape(box, -1)
        cube = ky.view(len(along), len(along), -1, size).transpose(0, 1)
        return cube.reshape(-1, size).contiguous()

    @cached_property
    def _waves(self) -> tuple[Complex[Tensor, "k d"], Complex[Tensor, "half d"]]:
        """``exp(-2 pi i k x / padded)`` of the voxels along an axis, and of those with k >= 0."""
        centred = torch.arange(self.disc.box, device=self.device) - self.disc.box // 2
        frequency = torch.arange(-self.reach, self.reach + 1, device=self.device)
        padded = self.disc.box * self.oversampling
        turns = frequency[:, None] * centred % padded / padded
        waves = torch.polar(torch.ones_like(turns), -2 * torch.pi * turns)
        return waves, waves[self.reach :]

    def gridding(self, power: int) -> Float[Tensor, "z y x"]:
        """The attenuation of a volume by interpolation of its transform.

        Args:
            power: As in `to_volumes`.

        Returns:
            The transform of the interpolation's kernel, at the voxels of the box.
        """
        box = self.disc.box
        axis = torch.arange(-(box // 2), box // 2, device=self.device)
        position = axis / (box * self.oversampling)
        kernel = torch.sinc(position) ** power
        return kernel[:, None, None] * kernel[:, None] * kernel


@lru_cache(maxsize=64)
def _lattice(disc: FourierDisc, oversampling: int) -> FourierLattice:
    return FourierLattice(disc, oversampling)
