"""A page of experiments: what was claimed, the same picture, the number, the verdict."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from jaxtyping import Float
from markupsafe import Markup

import cryolatent
from cryolatent.io.files import write_text_atomically
from cryolatent.report import formats
from cryolatent.report.rendering import environment
from cryolatent.report.volumes import strips

MAP_INCHES = 2.9
WORDS = ("agrees", "differs", "inconclusive", "underpowered", "measured")


@dataclass(frozen=True)
class Amount:
    """A number as a reader wants to see it.

    Args:
        text: The number.
        detail: What it is made of, such as the numbers of all seeds.
    """

    text: str
    detail: str = ""

    @staticmethod
    def of_seeds(values: Sequence[float], decimals: int = 3) -> "Amount":
        """Write a number of several seeds.

        Args:
            values: The number of each seed.
            decimals: Digits after the point.

        Returns:
            Their mean, and all of them if there are several.
        """
        if not values:
            return Amount(formats.NONE)
        mean = formats.decimal(float(np.mean(values)), decimals)
        listed = " · ".join(formats.decimal(value, decimals) for value in values)
        return Amount(mean, listed if len(values) > 1 else "")


NOTHING = Amount("")


@dataclass(frozen=True)
class Line:
    """A measured number beside what it is compared with.

    Args:
        label: What is measured.
        value: What was found.
        compared: The same of what it is compared with; empty if there is nothing.
        hint: How to read it.
    """

    label: str
    value: Amount
    compared: Amount = NOTHING
    hint: str = ""


@dataclass(frozen=True)
class Picture:
    """A drawing or a photograph of a result.

    Args:
        caption: What it shows.
        alt: The same for a reader who does not see it.
        svg: The drawing, if it is one.
        uri: The image, if it is one.
    """

    caption: str
    alt: str
    svg: Markup | None = None
    uri: str | None = None


@dataclass(frozen=True)
class Panel:
    """An experiment on one system.

    Args:
        system: The system.
        word: Verdict, one of `WORDS`.
        reason: The number that decides.
        facts: Seeds, steps and cost.
        lines: What was measured.
        pictures: What there is to see.
    """

    system: str
    word: str
    reason: str
    facts: str
    lines: tuple[Line, ...]
    pictures: tuple[Picture, ...]


@dataclass(frozen=True)
class Entry:
    """An experiment.

    Args:
        name: Unlike that of any other; also the command that repeats it alone.
        label: Where the claim stands, such as ``Figure 7``.
        title: What is done.
        saw: What was claimed.
        question: The claim as it is tested.
        options: How the experiment differs from what it is compared with.
        panels: What was found on each system.
    """

    name: str
    label: str
    title: str
    saw: str
    question: str
    options: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True)
class Study:
    """A page.

    Args:
        eyebrow: The line above the title.
        title: Title.
        lead: What was done, in a paragraph.
        systems: Names of the systems, in the order of the summary's columns.
        entries: The experiments.
        legend: Names and colours of what maps show.
        notes: How numbers and verdicts are made, as pairs of term and explanation.
        command: The command that makes the page.
    """

    eyebrow: str
    title: str
    lead: str
    systems: tuple[str, ...]
    entries: tuple[Entry, ...]
    legend: tuple[tuple[str, str], ...]
    notes: tuple[tuple[str, str], ...]
    command: str


def render_study(study: Study, output: Path) -> Path:
    """Write one self-contained HTML page.

    Args:
        study: What it shows.
        output: The file; an existing one is replaced.

    Returns:
        The file.
    """
    templates = environment()
    counts = Counter(panel.word for entry in study.entries for panel in entry.panels)
    html = templates.get_template("study.html.j2").render(
        study=study,
        counts={word: counts[word] for word in WORDS if counts[word]},
        version=cryolatent.__version__,
        date=datetime.now(UTC).strftime("%d %B %Y, %H:%M UTC"),
    )
    write_text_atomically(output, html)
    return output


def map_picture(
    caption: str,
    points: Float[np.ndarray, "n 2"],
    colours: Sequence[str],
    identity: str,
    *,
    numbered: int = 10,
    moved: Float[np.ndarray, "n 2"] | None = None,
) -> Picture:
    """Draw particles on a map.

    Args:
        caption: What it shows.
        points: Place of each particle.
        colours: Colour of each.
        identity: Unlike that of any other drawing of the page.
        numbered: How many of the first particles carry their number.
        moved: Where the particles are after a move, as points of the same map; the numbered ones
            are joined to their moved selves by lines.

    Returns:
        The drawing.
    """
    # Importing matplotlib takes longer than answering --help may.
    from cryolatent.report.maps import draw_map

    places = {number + 1: points[number] for number in range(min(numbered, len(points)))}
    svg = draw_map(points, colours, places, ("", ""), MAP_INCHES, identity, moved=moved)
    joined = "" if moved is None else ", each joined to its moved self"
    alt = f"{caption}: {len(points)} particles, {len(places)} of them numbered{joined}."
    return Picture(caption, alt, svg=svg)


def volume_pictures(
    captions: Sequence[str], projections: Float[np.ndarray, "n 3 d d"]
) -> list[Picture]:
    """Picture volumes as three projections each, on one grey scale.

    Args:
        captions: What each is.
        projections: Projections along z, y and x.

    Returns:
        One picture per volume.
    """
    return [
        Picture(caption, f"{caption}: projections along z, y and x", uri=uri)
        for caption, uri in zip(captions, strips(list(projections)), strict=True)
    ]
