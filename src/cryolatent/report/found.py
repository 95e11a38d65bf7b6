"""How the poses of a run were found from images alone: starts, evidence, views, map."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cryolatent.io import read_volume
from cryolatent.physics import sphere_grid
from cryolatent.report.charts import SMALL, Chart
from cryolatent.report.drawing import INK, MUTED, label_axes, new_figure, to_svg
from cryolatent.report.findings import Findings
from cryolatent.report.volumes import central_slices, strips
from cryolatent.runs.found import VIEW_DIVISIONS, PosesFound

LARGEST_DOT = 55.0
"""Area of the largest dot, in square points."""


@dataclass(frozen=True)
class FoundCard:
    """What a search for poses came to.

    Args:
        label: The run's name.
        words: The same in sentences.
        charts: Evidence of the starts, and views.
        slices: Three central slices of the map, as a data URI; empty if it is gone.
    """

    label: str
    words: list[str]
    charts: list[Chart]
    slices: str


def found_cards(findings: Sequence[Findings]) -> list[FoundCard]:
    """Show the searches that runs began from.

    Args:
        findings: All runs of the page.

    Returns:
        One card for each run that lies beside a search.
    """
    cards = []
    for f in findings:
        folder = f.run.path.resolve().parent
        found = PosesFound.read(folder)
        if found is None or f.run.manifest.input.parent.name != folder.name:
            continue
        charts = [_starts_chart(found, f), *([_views_chart(found, f)] if found.views else [])]
        map_file, slices = folder / "map.mrc", ""
        if map_file.is_file():
            slices = strips([central_slices(read_volume(map_file)[0])])[0]
        cards.append(FoundCard(f.label, found.words(), charts, slices))
    return cards


def _starts_chart(found: PosesFound, findings: Findings) -> Chart:
    figure, axes = new_figure(*SMALL)
    behind = np.array(found.starts) - max(found.starts)
    numbers = np.arange(1, len(behind) + 1)
    axes.plot(numbers, behind, linestyle="", marker="o", markersize=5, color=MUTED)
    chosen = found.chosen
    axes.plot(numbers[chosen], behind[chosen], marker="o", markersize=8, color=INK)
    axes.set_xticks(numbers)
    axes.set_xlim(0.5, len(behind) + 0.5)
    label_axes(axes, "random start", "nats per particle")
    listed = "; ".join(f"{n}: {value:.2f}" for n, value in enumerate(found.starts, 1))
    alt = (
        f"Log evidence per particle of each random start of {findings.label}, in nats: {listed}. "
        f"Start {chosen + 1} went on."
    )
    title = f"Evidence of the starts, relative to the best: {chosen + 1} went on"
    return Chart(title, alt, to_svg(figure, f"starts-{findings.number}"))


def _views_chart(found: PosesFound, findings: Findings) -> Chart:
    figure, axes = new_figure(*SMALL)
    polar, longitude = sphere_grid(VIEW_DIVISIONS).numpy().T
    share = np.array(found.views) * len(found.views) / max(1, sum(found.views))
    # equal areas of the chart are equal areas of the sphere
    height = np.cos(np.deg2rad(polar))
    axes.scatter(longitude, height, s=LARGEST_DOT * share / share.max(), color=INK, linewidths=0)
    axes.set_xlim(0, 360)
    axes.set_ylim(-1.05, 1.05)
    axes.set_xticks([0, 90, 180, 270, 360], ["0°", "90°", "180°", "270°", "360°"])
    axes.set_yticks([-1, 0, 1], ["180°", "90°", "0°"])
    label_axes(axes, "longitude of the view", "angle from the axis z")
    empty = float((share == 0).mean())
    alt = (
        f"Views of {findings.label} over {len(share)} directions of equal area: the commonest is "
        f"{share.max():.1f} times as frequent as if all were alike, {100 * empty:.0f} % have none."
    )
    return Chart("From where the images see it", alt, to_svg(figure, f"views-{findings.number}"))
