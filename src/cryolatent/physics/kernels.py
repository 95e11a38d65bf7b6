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
    options = {"nogil": True, "fastmath": True, "error_model": "numpy"}
    plain = inspect.unwrap(function)
    try:
        return numba.njit(cache=True, **options)(plain)
    except RuntimeError:  # neither the installation nor a home can be written to
        return numba.njit(**options)(plain)


TILE = 256
"""Coefficients at once: what is read of them stays in the fastest cache until all is done with it,
and neighbouring views find the voxels of the same shells in the next."""

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
def _place(rotation, coordinates, scale, reach, voxels, signs):
    """Find the nearest voxel of every coefficient of a slice, and its point's sign."""
    row, side = reach + 1, 2 * reach + 1
    origin = (reach * side + reach) * row
    xx, xy, xz = scale * rotation[0, 0], scale * rotation[0, 1], scale * rotation[0, 2]
    yx, yy, yz = scale * rotation[1, 0], scale * rotation[1, 1], scale * rotation[1, 2]
    for k in range(coordinates.shape[0]):
        kx, ky = coordinates[k, 0], coordinates[k, 1]
        x = kx * xx + ky * yx
        sign = np.float32(1.0) if x >= 0 else np.float32(-1.0)
        at_x = int(np.rint(sign * x))
        at_y = int(np.rint(sign * (kx * xy + ky * yy)))
        at_z = int(np.rint(sign * (kx * xz + ky * yz)))
        voxels[k] = (at_z * side + at_y) * row + at_x + origin
        signs[k] = sign


@kernel
def displace(images, shifts, coordinates, radius, box, out):
    """Multiply images by ``exp(-2πi k·t)``, t in pixels, from tables of waves along each axis."""
    along_x = np.empty(radius + 1, np.complex64)
    along_y = np.empty(2 * radius + 1, np.complex64)
    for n in range(images.shape[0]):
        for k in range(radius + 1):
            angle = -2 * np.pi * k / box
            along_x[k] = complex(np.cos(angle * shifts[n, 0]), np.sin(angle * shifts[n, 0]))
            wave = complex(np.cos(angle * shifts[n, 1]), np.sin(angle * shifts[n, 1]))
            along_y[radius + k], along_y[radius - k] = wave, wave.conjugate()
        for k in range(coordinates.shape[0]):
            x, y = int(coordinates[k, 0]), int(coordinates[k, 1])
            out[n, k] = images[n, k] * along_x[x] * along_y[radius + y]


@kernel
def _weighted(observations, gains, n, first, count, signs, parts):
    """Some coefficients of an image: weights, and real and imaginary parts, times the gains."""
    images, weights = observations
    weight, real, imaginary = parts
    for k in range(count):
        gain = gains[first + k]
        weight[k] = gain * weights[n, first + k]
        real[k] = gain * images[n, first + k].real
        imaginary[k] = gain * images[n, first + k].imag * signs[k]


@kernel
def _gather(values, first, voxels, count, real, imaginary):
    """Read components from `first` on at the voxels of a slice."""
    for c in range(real.shape[0]):
        for k in range(count):
            value = values[voxels[k], first + c]
            real[c, k], imaginary[c, k] = value.real, value.imag


@kernel
def _plain_dot(real, imaginary, other_real, other_imaginary, count):
    """``Σ_k Re(g* h)``."""
    total = np.float32(0)
    for k in range(count):
        total += real[k] * other_real[k] + imaginary[k] * other_imaginary[k]
    return total


@kernel
def _dot(weight, real, imaginary, other_real, other_imaginary, count):
    """``Σ_k weight Re(g* h)``."""
    total = np.float32(0)
    for k in range(count):
        total += weight[k] * (real[k] * other_real[k] + imaginary[k] * other_imaginary[k])
    return total


@kernel
def _products(parts, real, imaginary, count, gram, inner):
    """Add the products of some coefficients of an image's slices with each other and with it."""
    weight, image_real, image_imaginary = parts
    components = inner.shape[0]
    independent = gram.shape[0] == components
    pair = 0
    for c in range(components):
        inner[c] += _plain_dot(real[c], imaginary[c], image_real, image_imaginary, count)
        for d in range(c if independent else 0, c + 1):
            gram[pair] += _dot(weight, real[c], imaginary[c], real[d], imaginary[d], count)
            pair += 1


