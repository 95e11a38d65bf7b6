"""Masks: where the molecule is, with soft edges."""

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy import ndimage
from torch import Tensor

NOISE_DEVIATIONS = 4.0
RELATIVE_THRESHOLD = 0.3
SMALLEST_SHARE = 0.1
BINS = 256
ROUNDING = 1e-5


def soft_sphere(
    box: int, pixel_size_angstrom: float, radius_angstrom: float, edge_angstrom: float = 10.0
) -> Float[Tensor, "z y x"]:
    """A ball about voxel ``box / 2`` with a raised-cosine edge.

    Args:
        box: Side of the volume in voxels.
        pixel_size_angstrom: Voxel size, in Å.
        radius_angstrom: Radius within which the mask is one, in Å.
        edge_angstrom: Width over which it falls to zero, in Å.

    Returns:
        Values between 0 and 1.
    """
    squared = pixel_size_angstrom**2 * (torch.arange(box) - box // 2) ** 2
    distance = (squared[:, None, None] + squared[:, None] + squared).sqrt()
    return soft_edge(distance - radius_angstrom, edge_angstrom)


def soft_edge(distance_angstrom: Float[Tensor, "*n"], edge_angstrom: float) -> Float[Tensor, "*n"]:
    """A raised-cosine edge.

    Args:
        distance_angstrom: Distance beyond where the edge begins, in Å; negative inside.
        edge_angstrom: Width over which the value falls from one to zero, in Å; 0 is a step.

    Returns:
        ``(1 + cos(π d / edge)) / 2`` between its two ends, one before, zero behind.
    """
    if edge_angstrom <= 0:
        return (distance_angstrom <= 0).to(distance_angstrom.dtype)
    return 0.5 * (1 + torch.cos(torch.pi * (distance_angstrom / edge_angstrom).clamp(0, 1)))


def solvent_mask(
    volume: Float[Tensor, "z y x"],
    pixel_size_angstrom: float,
    *,
    resolution_angstrom: float = 15.0,
    extend_angstrom: float = 6.0,
    edge_angstrom: float = 10.0,
    threshold: float | None = None,
) -> Float[Tensor, "z y x"]:
    """Make a mask of the molecule from its map.

    The map is blurred, cut at a threshold, cleared of specks (connected pieces of less than a tenth
    of the largest's volume), filled, extended and given a soft edge.

    Args:
        volume: The map, in which the molecule is bright.
        pixel_size_angstrom: Voxel size, in Å.
        resolution_angstrom: Where the blur's transfer falls to one half, in Å; coarser than twice
            the voxel size has no effect.
        extend_angstrom: How far the mask reaches beyond the threshold, in Å.
        edge_angstrom: Width of the soft edge beyond that, in Å.
        threshold: Where the blurred map is cut; `density_threshold` of it if left out.

    Returns:
        Values between 0 and 1.

    Raises:
        ValueError: If the map is not finite, nothing in it stands out from the solvent, or nothing
            lies above the threshold.
    """
    if not bool(volume.isfinite().all()):
        raise ValueError("the map has voxels that are not finite")
    blurred = blur(volume, pixel_size_angstrom, resolution_angstrom)
    level = density_threshold(blurred) if threshold is None else threshold
    inside = _without_specks((blurred > level).numpy())
    distance = ndimage.distance_transform_edt(~inside, sampling=pixel_size_angstrom)
    beyond = torch.from_numpy(np.asarray(distance)).to(volume.dtype) - extend_angstrom
    return soft_edge(beyond, edge_angstrom)


def blur(
    volume: Float[Tensor, "z y x"], pixel_size_angstrom: float, resolution_angstrom: float
) -> Float[Tensor, "z y x"]:
    """Blur a map by a Gaussian, which leaves no ripples.

    Args:
        volume: The map.
        pixel_size_angstrom: Voxel size, in Å.
        resolution_angstrom: Where the transfer is one half, in Å.

    Returns:
        The map times ``2^-(resolution · k)²`` in Fourier space.
    """
    box = volume.shape[-1]
    full = torch.fft.fftfreq(box, pixel_size_angstrom, dtype=volume.dtype)
    half = torch.fft.rfftfreq(box, pixel_size_angstrom, dtype=volume.dtype)
    squared = full[:, None, None] ** 2 + full[:, None] ** 2 + half**2
    transfer = torch.exp2(-(resolution_angstrom**2) * squared)
    return torch.fft.irfftn(torch.fft.rfftn(volume) * transfer, s=volume.shape)


def density_threshold(blurred: Float[Tensor, "z y x"]) -> float:
    """The level that separates a molecule from the solvent around it.

    Otsu's threshold lies half way between solvent and molecule and would cut off what only some of
    the particles have; three tenths of the way keep it, unless that lies within four deviations of
    the solvent's noise. The solvent's level and noise are the median and the deviation about it
    (1.4826 times the median absolute deviation) of the voxels beyond the ball that the box holds,
    where no molecule is.

    Args:
        blurred: A map without fine detail.

    Returns:
        Three tenths of the way from the solvent's level to the mean of the voxels above Otsu's
        threshold, or four deviations above the solvent's level if that is more.

    Raises:
        ValueError: If the voxels above Otsu's threshold are within the solvent's noise.

    Source:
        Otsu 1979, doi:10.1109/TSMC.1979.4310076.
    """
    values = blurred.double().numpy()
    box = values.shape[-1]
    axis = np.arange(box) - box // 2
    radius = np.sqrt(axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2)
    outside = values[radius > box / 2]
    solvent = float(np.median(outside))
    noise = 1.4826 * float(np.median(np.abs(outside - solvent)))
    contrast = 0.0
    if np.ptp(values) > ROUNDING * np.abs(values).max():
        contrast = float(values[values > _otsu(values)].mean()) - solvent
    if contrast <= NOISE_DEVIATIONS * noise:
        raise ValueError("nothing in the map stands out from the solvent")
    return solvent + max(RELATIVE_THRESHOLD * contrast, NOISE_DEVIATIONS * noise)


def _otsu(values: np.ndarray) -> float:
    """The cut that leaves the least variance within the two classes; values must differ."""
    counts, edges = np.histogram(values, BINS)
    centres = (edges[1:] + edges[:-1]) / 2
    below = np.cumsum(counts)[:-1]
    above = counts.sum() - below
    sums = np.cumsum(counts * centres)[:-1]
    mean_below = sums / below
    mean_above = ((counts * centres).sum() - sums) / above
    return float(edges[1:-1][(below * above * (mean_below - mean_above) ** 2).argmax()])


def _without_specks(inside: Bool[np.ndarray, "z y x"]) -> Bool[np.ndarray, "z y x"]:
    pieces, count = ndimage.label(inside)  # pyright: ignore
    if count == 0:
        raise ValueError("nothing in the map lies above the threshold")
    sizes = np.bincount(pieces.ravel())[1:]
    kept = 1 + np.flatnonzero(sizes >= SMALLEST_SHARE * sizes.max())
    return np.asarray(ndimage.binary_fill_holes(np.isin(pieces, kept)))
