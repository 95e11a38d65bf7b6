"""Compiled loops over slices: sampling a Fourier lattice, and adding to it.

Every kernel runs on one thread and lets go of Python's lock; `cryolatent.physics.slicing` divides
the work among threads. A lattice is flat, ``values[voxel, component]``, see `FourierLattice`; a
geometry is (rotations, coordinates, voxels per cycle, reach, voxels that a point touches). A point
k and its opposite -k hold conjugate values, so a point is first brought to kx >= 0.
"""

import inspect
from collections.abc import Callable

import numba
import numpy as np


def kernel(function: Callable) -> Callable:
    """Compile a function on first use, for the processor at hand, and keep the code on disk.

    Args:
        function: In the part of Python that numba knows.

    Returns:
        The compiled function.
    """
    compile_ = numba.njit(nogil=True, fastmath=True, cache=True, error_model="numpy")
    return compile_(inspect.unwrap(function))


NEAREST, TRILINEAR = 1, 8
"""Interpolation, as the number of voxels that a point touches."""


@kernel
def _touch(rotation, k, scale, reach, taps, voxels, weights):
    """Find the voxels that a coefficient's point touches, their weights, and the point's sign."""
    x = scale * (k[0] * rotation[0, 0] + k[1] * rotation[1, 0])
    y = scale * (k[0] * rotation[0, 1] + k[1] * rotation[1, 1])
    z = scale * (k[0] * rotation[0, 2] + k[1] * rotation[1, 2])
    sign = np.float32(1.0)
    if x < 0:
        sign = np.float32(-1.0)
        x, y, z = -x, -y, -z
    row, side = reach + 1, 2 * reach + 1
    if taps == NEAREST:
        at_x, at_y, at_z = int(x + 0.5), int(np.floor(y + 0.5)), int(np.floor(z + 0.5))
        voxels[0] = ((at_z + reach) * side + at_y + reach) * row + at_x
        weights[0] = 1.0
        return sign
    at_x, at_y, at_z = int(x), int(np.floor(y)), int(np.floor(z))
    fx, fy, fz = x - at_x, y - at_y, z - at_z
    corner = ((at_z + reach) * side + at_y + reach) * row + at_x
    for tap in range(8):
        dx, dy, dz = tap & 1, tap >> 1 & 1, tap >> 2
        voxels[tap] = corner + (dz * side + dy) * row + dx
        weights[tap] = (fx if dx else 1 - fx) * (fy if dy else 1 - fy) * (fz if dz else 1 - fz)
    return sign


@kernel
def sample(values, geometry, out):
    """Interpolate: ``out[n, k, c] = Σ_tap weight · values[voxel, c]``, conjugated where k < 0."""
    rotations, coordinates, scale, reach, taps = geometry
    voxels, weights = np.empty(taps, np.int64), np.empty(taps, np.float32)
    components = values.shape[1]
    for n in range(rotations.shape[0]):
        for k in range(coordinates.shape[0]):
            sign = _touch(rotations[n], coordinates[k], scale, reach, taps, voxels, weights)
            for c in range(components):
                real, imaginary = np.float32(0), np.float32(0)
                for tap in range(taps):
                    value = values[voxels[tap], c]
                    real += weights[tap] * value.real
                    imaginary += weights[tap] * value.imag
                out[n, k, c] = complex(real, sign * imaginary)


@kernel
def insert(slices, geometry, values):
    """Add to the lattice what `sample` would read: its adjoint, but for the fold at kx = 0."""
    rotations, coordinates, scale, reach, taps = geometry
    voxels, weights = np.empty(taps, np.int64), np.empty(taps, np.float32)
    for n in range(rotations.shape[0]):
        for k in range(coordinates.shape[0]):
            sign = _touch(rotations[n], coordinates[k], scale, reach, taps, voxels, weights)
            for c in range(values.shape[1]):
                value = slices[n, k, c]
                value = complex(value.real, sign * value.imag)
                for tap in range(taps):
                    values[voxels[tap], c] += weights[tap] * value


