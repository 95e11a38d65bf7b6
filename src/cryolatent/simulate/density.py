"""Weighted points to a band-limited density map."""

import numpy as np
from jaxtyping import Float

FINE_VOXEL_ANGSTROM = 3.0


def density_map(
    positions_angstrom: Float[np.ndarray, "points 3"],
    weights: Float[np.ndarray, " points"],
    *,
    box: int,
    pixel_size_angstrom: float,
    sigma_angstrom: float,
) -> Float[np.ndarray, "z y x"]:
    """Render points as Gaussians, band-limited to the box's Nyquist frequency.

    The points are spread trilinearly on a grid of at most 3 Å, whose transform is multiplied by
    the Gaussian's, divided by the spreading kernel's, and cropped.

    Args:
        positions_angstrom: Points (x, y, z) in Å; the origin goes to voxel ``box / 2``.
        weights: Integral of each Gaussian.
        box: Side of the map in voxels.
        pixel_size_angstrom: Voxel size, in Å.
        sigma_angstrom: Standard deviation of the Gaussians, in Å.

    Returns:
        The map; its sum is the sum of the weights.
    """
    factor = int(np.ceil(pixel_size_angstrom / FINE_VOXEL_ANGSTROM))
    side, voxel = box * factor, pixel_size_angstrom / factor
    grid = _spread(positions_angstrom[:, ::-1] / voxel, weights, side)
    transform = _crop(np.fft.rfftn(grid), side, box)
    squared = np.zeros(())
    kernel = np.ones(())
    for axis, frequency in enumerate(_axes(box)):
        shape = [1, 1, 1]
        shape[axis] = -1
        cycles_per_voxel = frequency.reshape(shape) / side
        squared = squared + (cycles_per_voxel / voxel) ** 2
        kernel = kernel * np.sinc(cycles_per_voxel) ** 2
    transform = transform * np.exp(-2 * np.pi**2 * sigma_angstrom**2 * squared) / kernel
    transform[squared * np.ones_like(kernel) > (0.5 / pixel_size_angstrom) ** 2] = 0
    return np.fft.fftshift(np.fft.irfftn(transform, s=(box,) * 3, axes=(0, 1, 2)))


def _axes(box: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    full = np.fft.fftfreq(box, 1 / box)
    return full, full, np.fft.rfftfreq(box, 1 / box)


def _spread(points: np.ndarray, weights: np.ndarray, side: int) -> np.ndarray:
    corner = np.floor(points).astype(int)
    fraction = points - corner
    grid = np.zeros(side**3)
    for offset in np.ndindex(2, 2, 2):
        share = np.prod(np.where(offset, fraction, 1 - fraction), axis=1)
        index = np.ravel_multi_index(tuple(((corner + offset) % side).T), (side,) * 3)
        grid += np.bincount(index, weights * share, minlength=side**3)
    return grid.reshape(side, side, side)


def _crop(transform: np.ndarray, side: int, box: int) -> np.ndarray:
    keep = np.fft.fftfreq(box, 1 / box).astype(int) % side
    return transform[np.ix_(keep, keep, np.arange(box // 2 + 1))]