@kernel
def slice_products(values, images, weights, gains, geometry, gram, inner):
    """Inner products of each observation's nearest-neighbour slices with each other and the image.

    With g_c the slice of component c, w the squared transfer function and x the filtered image:
    ``gram[n, (c, d)] = Σ_k gain w Re(g_c* g_d)`` for d <= c, or for d = c alone if `gram` has only
    as many columns as there are components; ``inner[n, c] = Σ_k gain Re(g_c* x)``.
    """
    rotations, coordinates, scale, reach, _ = geometry
    components, size = values.shape[1], coordinates.shape[0]
    real, imaginary = (
        np.empty((components, TILE), np.float32),
        np.empty((components, TILE), np.float32),
    )
    parts = np.empty(TILE, np.float32), np.empty(TILE, np.float32), np.empty(TILE, np.float32)
    signs, voxels = np.empty(TILE, np.float32), np.empty(TILE, np.uint32)
    gram[:], inner[:] = 0, 0
    for first in range(0, size, TILE):
        count = min(TILE, size - first)
        here = coordinates[first : first + count]
        for n in range(rotations.shape[0]):
            _place(rotations[n], here, scale, reach, voxels, signs)
            _weighted((images, weights), gains, n, first, count, signs, parts)
            _gather(values, 0, voxels, count, real, imaginary)
            _products(parts, real, imaginary, count, gram[n], inner[n])


@kernel
def _slopes(tangent, turn, here, wave, signs, slopes):
    """Derivatives of a slice by turns about the image's axes and by shifts, real and imaginary.

    `tangent` holds real and imaginary parts of the slice and of its derivatives by turns about the
    volume's own axes.
    """
    of_real, of_imaginary = tangent
    real, imaginary = slopes
    count = here.shape[0]
    for b in range(3):
        x, y, z = turn[b, 0], turn[b, 1], turn[b, 2]
        for k in range(count):
            real[b, k] = x * of_real[1, k] + y * of_real[2, k] + z * of_real[3, k]
            imaginary[b, k] = (
                x * of_imaginary[1, k] + y * of_imaginary[2, k] + z * of_imaginary[3, k]
            )
    # -2 pi i k times the slice; where the point was brought to the other side, conjugated
    for b in range(2):
        for k in range(count):
            factor = wave * here[k, b] * signs[k]
            real[3 + b, k] = factor * of_imaginary[0, k]
            imaginary[3 + b, k] = -factor * of_real[0, k]


