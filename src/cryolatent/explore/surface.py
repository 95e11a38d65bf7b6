"""Volumes as surfaces, at contours that enclose as much of one volume as of another."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt32

from cryolatent.report.surfaces import FEW, enclosed_voxels

FINEST = 128


@dataclass(frozen=True)
class Surface:
    """Triangles around the voxels above a level.

    Args:
        vertices: Corners in Å, x, y and z, from the centre (voxel D/2).
        normals: Directions out of the molecule at the corners.
        faces: Three corners each, anticlockwise seen from outside.
        level: Density of the contour.
        enclosed: Share of the box's voxels above it.
    """

    vertices: Float[np.ndarray, "v 3"]
    normals: Float[np.ndarray, "v 3"]
    faces: UInt32[np.ndarray, "f 3"]
    level: float
    enclosed: float


def usual_share(volume: Float[np.ndarray, "d d d"]) -> float:
    """The share of a box that a molecule seems to fill.

    Args:
        volume: Voxels in the order z, y, x.

    Returns:
        That of the report's surfaces; a twentieth where nothing stands out.
    """
    return enclosed_voxels(volume) / volume.size or FEW


def level_of(volume: Float[np.ndarray, "d d d"], enclosed: float) -> float:
    """The density above which a share of a box lies.

    Args:
        volume: Voxels in the order z, y, x.
        enclosed: Share of the voxels, above 0 and below 1.

    Returns:
        The level.
    """
    return float(np.quantile(volume, 1 - enclosed))


def surface(
    volume: Float[np.ndarray, "d d d"],
    pixel_size_angstrom: float,
    level: float,
    finest: int = FINEST,
) -> Surface:
    """Draw a contour of a volume.

    Args:
        volume: Voxels in the order z, y, x.
        pixel_size_angstrom: Side of a voxel.
        level: Density of the contour.
        finest: Cells along a side at most; larger volumes are looked at in steps.

    Returns:
        The surface, without triangles if no voxel is on the one or on the other side.

    Source:
        Lewiner et al. 2003, doi:10.1080/10867651.2003.10487582.
    """
    from skimage.measure import marching_cubes

    box = len(volume)
    if not volume.min() < level < volume.max():
        empty = np.zeros((0, 3), dtype=np.float32)
        return Surface(empty, empty, empty.astype(np.uint32), level, 0.0)
    corners, faces, normals, _ = marching_cubes(
        volume, level, step_size=-(-box // finest), gradient_direction="descent"
    )
    # z, y, x to x, y, z mirrors the triangles, and so does marching_cubes, whose are clockwise
    vertices = (corners[:, ::-1] - box // 2) * pixel_size_angstrom
    return Surface(
        np.ascontiguousarray(vertices, dtype=np.float32),
        np.ascontiguousarray(normals[:, ::-1], dtype=np.float32),
        np.ascontiguousarray(faces, dtype=np.uint32),
        level,
        float((volume > level).mean()),
    )
