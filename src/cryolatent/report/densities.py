"""Latents of one dimension, and states, as distributions: neither has a second axis to draw."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Shaped
from markupsafe import Markup
from matplotlib.ticker import MaxNLocator

from cryolatent.report.charts import Chart
from cryolatent.report.colours import Shade
from cryolatent.report.drawing import MUTED, label_axes, new_figure, spread, to_svg
from cryolatent.report.findings import Findings

BINS, INCHES = (10, 60), (3.8, 2.75)
SURE_BINS = 25


def line_chart(findings: Findings, key: str, colours: Sequence[str]) -> Chart:
    """Draw how many particles lie where along a latent of one dimension.

    Args:
        findings: A run of one dimension.
        key: What the colours mean: ``density``, ``cluster`` or ``state``.
        colours: Of each particle.

    Returns:
        A histogram, colours stacked.
    """
    z = findings.coordinates("pca")[:, 0]
    bins = int(np.clip(len(z) // 20, *BINS))
    svg = _stacked(z, np.asarray(colours), "latent", f"line-{key}-{findings.number}", bins)
    stacked = "" if key == "density" else f", stacked by {key}"
    alt = (
        f"Histogram of the one latent dimension of {len(z)} particles of run "
        f"{findings.label}{stacked}, from {z.min():.2f} to {z.max():.2f}."
    )
    return Chart("One dimension", alt, svg)


def angle_chart(findings: Findings, angles: Float[np.ndarray, " n"]) -> Chart:
    """Draw the one latent of each particle against its true angle.

    Args:
        findings: A run of one dimension.
        angles: In degrees, NaN where nothing moves.

    Returns:
        A scatter.
    """
    z, known = findings.coordinates("pca")[:, 0], np.isfinite(angles)
    figure, axes = new_figure(*INCHES)
    axes.scatter(z[known], angles[known], s=2.0, alpha=0.4, linewidths=0, rasterized=True)
    label_axes(axes, "latent", "true angle (°)")
    alt = (
        f"The latent of {int(known.sum())} particles of run {findings.label} and their true angle."
    )
    return Chart("Latent and true angle", alt, to_svg(figure, f"angle-{findings.number}"))


def certainty_chart(findings: Findings, shades: dict[int, Shade]) -> Chart:
    """Draw how sure a run is of each particle's state.

    Args:
        findings: A run of states.
        shades: Their colours.

    Returns:
        A histogram of the probability of the most probable state, states stacked.
    """
    shares = findings.run.latents().distribution.mean.numpy()
    sure = shares.max(axis=1)
    colours = np.array([shades[int(state)].colour for state in findings.clusters])
    identity = f"certainty-{findings.number}"
    name = "probability of the most probable state"
    svg = _stacked(sure, colours, name, identity, SURE_BINS, log=True)
    alt = (
        f"Histogram of the probability that each of {len(sure)} particles of run {findings.label} "
        f"is of its most probable state, stacked by state; {np.mean(sure > 0.9):.0%} are above 0.9."
    )
    return Chart("How sure each state is", alt, svg)


def _stacked(
    values: Float[np.ndarray, " n"],
    colours: Shaped[np.ndarray, " n"],
    name: str,
    identity: str,
    bins: int,
    *,
    log: bool = False,
) -> Markup:
    figure, axes = new_figure(*INCHES)
    edges = np.linspace(*spread(values, 0.0), bins + 1)
    bottom = np.zeros(bins)
    for colour in dict.fromkeys(colours.tolist()):
        counts, _ = np.histogram(values[colours == colour], edges)
        style = {"color": colour, "linewidth": 0, "align": "edge"}
        axes.bar(edges[:-1], counts, np.diff(edges), bottom=bottom, **style)
        bottom += counts
    if log:
        axes.set_yscale("log")
        axes.set_ylim(0.8, 1.3 * bottom.max())
    else:
        axes.yaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
    axes.set_xlim(edges[0], edges[-1])
    axes.spines["bottom"].set_color(MUTED)
    label_axes(axes, name, "particles")
    return to_svg(figure, identity)