@kernel
def perturbed_products(volumes, observations, geometry, wave, outputs):
    """`slice_products`, with the derivatives of volumes by pose beside the components.

    `volumes` are the components and, from `tangents`, one volume for all of them or one for each,
    with its derivatives by turns about its own axes. With h_b the derivatives of the slice of
    volume t by turns about the image's axes and by shifts in pixels:
    ``cross[n, c, b] = Σ_k gain w Re(g_c* h_b)``, ``own[n, t]`` the same of h with h, packed, and
    ``pull[n, t, b] = Σ_k gain Re(h_b* x)``; `wave` is 2 pi over the box.
    """
    values, tangent = volumes
    images, weights, gains = observations
    gram, inner, cross, own, pull = outputs
    rotations, coordinates, scale, reach, _ = geometry
    components, size, bases = values.shape[1], coordinates.shape[0], own.shape[1]
    real, imaginary = (
        np.empty((components, TILE), np.float32),
        np.empty((components, TILE), np.float32),
    )
    of_real, of_imaginary = np.empty((4, TILE), np.float32), np.empty((4, TILE), np.float32)
    slope_real, slope_imaginary = np.empty((5, TILE), np.float32), np.empty((5, TILE), np.float32)
    parts = np.empty(TILE, np.float32), np.empty(TILE, np.float32), np.empty(TILE, np.float32)
    weight, image_real, image_imaginary = parts
    signs, voxels = np.empty(TILE, np.float32), np.empty(TILE, np.uint32)
    gram[:], inner[:], cross[:], own[:], pull[:] = 0, 0, 0, 0, 0
    for first in range(0, size, TILE):
        count = min(TILE, size - first)
        here = coordinates[first : first + count]
        for n in range(rotations.shape[0]):
            _place(rotations[n], here, scale, reach, voxels, signs)
            _weighted((images, weights), gains, n, first, count, signs, parts)
            _gather(values, 0, voxels, count, real, imaginary)
            _products(parts, real, imaginary, count, gram[n], inner[n])
            for t in range(bases):
                _gather(tangent, 4 * t, voxels, count, of_real, of_imaginary)
                volume, slopes = (of_real, of_imaginary), (slope_real, slope_imaginary)
                _slopes(volume, rotations[n], here, wave, signs, slopes)
                for b in range(5):
                    h, i = slope_real[b], slope_imaginary[b]
                    pull[n, t, b] += _plain_dot(h, i, image_real, image_imaginary, count)
                    for c in range(t, t + 1) if bases > 1 else range(components):
                        cross[n, c, b] += _dot(weight, real[c], imaginary[c], h, i, count)
                    for d in range(b + 1):
                        product = _dot(weight, h, i, slope_real[d], slope_imaginary[d], count)
                        own[n, t, b * (b + 1) // 2 + d] += product


@kernel
def insert_normal(images, weights, gains, seconds, firsts, geometry, matrix, vector):
    """Add observations to the normal equations of their nearest voxels.

    ``matrix[v, (c, d)] += gain w E[ζ_c ζ_d]`` for d <= c, or for d = c alone if `seconds` has only
    as many columns as there are components; ``vector[v, c] += gain x E[ζ_c]``, real and imaginary
    parts side by side; ζ are the observation's coefficients.
    """
    rotations, coordinates, scale, reach, _ = geometry
    size = coordinates.shape[0]
    components, pairs = firsts.shape[1], seconds.shape[1]
    signs, voxels = np.empty(size, np.float32), np.empty(size, np.int32)
    for n in range(rotations.shape[0]):
        _place(rotations[n], coordinates, scale, reach, voxels, signs)
        for k in range(size):
            weight = gains[k] * weights[n, k]
            real = gains[k] * images[n, k].real
            imaginary = gains[k] * images[n, k].imag * signs[k]
            row = matrix[voxels[k]]
            for pair in range(pairs):
                row[pair] += weight * seconds[n, pair]
            row = vector[voxels[k]]
            for c in range(components):
                row[2 * c] += firsts[n, c] * real
                row[2 * c + 1] += firsts[n, c] * imaginary


@kernel
def residual_power(values, images, weights, seconds, firsts, geometry, shells, power):
    """Add the expected squared residuals of each shell, but for the images' own power.

    ``power[s] += Σ w E|g ζ|² - 2 Re(x* g E[ζ])`` over the coefficients of shell s.
    """
    rotations, coordinates, scale, reach, _ = geometry
    size, components = coordinates.shape[0], values.shape[1]
    independent = seconds.shape[1] == components
    signs, voxels = np.empty(size, np.float32), np.empty(size, np.int32)
    for n in range(rotations.shape[0]):
        _place(rotations[n], coordinates, scale, reach, voxels, signs)
        for k in range(size):
            row = values[voxels[k]]
            real, imaginary = images[n, k].real, images[n, k].imag * signs[k]
            cross, square = np.float64(0), np.float64(0)
            pair = 0
            for c in range(components):
                cross += firsts[n, c] * (row[c].real * real + row[c].imag * imaginary)
                for d in range(c if independent else 0, c + 1):
                    product = row[c].real * row[d].real + row[c].imag * row[d].imag
                    square += (2 if d < c else 1) * seconds[n, pair] * product
                    pair += 1
            power[shells[k]] += weights[n, k] * square - 2 * cross


@kernel
def apply_normal(matrix, values, out):
    """Multiply each voxel's components by its symmetric matrix: a lower triangle or a diagonal."""
    components = values.shape[1]
    independent = matrix.shape[1] == components
    for v in range(values.shape[0]):
        for c in range(components):
            out[v, c] = 0
        pair = 0
        for c in range(components):
            for d in range(c if independent else 0, c):
                out[v, c] += matrix[v, pair] * values[v, d]
                out[v, d] += matrix[v, pair] * values[v, c]
                pair += 1
            out[v, c] += matrix[v, pair] * values[v, c]
            pair += 1
