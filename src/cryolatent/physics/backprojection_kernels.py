"""Compiled loops of a backprojection: filter observations, add them to sums, divide the sums.

Sums are flat and interleaved, ``sums[voxel] = (Re Σ C·x, Im Σ C·x, Σ C²)``, so that a voxel is one
place in memory. Every kernel runs on one thread and lets go of Python's lock. Wrappers and their
documentation are in `cryolatent.physics.backprojection`.
"""

import numpy as np

from cryolatent.physics.kernels import NEAREST, kernel

ZERO, HALF, ONE = np.float32(0), np.float32(0.5), np.float32(1)
TURN = np.float32(2 * np.pi)
TILE = 16
SINE = tuple(np.float32(c) for c in (-1 / 6, 1 / 120, -1 / 5040, 1 / 362880, -1 / 39916800))


@kernel
def _sine(turns):
    """Sine of an angle in turns; the Taylor series to the power 11 is exact to 1e-7."""
    turns -= np.floor(turns + HALF)
    size = abs(turns)
    size = min(size, HALF - size)
    x = TURN * (-size if turns < 0 else size)
    y = x * x
    series = SINE[3] + y * SINE[4]
    series = SINE[2] + y * series
    series = SINE[1] + y * series
    series = SINE[0] + y * series
    return x + x * y * series


@kernel
def filter_observations(transforms, rows, transfer, shifts, images, weights, power):
    """Multiply by the transfer function, undo the shift, and measure the power of each shell.

    Row r of the disc is ``rows[r] = (ky, first kx, end of kx, first coefficient, ...)``, and
    ``rows`` ends with every coefficient's shell. ``transfer`` is the phase's polynomial, in turns,
    the envelope along one axis and the scale. ``images = C · x · columns · lines``,
    ``weights = C²``, and ``power[n, shell] += |x|²``.
    """
    (runs, shells), (phases, envelopes, scales), (columns, lines) = rows, transfer, shifts
    box = transforms.shape[1]
    unit = np.float32(1) / np.float32(box * box)
    for n in range(transforms.shape[0]):
        zero, xx, xy, yy, x4, x3y, x2y2, xy3, y4 = phases[n]
        for r in range(runs.shape[0]):
            ky, first, end, start = runs[r]
            y = np.float32(ky)
            y2 = y * y
            # along a row the phase is a polynomial in x
            p0, p1 = zero + y2 * (yy + y2 * y4), y * (xy + y2 * xy3)
            p2, p3 = xx + y2 * x2y2, y * x3y
            line, source = lines[n, r], transforms[n, ky % box]
            height = scales[n] * envelopes[n, abs(ky)]
            for i in range(end - first):
                x = np.float32(first + i)
                c = _sine(p0 + x * (p1 + x * (p2 + x * (p3 + x * x4))))
                c *= height * envelopes[n, first + i]
                value, turn = source[first + i], columns[n, first + i]
                a = turn.real * line.real - turn.imag * line.imag
                b = turn.real * line.imag + turn.imag * line.real
                real = c * (value.real * a - value.imag * b)
                imaginary = c * (value.real * b + value.imag * a)
                images[n, start + i] = complex(real, imaginary)
                weights[n, start + i] = c * c
            for i in range(end - first):
                value = source[first + i]
                square = value.real * value.real + value.imag * value.imag
                power[n, shells[start + i]] += unit * square


@kernel
def find_runs(geometry, begin, end, runs):
    """Cut the coefficients of images `begin` to `end` into runs whose points lie in one tile.

    A tile is a bar of `TILE` by `TILE` voxels in z and y, whole in x, small enough for a
    processor's cache. ``runs[i] = (image, first coefficient, tile)``. Returns the number of runs.
    """
    rotations, coordinates, scale, reach, taps = geometry
    bars = 2 * reach // TILE + 1
    half = HALF if taps == NEAREST else ZERO
    found = 0
    for n in range(begin, end):
        xx, yx = scale * rotations[n, 0, 0], scale * rotations[n, 1, 0]
        xy, yy = scale * rotations[n, 0, 1], scale * rotations[n, 1, 1]
        xz, yz = scale * rotations[n, 0, 2], scale * rotations[n, 1, 2]
        before = -1
        for k in range(coordinates.shape[0]):
            kx, ky = coordinates[k, 0], coordinates[k, 1]
            y, z = kx * xy + ky * yy, kx * xz + ky * yz
            if kx * xx + ky * yx < ZERO:
                y, z = -y, -z
            at_y, at_z = int(np.floor(y + half)) + reach, int(np.floor(z + half)) + reach
            tile = at_z // TILE * bars + at_y // TILE
            if tile != before:
                runs[found, 0], runs[found, 1], runs[found, 2] = n, k, tile
                found += 1
                before = tile
    return found


