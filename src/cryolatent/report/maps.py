"""Maps of the latent space."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from cryolatent.report.charts import Chart
from cryolatent.report.colours import Shade, angle_colours, state_colour
from cryolatent.report.densities import angle_chart, certainty_chart, line_chart
from cryolatent.report.drawing import MARK, MUTED, PAPER, spread, to_svg
from cryolatent.report.findings import Findings

SIDE_INCHES = {"alone": 4.0, "beside": 2.8}
MARGIN_INCHES = 0.24
POINT_DPI = 190
DENSITY_COLOUR = "#6f86a3"
LINK, MOVED = "#8a5fbf", "#1a9850"
TRUE = {"state": "true state", "angle": "true angle"}
TITLES = {"pca": "PCA", "umap": "UMAP"}
DIRECTIONS = [(np.cos(a), np.sin(a)) for a in np.linspace(0.25 * np.pi, 2.25 * np.pi, 12, False)]


@dataclass(frozen=True)
class Colouring:
    """A row of maps that colour the particles alike.

    Args:
        key: ``density``, ``cluster``, ``state`` or ``angle``.
        panels: For each run, its maps.
    """

    key: str
    panels: list[list[Chart]]


def latent_maps(
    findings: Sequence[Findings], shades: Sequence[dict[int, Shade]], labelled: Sequence[str]
) -> list[Colouring]:
    """Draw PCA and UMAP of every run: as density, by cluster, and by the truth where it is known.

    Of one dimension the density itself is drawn, of states how sure they are, and nothing of
    latents that hold nothing.

    Args:
        findings: All runs of the page.
        shades: Colours of each run's clusters.
        labelled: Names of the particles that are numbered.

    Returns:
        The colourings.
    """
    side = SIDE_INCHES["alone" if len(findings) == 1 else "beside"]
    colours = {
        "density": [[DENSITY_COLOUR] * len(f.clusters) for f in findings],
        "cluster": [
            [shade[int(c)].colour for c in f.clusters]
            for f, shade in zip(findings, shades, strict=True)
        ],
        "state": [
            [] if f.states is None else [state_colour(int(s)) for s in f.states] for f in findings
        ],
        "angle": [[] if f.angles is None else angle_colours(f.angles) for f in findings],
    }
    found = [
        Colouring(
            key,
            [
                _charts(f, key, c, shade, labelled, side) if c else []
                for f, c, shade in zip(findings, columns, shades, strict=True)
            ],
        )
        for key, columns in colours.items()
    ]
    return [colouring for colouring in found if any(colouring.panels)]


def _charts(
    findings: Findings,
    key: str,
    colours: list[str],
    shades: dict[int, Shade],
    labelled: Sequence[str],
    side_inches: float,
) -> list[Chart]:
    """What there is to draw: each map of a plane, a line's density, states once."""
    if findings.shape == "plane":
        return [
            _map_chart(findings, kind, key, colours, labelled, side_inches)
            for kind in findings.maps
        ]
    if findings.shape == "line" and key == "angle" and findings.angles is not None:
        return [angle_chart(findings, findings.angles)]
    if findings.shape == "line":
        return [line_chart(findings, key, colours)]
    if findings.shape == "states" and key == "cluster":
        return [certainty_chart(findings, shades)]
    return []


def _map_chart(
    findings: Findings,
    kind: str,
    key: str,
    colours: list[str],
    labelled: Sequence[str],
    side_inches: float,
) -> Chart:
    points = findings.coordinates(kind)
    numbers = {i + 1: findings.rows[n] for i, n in enumerate(labelled) if n in findings.rows}
    svg = draw_map(
        points,
        colours,
        {number: points[row] for number, row in numbers.items()},
        axis_names(findings, kind),
        side_inches,
        f"map-{key}-{kind}-{findings.number}",
    )
    how = "without colour" if key == "density" else f"by {TRUE.get(key, key)}"
    alt = (
        f"{TITLES[kind]} map of the latents of {len(points)} particles of run {findings.label}, "
        f"coloured {how}; {len(numbers)} particles are numbered in red."
    )
    return Chart(TITLES[kind], alt, svg)


def axis_names(findings: Findings, kind: str) -> tuple[str, str]:
    """Names of a map's axes.

    Args:
        findings: A run.
        kind: ``pca`` or ``umap``.

    Returns:
        Horizontal and vertical; a principal component with its share of the variance.
    """
    if kind == "umap":
        return "UMAP 1", "UMAP 2"
    shares = findings.summary.pca_explained
    first, second = (f"PC {i + 1} ({share:.0%} of variance)" for i, share in enumerate(shares[:2]))
    return first, second


