"""Drawings that pages of experiments share: grids of small pictures, curves of several seeds."""

import base64
import io
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from cryolatent.report.study import Picture

TILE_PIXELS, GAP_PIXELS = 56, 3
CURVE_INCHES = (2.9, 2.4)


def grid_picture(
    caption: str,
    pictures: Float[np.ndarray, "n y x"],
    columns: int,
    *,
    gap_pixels: int = GAP_PIXELS,
    alt: str = "",
) -> Picture:
    """Set small pictures side by side, row by row.

    Args:
        caption: What they show.
        pictures: Grey values; 0 is black and 1 is white.
        columns: Number of pictures in a row.
        gap_pixels: Space between them.
        alt: Description for a reader who does not see it; the caption if left out.

    Returns:
        One picture.
    """
    from PIL import Image

    rows = -(-len(pictures) // columns)
    step = TILE_PIXELS + gap_pixels
    sheet = Image.new("LA", (columns * step - gap_pixels, rows * step - gap_pixels))
    grey = np.rint(255 * np.clip(pictures, 0, 1)).astype(np.uint8)
    for number, picture in enumerate(grey):
        tile = Image.fromarray(picture).resize((TILE_PIXELS, TILE_PIXELS), Image.Resampling.NEAREST)
        opaque = Image.merge("LA", (tile, Image.new("L", tile.size, 255)))
        sheet.paste(opaque, (number % columns * step, number // columns * step))
    stream = io.BytesIO()
    sheet.save(stream, format="PNG", optimize=True)
    uri = "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()
    return Picture(caption, alt or caption, uri=uri)


def curves_picture(
    caption: str, curves: Sequence[Sequence[float]], unit: str, identity: str
) -> Picture:
    """Draw a number by epoch, one line per seed.

    Args:
        caption: What it shows.
        curves: For each seed, the number of each epoch; numbers that are not finite are left out.
        unit: Name of the vertical axis.
        identity: Unlike that of any other drawing of the page.

    Returns:
        The drawing.
    """
    # Importing matplotlib takes longer than answering --help may.
    from cryolatent.report.drawing import ACCENT, label_axes, new_figure, spread, to_svg

    figure, axes = new_figure(*CURVE_INCHES)
    everything = []
    for curve in curves:
        values = np.asarray(curve, dtype=float)
        kept = np.isfinite(values)
        axes.plot(np.flatnonzero(kept) + 1, values[kept], color=ACCENT, alpha=0.75, linewidth=1.2)
        everything += values[kept].tolist()
    if everything:
        # a first epoch far above the rest would flatten them
        low, high = min(everything), float(np.quantile(everything, 0.985))
        axes.set_ylim(*spread(np.array([low, high])))
    label_axes(axes, "epoch", unit)
    ends = ", ".join(f"{curve[-1]:.4g}" for curve in curves if len(curve))
    return Picture(caption, f"{caption}, {unit}: ends at {ends}.", svg=to_svg(figure, identity))
