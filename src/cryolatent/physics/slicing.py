"""Slices of a Fourier lattice and their adjoint: compiled on processors, PyTorch elsewhere.

Points are interpolated from the nearest voxel or from the eight around (`Interpolation`). The
PyTorch versions, ``reference_*``, run on any device and are what the compiled ones are tested
against.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from enum import IntEnum
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from jaxtyping import Complex, Float, Int
from torch import Tensor

from cryolatent.physics.grid import FourierDisc, shift_phases
from cryolatent.physics.lattice import FourierLattice


class Interpolation(IntEnum):
    """How a point between voxels is read; the value is the number of voxels that it touches."""

    NEAREST = 1
    TRILINEAR = 8


def slice_lattice(
    values: Complex[Tensor, "v c"],
    rotations: Float[Tensor, "n 3 3"],
    lattice: FourierLattice,
    interpolation: Interpolation = Interpolation.TRILINEAR,
) -> Complex[Tensor, "n k c"]:
    """Sample central slices of every component, differentiably in the values.

    Args:
        values: Fourier values at the lattice's voxels; both members of each pair on kx = 0.
        rotations: Rotation R of each slice; coefficient k samples the point ``(kx, ky, 0) @ R``.
        lattice: Where the values belong, and the disc of coefficients.
        interpolation: How a point is read.

    Returns:
        Coefficients of the lattice's disc.
    """
    if values.device.type != "cpu":
        return reference_slice_lattice(values, rotations, lattice, interpolation)
    return _Slice.apply(values, rotations, lattice, interpolation)  # pyright: ignore


def insert_slices(
    slices: Complex[Tensor, "n k c"],
    rotations: Float[Tensor, "n 3 3"],
    lattice: FourierLattice,
    interpolation: Interpolation = Interpolation.TRILINEAR,
) -> Complex[Tensor, "v c"]:
    """Backproject: the adjoint of `slice_lattice`.

    Args:
        slices: Coefficients of the lattice's disc.
        rotations: Rotation of each slice.
        lattice: Where the values belong.
        interpolation: How a point is read.

    Returns:
        Sums at the voxels, not yet folded (see `FourierLattice.fold`).
    """
    if slices.device.type != "cpu":
        return reference_insert_slices(slices, rotations, lattice, interpolation)
    from cryolatent.physics import kernels

    values = np.zeros((lattice.size, slices.shape[-1]), np.complex64)
    kernels.insert(_array(slices), geometry(rotations, lattice, interpolation), values)
    return torch.from_numpy(values)


def reference_slice_lattice(
    values: Complex[Tensor, "v c"],
    rotations: Float[Tensor, "n 3 3"],
    lattice: FourierLattice,
    interpolation: Interpolation = Interpolation.TRILINEAR,
) -> Complex[Tensor, "n k c"]:
    """`slice_lattice` in plain PyTorch, on any device."""
    result = torch.zeros(
        len(rotations), lattice.disc.size, values.shape[1], dtype=values.dtype, device=values.device
    )
    for voxels, weights, flipped in taps(rotations, lattice, interpolation):
        read = weights[..., None] * values[voxels]
        result = result + torch.where(flipped[..., None], read.conj(), read)
    return result


def reference_insert_slices(
    slices: Complex[Tensor, "n k c"],
    rotations: Float[Tensor, "n 3 3"],
    lattice: FourierLattice,
    interpolation: Interpolation = Interpolation.TRILINEAR,
) -> Complex[Tensor, "v c"]:
    """`insert_slices` in plain PyTorch, on any device."""
    components = slices.shape[-1]
    values = torch.zeros(lattice.size, components, dtype=slices.dtype, device=slices.device)
    for voxels, weights, flipped in taps(rotations, lattice, interpolation):
        turned = torch.where(flipped[..., None], slices.conj(), slices) * weights[..., None]
        values = values.index_add(0, voxels.flatten(), turned.reshape(-1, components))
    return values


def in_threads(work: Callable[[int, slice], Any], rows: int) -> list[Any]:
    """Share rows out among as many threads as PyTorch uses.

    Args:
        work: Called with the thread's number and its rows; must let go of Python's lock.
        rows: Number of rows.

    Returns:
        What each call returned, in the order of the rows.
    """
    threads = max(1, min(torch.get_num_threads(), rows))
    bounds = [rows * t // threads for t in range(threads + 1)]
    parts = [slice(a, b) for a, b in pairwise(bounds)]
    if threads == 1:
        return [work(0, parts[0])]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(work, range(threads), parts))


def geometry(
    rotations: Float[Tensor, "n 3 3"], lattice: FourierLattice, interpolation: Interpolation
) -> tuple[np.ndarray, np.ndarray, np.float32, int, int]:
    """What the compiled loops need to know of slices.

    Args:
        rotations: Rotation of each slice.
        lattice: Where they are taken, and their coefficients.
        interpolation: How a point is read.

    Returns:
        Rotations, coordinates, voxels per cycle, reach, voxels that a point touches.
    """
    return (
        _array(rotations.float()),
        _array(lattice.disc.coordinates),
        np.float32(lattice.oversampling),
        lattice.reach,
        int(interpolation),
    )


class _Slice(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, rotations: Tensor, lattice: Any, taps: Any) -> Tensor:
        from cryolatent.physics import kernels

        ctx.save_for_backward(rotations)
        ctx.lattice, ctx.taps = lattice, taps
        out = np.empty((len(rotations), lattice.disc.size, values.shape[1]), np.complex64)
        flat = _array(values)

        def work(_: int, rows: slice) -> None:
            kernels.sample(flat, geometry(rotations[rows], lattice, taps), out[rows])

        in_threads(work, len(rotations))
        return torch.from_numpy(out)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        (rotations,) = ctx.saved_tensors
        return insert_slices(gradients[0], rotations, ctx.lattice, ctx.taps), None, None, None


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().resolve_conj().contiguous().numpy()


def taps(
    rotations: Float[Tensor, "n 3 3"], lattice: FourierLattice, interpolation: Interpolation
) -> Iterator[tuple[Int[Tensor, "n k"], Float[Tensor, "n k"], Tensor]]:
    """The voxels that each coefficient's point touches, one tap at a time, in plain PyTorch.

    Args:
        rotations: Rotation of each slice.
        lattice: Where they are taken.
        interpolation: How a point is read.

    Yields:
        Voxels, their weights, and whether the point was brought to the other side.
    """
    points = lattice.disc.to(rotations.device).coordinates @ rotations[:, :2] * lattice.oversampling
    flipped = points[..., 0] < 0
    points = torch.where(flipped[..., None], -points, points)
    nearest = interpolation is Interpolation.NEAREST
    corner = (points + 0.5).floor() if nearest else points.floor()
    fraction = points - corner
    _, side, row = lattice.shape
    x, y, z = corner.long().unbind(-1)
    for tap in range(interpolation):
        step = (tap & 1, tap >> 1 & 1, tap >> 2)
        shares = [f if s else 1 - f for f, s in zip(fraction.unbind(-1), step, strict=True)]
        weights = torch.ones_like(shares[0]) if nearest else shares[0] * shares[1] * shares[2]
        y_at, z_at = y + (step[1] + lattice.reach), z + (step[2] + lattice.reach)
        yield (z_at * side + y_at) * row + x + step[0], weights, flipped


def displaced(
    images: Complex[Tensor, "n k"], shifts_pixels: Float[Tensor, "n 2"], disc: FourierDisc
) -> Complex[Tensor, "n k"]:
    """Move the content of images: `shift_phases` applied, compiled on processors.

    Args:
        images: Coefficients of the disc.
        shifts_pixels: Displacements (x, y) in pixels.
        disc: Where the coefficients belong.

    Returns:
        Coefficients of the moved images.
    """
    if images.device.type != "cpu":
        return images * shift_phases(disc, shifts_pixels)
    from cryolatent.physics import kernels

    out = np.empty(tuple(images.shape), np.complex64)
    whole, moves = images.contiguous().numpy(), shifts_pixels.float().contiguous().numpy()
    where = disc.coordinates.numpy()

    def work(_: int, rows: slice) -> None:
        kernels.displace(whole[rows], moves[rows], where, disc.radius, disc.box, out[rows])

    in_threads(work, len(whole))
    return torch.from_numpy(out)