def draw_map(
    points: Float[np.ndarray, "n 2"],
    colours: Sequence[str],
    numbers: dict[int, Float[np.ndarray, " 2"]],
    names: tuple[str, str],
    side_inches: float,
    identity: str,
    *,
    moved: Float[np.ndarray, "n 2"] | None = None,
) -> Markup:
    """Draw a scatter of particles, some of them numbered.

    The particles are a picture inside the drawing, so a large stack does not make a large page.

    Args:
        points: Position of each particle.
        colours: Its colour.
        numbers: Positions of numbered particles.
        names: Names of the axes.
        side_inches: Side of the drawing, in inches.
        identity: Unlike that of any other drawing of the page.
        moved: Where the particles are after a move; numbered ones are joined to their moved selves.

    Returns:
        An SVG element.
    """
    figure = Figure(figsize=(side_inches, side_inches), dpi=POINT_DPI)
    figure.patch.set_visible(False)
    margin = MARGIN_INCHES / side_inches
    axes = figure.add_axes((margin, margin, 1 - 1.3 * margin, 1 - 1.3 * margin))
    axes.patch.set_visible(False)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(MUTED)
    axes.set(xticks=[], yticks=[])
    everything = points if moved is None else np.concatenate([points, moved])
    _set_square_limits(axes, everything)
    for name, setter in zip(names, (axes.set_xlabel, axes.set_ylabel), strict=True):
        setter(name, color=MUTED, fontsize=8.5, labelpad=4, parse_math=False)
    # Later points hide earlier ones, so they are drawn in an order without meaning.
    order = np.random.default_rng(0).permutation(len(points))
    axes.scatter(
        *points[order].T,
        c=np.asarray(colours)[order],
        s=float(np.clip(9000 / len(points), 0.8, 7.0)),
        alpha=float(np.clip(900 / len(points), 0.25, 0.65)),
        linewidths=0,
        rasterized=True,
    )
    if moved is not None:
        _draw_links(axes, points, moved, list(numbers))
    _draw_numbers(axes, numbers)
    return to_svg(figure, identity)


def _set_square_limits(axes: Axes, points: Float[np.ndarray, "n 2"]) -> None:
    limits = [spread(column) for column in points.T]
    half = max(high - low for low, high in limits) / 2
    for (low, high), setter in zip(limits, (axes.set_xlim, axes.set_ylim), strict=True):
        setter((low + high) / 2 - half, (low + high) / 2 + half)


def _draw_links(
    axes: Axes,
    points: Float[np.ndarray, "n 2"],
    moved: Float[np.ndarray, "n 2"],
    numbers: list[int],
) -> None:
    for number in numbers:
        ends = np.stack([points[number - 1], moved[number - 1]])
        axes.plot(*ends.T, color=LINK, linewidth=1.1, zorder=2)
    places = moved[np.array(numbers) - 1]
    axes.scatter(*places.T, s=14, c=MOVED, edgecolors=PAPER, linewidths=0.7, zorder=3)


def _draw_numbers(axes: Axes, numbers: dict[int, Float[np.ndarray, " 2"]]) -> None:
    if not numbers:
        return
    places = np.array(list(numbers.values()))
    axes.scatter(*places.T, s=14, c=MARK, edgecolors=PAPER, linewidths=0.7, zorder=3)
    scale = POINT_DPI / 72
    offsets = place_labels(axes.transData.transform(places) / scale)
    for number, place, offset in zip(numbers, places, offsets, strict=True):
        axes.annotate(
            str(number),
            place,
            xytext=tuple(offset),
            textcoords="offset points",
            ha="center",
            va="center_baseline",
            fontsize=9,
            fontweight="bold",
            color=MARK,
            path_effects=[withStroke(linewidth=2.2, foreground=PAPER)],
            zorder=4,
        )


def place_labels(
    points: Float[np.ndarray, "n 2"], distance: float = 8.5
) -> Float[np.ndarray, "n 2"]:
    """Choose on which side of its point each label stands.

    Args:
        points: Positions in typographic points.
        distance: From a point to its label.

    Returns:
        Offset of each label, chosen one after the other to be far from all points and from the
        labels placed before.
    """
    taken = list(points)
    offsets = []
    for point in points:
        candidates = point + distance * np.array(DIRECTIONS)
        others = np.array(taken)
        gaps = np.linalg.norm(candidates[:, None] - others[None], axis=-1)
        best = candidates[int(np.minimum(gaps, 2.2 * distance).min(axis=1).argmax())]
        taken.append(best)
        offsets.append(best - point)
    return np.array(offsets)
