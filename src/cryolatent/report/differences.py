"""Differences of maps as surfaces: red where a state has more, blue where it has less."""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8
from scipy import ndimage

from cryolatent.analysis.map_details import DifferenceMap
from cryolatent.analysis.state_differences import CONSENSUS
from cryolatent.io import read_volume
from cryolatent.report.surfaces import equal_levels, picture, surface

MORE, LESS, COMMON = "#c8252c", "#1f5fc4", "#9aa1aa"
GHOST = 0.4
"""Opacity of what is common to both maps."""

SHOWN = 0.25
"""Of the largest significant difference: where the contour of differences lies."""

SPECK = 0.01
"""Share of the largest piece below which one is not drawn."""


def difference_picture(root: Path, difference: DifferenceMap) -> str:
    """Draw where a map differs from the consensus by more than noise.

    Args:
        root: Run directory.
        difference: A state's, with its files; the consensus lies beside them.

    Returns:
        A PNG data URI, seen along z and along x; empty where nothing differs.
    """
    if difference.level is None or difference.file is None or difference.significance is None:
        return ""
    own = root / difference.file
    files = (own.with_name(f"{CONSENSUS}.mrc"), own, root / difference.significance)
    common, values, significance = (read_volume(file)[0] for file in files)
    chosen = _without_specks(np.where(np.abs(significance) >= difference.level, values, 0))
    views = []
    for turned in (False, True):
        image = surface(common, equal_levels([common])[0], COMMON, turned=turned).copy()
        image[..., 3] = (GHOST * image[..., 3]).astype(np.uint8)
        contour = SHOWN * float(np.abs(chosen).max())
        for sign, colour in ((-1, LESS), (1, MORE)):
            image = over(surface(sign * chosen, contour, colour, turned=turned), image)
        views.append(image)
    return picture(views)


def over(
    front: UInt8[np.ndarray, "y x 4"], back: UInt8[np.ndarray, "y x 4"]
) -> UInt8[np.ndarray, "y x 4"]:
    """Lay one picture over another.

    Args:
        front: Red, green, blue and opacity.
        back: The picture behind it.

    Returns:
        Both.
    """
    from PIL import Image

    return np.asarray(Image.alpha_composite(Image.fromarray(back), Image.fromarray(front))).copy()


def _without_specks(values: Float[np.ndarray, "d d d"]) -> Float[np.ndarray, "d d d"]:
    """Without connected pieces of less than a hundredth of what the largest one holds."""
    found: Any = ndimage.label(values)
    pieces, count = found
    masses = np.abs(ndimage.sum_labels(values, pieces, np.arange(count + 1)))
    return np.where(masses[pieces] > SPECK * masses.max(), values, 0)