@kernel
def project_gram(values, images, weights, starts, geometry, gram, inner):
    """Inner products of each observation's slices, shell by shell.

    With g_c the slice of component c, w the squared transfer function and x the filtered image:
    ``gram[n, s, (c, d)] = Σ_k w Re(g_c* g_d)`` for d <= c, and ``inner[n, s, c] = Σ_k Re(g_c* x)``.
    Coefficients are in the order of their shells; shell s begins at ``starts[s]``.
    """
    rotations, coordinates, scale, reach, taps = geometry
    components, size = values.shape[1], coordinates.shape[0]
    real = np.empty((components, size), np.float32)
    imaginary = np.empty((components, size), np.float32)
    voxels, shares = np.empty(taps, np.int64), np.empty(taps, np.float32)
    for n in range(rotations.shape[0]):
        for k in range(size):
            sign = _touch(rotations[n], coordinates[k], scale, reach, taps, voxels, shares)
            for c in range(components):
                re, im = np.float32(0), np.float32(0)
                for tap in range(taps):
                    value = values[voxels[tap], c]
                    re += shares[tap] * value.real
                    im += shares[tap] * value.imag
                real[c, k], imaginary[c, k] = re, sign * im
        for s in range(starts.shape[0] - 1):
            pair = 0
            for c in range(components):
                total = np.float32(0)
                for k in range(starts[s], starts[s + 1]):
                    x = images[n, k]
                    total += real[c, k] * x.real + imaginary[c, k] * x.imag
                inner[n, s, c] = total
                for d in range(c + 1):
                    total = np.float32(0)
                    for k in range(starts[s], starts[s + 1]):
                        total += weights[n, k] * (
                            real[c, k] * real[d, k] + imaginary[c, k] * imaginary[d, k]
                        )
                    gram[n, s, pair] = total
                    pair += 1


@kernel
def insert_normal(images, weights, gains, seconds, firsts, geometry, matrix, vector):
    """Add observations to the normal equations of every voxel.

    ``matrix[v, (c, d)] += gain · w · E[ζ_c ζ_d]`` for d <= c and ``vector[v, c] += gain · x ·
    E[ζ_c]``, both times the interpolation weight; ζ are the observation's coefficients.
    """
    components, pairs = firsts.shape[1], seconds.shape[1]
    rotations, coordinates, scale, reach, taps = geometry
    voxels, shares = np.empty(taps, np.int64), np.empty(taps, np.float32)
    for n in range(rotations.shape[0]):
        for k in range(coordinates.shape[0]):
            sign = _touch(rotations[n], coordinates[k], scale, reach, taps, voxels, shares)
            weight, value = gains[k] * weights[n, k], gains[k] * images[n, k]
            value = complex(value.real, sign * value.imag)
            for tap in range(taps):
                v, share = voxels[tap], shares[tap]
                for pair in range(pairs):
                    matrix[v, pair] += share * weight * seconds[n, pair]
                for c in range(components):
                    vector[v, c] += share * firsts[n, c] * value


@kernel
def apply_normal(matrix, values, out):
    """Multiply each voxel's components by its symmetric matrix, given as its lower triangle."""
    components = values.shape[1]
    for v in range(values.shape[0]):
        for c in range(components):
            out[v, c] = 0
        pair = 0
        for c in range(components):
            for d in range(c):
                out[v, c] += matrix[v, pair] * values[v, d]
                out[v, d] += matrix[v, pair] * values[v, c]
                pair += 1
            out[v, c] += matrix[v, pair] * values[v, c]
            pair += 1


@kernel
def solve_normal(matrix, precision, vector, out):
    """Solve each voxel's system ``(matrix + diag(precision)) u = vector`` by Cholesky."""
    components = vector.shape[1]
    root = np.empty((components, components), np.float64)
    right = np.empty(components, np.complex128)
    for v in range(vector.shape[0]):
        pair = 0
        for c in range(components):
            for d in range(c + 1):
                total = np.float64(matrix[v, pair])
                if c == d:
                    total += precision[v, c]
                for e in range(d):
                    total -= root[c, e] * root[d, e]
                root[c, d] = np.sqrt(total) if c == d else total / root[d, d]
                pair += 1
        for c in range(components):
            value = np.complex128(vector[v, c])
            for d in range(c):
                value -= root[c, d] * right[d]
            right[c] = value / root[c, c]
        for c in range(components - 1, -1, -1):
            value = right[c]
            for d in range(c + 1, components):
                value -= root[d, c] * right[d]
            right[c] = value / root[c, c]
            out[v, c] = right[c]
