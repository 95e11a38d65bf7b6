"""From matplotlib's figures to SVG that belongs to the page: its fonts, its colours, its theme.

Figures are drawn in placeholder colours that become CSS variables, so one drawing serves the light
page, the dark page and the printer.
"""

import io
import re
from typing import Any

import matplotlib as mpl
import numpy as np
from jaxtyping import Float
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

INK, MUTED, LINE, PAPER, ACCENT, MARK = (f"#01020{digit}" for digit in range(6))
VARIABLES = {
    INK: "--ink",
    MUTED: "--muted",
    LINE: "--line",
    PAPER: "--paper",
    ACCENT: "--accent",
    MARK: "--mark",
}
RUN_COLOURS = tuple(f"#01030{digit}" for digit in range(4))
VARIABLES |= {colour: f"--run-{number}" for number, colour in enumerate(RUN_COLOURS)}
DASHES = ("solid", (0, (5, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1.5, 2)))

# What an element inside a page does not need: the names of groups would be repeated from figure to
# figure, and a page's own font is set by the page.
_UNWANTED = re.compile(r'<metadata>.*?</metadata>| id="[A-Za-z][A-Za-z.2]*_\d+"', flags=re.DOTALL)
_FAMILY = re.compile(r" ?font-family: [^;\"]*;?")
# Matplotlib before 3.11 writes size, weight and family as one property.
_FONT = re.compile(r"font: (?:(?P<weight>\d+|bold) )?(?P<size>[\d.]+px) [^;\"]*")
_SVG = re.compile(r'<svg [^>]*(?P<box>viewBox="[^"]*")[^>]*>(?P<body>.*)</svg>', flags=re.DOTALL)


def run_line(number: int) -> dict[str, Any]:
    """How a run's curve is drawn on every chart.

    Args:
        number: The run's position on the page.

    Returns:
        Colour and dash for `Axes.plot`.
    """
    return {
        "color": RUN_COLOURS[number % len(RUN_COLOURS)],
        "linestyle": DASHES[number % len(DASHES)],
        "linewidth": 1.6,
    }


def to_svg(figure: Figure, name: str) -> Markup:
    """Write a figure as an SVG element for the page.

    Args:
        figure: Drawn in the placeholder colours.
        name: Unlike that of any other figure of the page; makes the element's ids unique.

    Returns:
        An element without a size, which fills its container.

    Raises:
        RuntimeError: If matplotlib writes something else.
    """
    stream = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        FigureCanvasSVG(figure).print_svg(
            stream, metadata={"Date": None, "Creator": None, "Format": None, "Type": None}
        )
    found = _SVG.search(stream.getvalue())
    if found is None:
        raise RuntimeError(f"matplotlib wrote no SVG element for {name}")
    body = _UNWANTED.sub("", found["body"]).replace("xlink:href", "href")
    body = _FAMILY.sub("", _FONT.sub(_page_font, body))
    for colour, variable in VARIABLES.items():
        body = body.replace(colour, f"var({variable})")
    return Markup(f'<svg {found["box"]} aria-hidden="true">{body}</svg>')


def _page_font(found: re.Match[str]) -> str:
    weight = f"; font-weight: {found['weight']}" if found["weight"] else ""
    return f"font-size: {found['size']}{weight}"


def new_figure(width: float, height: float) -> tuple[Figure, Axes]:
    """A chart without frame, with a light grid.

    Args:
        width: In inches.
        height: In inches.

    Returns:
        The figure and its axes, in the page's colours.
    """
    figure = Figure(figsize=(width, height), layout="constrained", dpi=72)
    figure.patch.set_visible(False)
    axes = figure.add_subplot()
    axes.patch.set_visible(False)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(LINE)
    axes.tick_params(colors=MUTED, labelsize=8, length=0, pad=4)
    axes.grid(color=LINE, linewidth=0.6)
    axes.set_axisbelow(True)
    return figure, axes


def label_axes(axes: Axes, x: str, y: str) -> None:
    """Name both axes.

    Args:
        axes: A chart.
        x: Name of the horizontal axis; written as it is, without formulas.
        y: Name of the vertical axis.
    """
    axes.set_xlabel(x, color=MUTED, fontsize=8.5, parse_math=False)
    axes.set_ylabel(y, color=MUTED, fontsize=8.5, parse_math=False)


RESOLUTIONS = (500, 300, 200, 150, 100, 75, 50, 40, 30, 25, 20, 15, 12, 10, 8, 7, 6, 5, 4.5, 4, 3.5)
RESOLUTIONS += (3, 2.5, 2.2, 2, 1.8, 1.5, 1.2, 1)


def resolution_axis(axes: Axes, last: float) -> None:
    """Mark a frequency axis with resolutions.

    Args:
        axes: A chart over frequency in 1/Å.
        last: Highest frequency, in 1/Å.
    """
    ticks: list[float] = []
    for resolution in RESOLUTIONS:
        frequency = 1 / resolution
        apart = frequency - (ticks[-1] if ticks else 0)
        if frequency <= last * 1.001 and apart > 0.11 * last:
            ticks.append(frequency)
    axes.set_xlim(0, last)
    axes.set_xticks(ticks, [f"{1 / tick:g}" for tick in ticks])


def spread(values: Float[np.ndarray, " n"], margin: float = 0.06) -> tuple[float, float]:
    """Limits of an axis that holds some values.

    Args:
        values: At least one value.
        margin: Space on either side, as a share of the range.

    Returns:
        Lower and upper limit.
    """
    low, high = float(values.min()), float(values.max())
    space = margin * (high - low) or 0.5
    return low - space, high + space