@kernel
def sort_runs(runs, size, starts, ordered):
    """Bring runs into the order of their tiles: ``ordered[i] = (image, first, end)``.

    ``starts[tile]`` is where a tile's runs begin, and is moved to where they end.
    """
    last = runs.shape[0] - 1
    for i in range(runs.shape[0]):
        place = starts[runs[i, 2]]
        starts[runs[i, 2]] += 1
        follows = i < last and runs[i + 1, 0] == runs[i, 0]
        ordered[place, 0], ordered[place, 1] = runs[i, 0], runs[i, 1]
        ordered[place, 2] = runs[i + 1, 1] if follows else size


@kernel
def insert_runs(images, weights, gains, runs, geometry, sums):
    """Add filtered images and their weights to interleaved sums, each image times its gain.

    ``runs`` holds the runs of `sort_runs`, and the first and end of those of each tile to be added.
    """
    rotations = geometry[0]
    ordered, bounds = runs
    for tile in range(bounds.shape[0]):
        for i in range(bounds[tile, 0], bounds[tile, 1]):
            n = ordered[i, 0]
            _insert_run(images[n], weights[n], gains[n], ordered[i], rotations[n], geometry, sums)


@kernel
def _insert_run(image, weights, gain, run, rotation, geometry, sums):
    _, coordinates, scale, reach, taps = geometry
    row, side = reach + 1, 2 * reach + 1
    xx, yx = scale * rotation[0, 0], scale * rotation[1, 0]
    xy, yy = scale * rotation[0, 1], scale * rotation[1, 1]
    xz, yz = scale * rotation[0, 2], scale * rotation[1, 2]
    for k in range(run[1], run[2]):
        kx, ky = coordinates[k, 0], coordinates[k, 1]
        x, y, z = kx * xx + ky * yx, kx * xy + ky * yy, kx * xz + ky * yz
        real, imaginary = gain * image[k].real, gain * image[k].imag
        weight = gain * weights[k]
        if x < ZERO:
            x, y, z, imaginary = -x, -y, -z, -imaginary
        if taps == NEAREST:
            x, y, z = np.floor(x + HALF), np.floor(y + HALF), np.floor(z + HALF)
        floor_y, floor_z = np.floor(y), np.floor(z)
        at_x = int(x)
        corner = ((int(floor_z) + reach) * side + int(floor_y) + reach) * row + at_x
        if taps == NEAREST:
            sums[corner, 0] += real
            sums[corner, 1] += imaginary
            sums[corner, 2] += weight
            continue
        fx, fy, fz = x - np.float32(at_x), y - floor_y, z - floor_z
        for dz in range(2):
            share_z = fz if dz else ONE - fz
            for dy in range(2):
                share = share_z * (fy if dy else ONE - fy)
                v = corner + (dz * side + dy) * row
                near, far = share * (ONE - fx), share * fx
                sums[v, 0] += near * real
                sums[v, 1] += near * imaginary
                sums[v, 2] += near * weight
                sums[v + 1, 0] += far * real
                sums[v + 1, 1] += far * imaginary
                sums[v + 1, 2] += far * weight


@kernel
def measure_shells(sums, shape, oversampling, totals):
    """Sum the density over the voxels of each shell, and count them, beyond-the-last included.

    ``totals[s] = (Σ density, number)`` over the whole grid, both members of each pair.
    """
    _, side, row = shape
    reach = row - 1
    for v in range(sums.shape[0]):
        z, y, x = v // (side * row) - reach, v // row % side - reach, v % row
        shell = int(np.sqrt(np.float32(x * x + y * y + z * z)) / oversampling + HALF)
        if shell < totals.shape[0]:
            multiplicity = 2.0 if x else 1.0
            totals[shell, 0] += multiplicity * sums[v, 2]
            totals[shell, 1] += multiplicity


@kernel
def raise_density(sums, least, shape, oversampling, density):
    """Copy the density, raised where it is below a spectrum; zero beyond the last shell and one."""
    _, side, row = shape
    reach, last = row - 1, least.shape[0] - 1
    for v in range(sums.shape[0]):
        z, y, x = v // (side * row) - reach, v // row % side - reach, v % row
        k = np.sqrt(np.float32(x * x + y * y + z * z)) / np.float32(oversampling)
        below = min(int(k), last)
        above, share = min(below + 1, last), min(k - np.float32(below), ONE)
        bound = (ONE - share) * least[below] + share * least[above]
        density[v] = max(sums[v, 2], bound) if k <= last + 1 else ZERO


@kernel
def divide_sums(sums, density, precision, shape, oversampling, values):
    """Divide: ``values = Σ C·x / (density + precision)``, the precision a spectrum."""
    _, side, row = shape
    reach, last = row - 1, precision.shape[0] - 1
    for v in range(sums.shape[0]):
        z, y, x = v // (side * row) - reach, v // row % side - reach, v % row
        k = np.sqrt(np.float32(x * x + y * y + z * z)) / np.float32(oversampling)
        below = min(int(k), last)
        above, share = min(below + 1, last), min(k - np.float32(below), ONE)
        denominator = density[v] + (ONE - share) * precision[below] + share * precision[above]
        values[v] = 0
        if k <= last + 1 and denominator > ZERO:
            values[v] = complex(sums[v, 0] / denominator, sums[v, 1] / denominator)
