"""Line charts: training, noise, Fourier shell correlation."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.ticker import MaxNLocator

from cryolatent.analysis.reconstruction import RESOLVED
from cryolatent.models.latents import penalty_name
from cryolatent.report.colours import Shade, prevailing_state
from cryolatent.report.drawing import (
    DASHES,
    INK,
    MUTED,
    label_axes,
    new_figure,
    resolution_axis,
    run_line,
    spread,
    to_svg,
)
from cryolatent.report.findings import Findings
from cryolatent.train.choice import READING, Choice

SMALL = (3.3, 2.6)
LARGE = (3.8, 2.75)
HALF = 0.5
LOG_RANGE = 30.0
CLIMB_FLOOR = -3.0
"""Nats per particle below the end of a climb at which its chart begins."""


@dataclass(frozen=True)
class Chart:
    """A figure with the text that belongs to it.

    Args:
        title: What it shows.
        alt: The same for a reader who does not see it.
        svg: The drawing.
    """

    title: str
    alt: str
    svg: Markup


@dataclass(frozen=True)
class Loss:
    """A curve of the training.

    Args:
        title: Name.
        unit: Unit.
        of: Its value from a log entry.
    """

    title: str
    unit: str
    of: Callable[[dict[str, Any]], float]


PRIOR = penalty_name(is_bound=False)
EVIDENCE_LOSSES = (
    Loss("−ELBO", "nats per particle", lambda e: e["reconstruction"] + e["kl"]),
    Loss("Reconstruction", "nats per particle", lambda e: e["reconstruction"]),
    Loss("KL divergence", "nats per particle", lambda e: e["kl"]),
)
POINT_LOSSES = (
    Loss("−log joint density", "nats per particle", lambda e: e["reconstruction"] + e[PRIOR]),
    Loss("Reconstruction of points", "nats per particle", lambda e: e["reconstruction"]),
    Loss("−log prior density", "nats per particle", lambda e: e[PRIOR]),
)
REPORT_LOSSES = (
    Loss("Mean squared error", "share of the data's variance", lambda e: e["reconstruction"]),
    Loss("KL divergence", "nats per particle", lambda e: e["kl"]),
)
REPORT_POINT_LOSSES = (
    Loss("Mean squared error of points", REPORT_LOSSES[0].unit, lambda e: e["reconstruction"]),
    Loss("−log prior density", "nats per particle", lambda e: e[PRIOR]),
)
LOSSES = {
    ("elbo", True): EVIDENCE_LOSSES,
    ("elbo", False): POINT_LOSSES,
    ("report", True): REPORT_LOSSES,
    ("report", False): REPORT_POINT_LOSSES,
}
"""By objective, and by whether the posterior has a divergence."""


def loss_charts(findings: Sequence[Findings]) -> list[Chart]:
    """Draw the training by epoch, runs of one objective together, points apart.

    Args:
        findings: All runs of the page.

    Returns:
        One chart per part of the objective.
    """
    charts = []
    for (objective, is_bound), losses in LOSSES.items():
        chosen = [
            f
            for f in findings
            if f.run.config.kinds.get("objective") == objective
            and f.epochs
            and (PRIOR not in f.epochs[0]) is is_bound
        ]
        charts += [_loss_chart(loss, chosen) for loss in losses if chosen]
    return charts


def _loss_chart(loss: Loss, findings: list[Findings]) -> Chart:
    figure, axes = new_figure(*SMALL)
    everything, last = [], 1
    for f in findings:
        epoch = [entry["epoch"] + 1 for entry in f.epochs]
        values = [loss.of(entry) for entry in f.epochs]
        marker = "o" if len(epoch) < 3 else ""
        axes.plot(epoch, values, **run_line(f.number), marker=marker)
        everything += values
        last = max(last, *epoch)
    warmup = max(warmup_of(f) for f in findings)
    if warmup:
        axes.axvspan(0, min(warmup, last), color=MUTED, alpha=0.1, linewidth=0)
    axes.set_xlim(min(1, last - 1), last)
    axes.set_ylim(*spread(np.array(everything, dtype=float)))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    label_axes(axes, "epoch", loss.unit)
    ends = "; ".join(f"{f.label} ends at {loss.of(f.epochs[-1]):.4g}" for f in findings)
    alt = f"{loss.title} in {loss.unit} against epoch: {ends}."
    name = f"loss-{loss.title}-{findings[0].number}"
    return Chart(loss.title, alt, to_svg(figure, name))


def warmup_of(findings: Findings) -> int:
    """Epochs during which the weight of the KL term rises.

    Args:
        findings: A run.

    Returns:
        0 where there is no such weight.
    """
    objective = findings.run.options.objective
    return 0 if objective is None else objective.beta_warmup or 0


def climb_charts(findings: Sequence[Findings]) -> list[Chart]:
    """Draw the penalised evidence of each expectation maximisation.

    Evidence of different shells does not compare, so each value is relative to the last at its
    shells; a line ends where prior, noise, mask or shells change.

    Args:
        findings: All runs of the page.

    Returns:
        One chart per run with an exact posterior.
    """
    return [_climb_chart(f) for f in findings if f.epochs and "curve" in f.epochs[0]]


def _climb_chart(findings: Findings) -> Chart:
    figure, axes = new_figure(*SMALL)
    final = {_climb(entry): entry["objective"] for entry in findings.epochs}
    lines: dict[tuple[int, ...], list[tuple[int, float]]] = {}
    for entry in findings.epochs:
        key = _climb(entry)
        gap = max(entry["objective"] - final[key], CLIMB_FLOOR)
        lines.setdefault((entry["curve"], *key), []).append((entry["epoch"] + 1, gap))
    for points in lines.values():
        marker = "o" if len(points) == 1 else ""
        axes.plot(*zip(*points, strict=True), **run_line(findings.number), marker=marker)
    axes.set_ylim(CLIMB_FLOOR, 0.1 - 0.1 * CLIMB_FLOOR)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    label_axes(axes, "pass", "nats per particle")
    shells = sorted({entry["shells"] for entry in findings.epochs})
    alt = (
        f"Penalised evidence of {findings.label} against pass, in {len(lines)} pieces, relative to "
        f"the last value at each of the shells {', '.join(map(str, shells))}."
    )
    return Chart(
        f"Penalised evidence, {findings.label}", alt, to_svg(figure, f"climb-{findings.number}")
    )


def _climb(entry: dict) -> tuple[int, ...]:
    """What the evidence of a pass compares with: that of the same shells and the same volumes."""
    return entry["shells"], entry["volumes"], int(entry.get("states", False))


def choice_charts(findings: Sequence[Findings]) -> list[Chart]:
    """Draw what particles kept aside say of the number of dimensions or states.

    Args:
        findings: All runs of the page.

    Returns:
        One chart per choice.
    """
    return [
        _choice_chart(f, choice)
        for f in findings
        for choice in f.run.choices()
        if choice.name != READING
    ]


def _choice_chart(findings: Findings, choice: Choice) -> Chart:
    figure, axes = new_figure(*SMALL)
    numbers = [candidate.number for candidate in choice.candidates]
    behind = [-candidate.behind for candidate in choice.candidates]
    errors = [candidate.error for candidate in choice.candidates]
    axes.errorbar(numbers, behind, yerr=errors, capsize=2, **run_line(findings.number))
    axes.axvline(choice.chosen, color=MUTED, linewidth=0.8, linestyle=":")
    axes.set_yscale("symlog", linthresh=0.01)
    axes.set_ylim(min(1.5 * min(behind), -0.03), 0.02)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    label_axes(axes, f"number of {choice.name}", "nats per particle")
    listed = "; ".join(f"{c.number}: {-c.behind:.3f} ± {c.error:.3f}" for c in choice.candidates)
    alt = (
        f"Held-out evidence of {findings.label} by number of {choice.name}, relative to the best: "
        f"{listed}. Chosen: {choice.chosen}."
    )
    title = f"Number of {choice.name}, {findings.label}: {choice.chosen}"
    return Chart(title, alt, to_svg(figure, f"choice-{choice.name}-{findings.number}"))


def noise_chart(findings: Sequence[Findings]) -> Chart | None:
    """Draw each run's last noise spectrum against resolution.

    Args:
        findings: All runs of the page.

    Returns:
        The chart, or None if no run has logged a spectrum.
    """
    curves = [(f, f.epochs[-1].get("noise_spectrum", [])) for f in findings if f.epochs]
    curves = [(f, curve) for f, curve in curves if len(curve) > 1]
    if not curves:
        return None
    figure, axes = new_figure(*LARGE)
    last, values = 0.0, []
    for f, curve in curves:
        frequency = frequencies(f, len(curve))[1:]
        axes.plot(frequency, curve[1:], **run_line(f.number))
        last = max(last, float(frequency[-1]))
        values += curve[1:]
    if min(values) > 0 and max(values) / min(values) > LOG_RANGE:
        axes.set_yscale("log")
    else:
        axes.set_ylim(0, 1.06 * max(values))
    resolution_axis(axes, last)
    label_axes(axes, "resolution (Å)", "noise variance σ²")
    ends = "; ".join(f"{f.label} from {curve[1]:.3g} to {curve[-1]:.3g}" for f, curve in curves)
    alt = f"Noise variance of a Fourier coefficient, lowest to highest resolution: {ends}."
    return Chart("Noise spectrum", alt, to_svg(figure, "noise"))


def fsc_chart(findings: Findings, shades: dict[int, Shade]) -> Chart | None:
    """Draw the correlation of each cluster's volume with its nearest state's.

    Args:
        findings: A run.
        shades: Colours of its clusters.

    Returns:
        The chart, or None if the truth is not known.
    """
    curves = {c.number: c.fsc for c in findings.summary.clusters if c.fsc and prevailing_state(c)}
    if not curves:
        return None
    alt = (
        f"Fourier shell correlation of the volumes of {len(curves)} clusters of run "
        f"{findings.label} with the true map of their nearest state, against resolution; where "
        "each falls below 0.5 stands in the table of volumes."
    )
    svg = _correlations(findings, curves, shades, HALF, f"fsc-{findings.number}")
    return Chart(findings.label, alt, svg)


def halves_chart(findings: Findings, shades: dict[int, Shade]) -> Chart | None:
    """Draw the correlation of the half-maps of each state's or cluster's own particles.

    Args:
        findings: A run.
        shades: Colours of its clusters.

    Returns:
        The chart, or None if there are no such maps.
    """
    found = findings.summary.clusters
    curves = {c.number: c.measured.fsc for c in found if c.measured is not None}
    if not curves:
        return None
    alt = (
        f"Fourier shell correlation of half-maps of the own particles of {len(curves)} "
        f"{findings.summary.word}s of run {findings.label}, against resolution; where each falls "
        f"below {RESOLVED} stands in the table."
    )
    svg = _correlations(findings, curves, shades, RESOLVED, f"halves-{findings.number}")
    return Chart(findings.label, alt, svg)


def _correlations(
    findings: Findings,
    curves: dict[int, tuple[float, ...]],
    shades: dict[int, Shade],
    level: float,
    identity: str,
) -> Markup:
    figure, axes = new_figure(*LARGE)
    last = 0.0
    for number, fsc in curves.items():
        frequency = frequencies(findings, len(fsc))
        style = DASHES[shades[number].variant % len(DASHES)]
        colour = shades[number].colour
        axes.plot(frequency[1:], fsc[1:], color=colour, linestyle=style, linewidth=1.6)
        last = max(last, float(frequency[-1]))
    axes.axhline(level, color=INK, linewidth=0.8, linestyle=(0, (2, 2)))
    used = float(frequencies(findings, findings.run.manifest.shells + 1)[-1])
    axes.axvspan(used, last, color=MUTED, alpha=0.1, linewidth=0)
    axes.set_ylim(min(0.0, *(min(fsc) for fsc in curves.values())), 1.02)
    resolution_axis(axes, last)
    label_axes(axes, "resolution (Å)", "FSC")
    return to_svg(figure, identity)


def frequencies(findings: Findings, count: int) -> np.ndarray:
    """Frequency of Fourier shells.

    Args:
        findings: A run; its box and pixel size count.
        count: Number of shells from 0.

    Returns:
        Values in 1/Å.
    """
    manifest = findings.run.manifest
    return np.arange(count) / (manifest.box * manifest.pixel_size_angstrom)
