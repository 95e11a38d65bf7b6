"""Volumes as shaded surfaces, drawn without a display: rays that end where a contour is reached."""

import base64
import io
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, UInt8
from scipy import ndimage

from cryolatent.physics.masks import blur, density_threshold

PIXELS, SAMPLES = 180, 1.2
"""Side of a picture, and how many rays there are at most to a pixel's side."""

FINEST = 4
"""Rays to a voxel's side beyond which nothing more is to be seen."""

LIGHT = np.array([-0.78, -0.45, -0.45])
"""From where light falls, against z, y and x: from the viewer's left above."""

AMBIENT, FOG = 0.3, 0.35
COARSE_PIXELS = 4.0
"""Resolution, in voxels, at which the molecule is told from the solvent."""

FEW = 0.05
"""Share of the box that is enclosed where nothing stands out from the solvent."""


def equal_levels(volumes: Sequence[Float[np.ndarray, "d d d"]]) -> list[float]:
    """Contours that enclose equally many voxels of each volume.

    Args:
        volumes: Those to be compared, perhaps none.

    Returns:
        For each its level; of the smallest molecule it is what separates it from the solvent.
    """
    if not volumes:
        return []
    counts = [count for count in map(enclosed_voxels, volumes) if count]
    size = volumes[0].size
    enclosed = min(max(min(counts, default=round(FEW * size)), 1), size - 1)
    return [float(np.partition(v, -enclosed - 1, axis=None)[-enclosed - 1]) for v in volumes]


def enclosed_voxels(volume: Float[np.ndarray, "d d d"]) -> int:
    """Count the voxels of the molecule.

    Args:
        volume: Voxels in the order z, y, x.

    Returns:
        Those that stand out from the solvent at a coarse resolution; 0 where nothing does.
    """
    whole = torch.from_numpy(np.ascontiguousarray(volume, dtype=np.float32))
    try:
        level = density_threshold(blur(whole, 1.0, COARSE_PIXELS))
    except ValueError:
        return 0
    return int((volume > level).sum())


def surface(
    volume: Float[np.ndarray, "d d d"], level: float, colour: str, *, turned: bool = False
) -> UInt8[np.ndarray, "y x 4"]:
    """Draw a contour as a shaded surface.

    Args:
        volume: Voxels in the order z, y, x; seen along z.
        level: The contour.
        colour: Hexadecimal colour.
        turned: See it along x.

    Returns:
        Red, green, blue and opacity.
    """
    seen = volume.transpose(2, 1, 0)[:, :, ::-1] if turned else volume
    rays = min(round(PIXELS * SAMPLES), FINEST * len(seen))
    fine = ndimage.zoom(seen.astype(np.float32), rays / len(seen), order=1)
    fine = ndimage.gaussian_filter(fine, 0.5 * rays / len(seen))
    inside = fine > level
    hit = inside.any(axis=0)
    depth = inside.argmax(axis=0)
    slope = np.stack([_slope(fine, depth, axis) for axis in range(3)])
    # density rises inwards, so the surface faces against the slope
    facing = np.einsum("a,ayx->yx", LIGHT / np.linalg.norm(LIGHT), -slope)
    facing /= np.maximum(np.linalg.norm(slope, axis=0), 1e-12)
    light = AMBIENT + (1 - AMBIENT) * np.clip(facing, 0, 1)
    light *= 1 - FOG * depth / rays
    rgb = np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)])
    shaded = np.clip(1.25 * light[..., None] * rgb, 0, 255)
    return _smaller(np.dstack([shaded, 255 * hit]).astype(np.uint8))


def picture(images: Sequence[UInt8[np.ndarray, "y x 4"]]) -> str:
    """Set pictures side by side.

    Args:
        images: Of equal size.

    Returns:
        A PNG data URI.
    """
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(np.concatenate(images, axis=1)).save(stream, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()


def _slope(
    fine: Float[np.ndarray, "z y x"], depth: np.ndarray, axis: int
) -> Float[np.ndarray, "y x"]:
    """Central difference along an axis where rays end."""
    rows, columns = np.indices(depth.shape)
    ends = []
    for step in (1, -1):
        place = [depth, rows, columns]
        place[axis] = np.clip(place[axis] + step, 0, len(fine) - 1)
        ends.append(fine[tuple(place)])
    return ends[0] - ends[1]


def _smaller(image: UInt8[np.ndarray, "y x 4"]) -> UInt8[np.ndarray, "side side 4"]:
    from PIL import Image

    # premultiplied, so that what is not there has no colour at edges
    size = (PIXELS, PIXELS)
    small = Image.fromarray(image).convert("RGBa").resize(size, Image.Resampling.BOX)
    return np.asarray(small.convert("RGBA"))
