"""The page of experiments, from made-up findings."""

from pathlib import Path

import numpy as np
import pytest

from cryolatent.report.study import (
    Amount,
    Entry,
    Line,
    Panel,
    Picture,
    Study,
    map_picture,
    render_study,
    volume_pictures,
)


def study(*panels: Panel, saw: str = "Something was seen.") -> Study:
    entry = Entry("twin", "Figure 7", "Twin", saw, "a question", "twin permuted.", panels)
    return Study(
        eyebrow="A report",
        title="A title",
        lead="A lead.",
        systems=("One", "Other"),
        entries=(entry,),
        legend=(("early", "#0072b2"),),
        notes=(("Verdicts", "How they are made."),),
        command="cryolatent reproduce fig7",
    )


def panel(system: str, word: str, *pictures: Picture) -> Panel:
    lines = (Line("ARI", Amount.of_seeds([0.5, 0.7]), Amount("0.9"), "higher is better"),)
    return Panel(system, word, "ARI differs by −0.3", "Two seeds.", lines, pictures)


def test_page_shows_claim_numbers_and_verdict(tmp_path: Path) -> None:
    page = render_study(
        study(panel("One", "differs"), panel("Other", "agrees")), tmp_path / "p.html"
    )
    html = page.read_text()
    for text in ("Figure 7", "Something was seen.", "a question", "twin permuted.", "0.600"):
        assert text in html
    assert "0.500 · 0.700" in html
    assert html.count('class="verdict differs"') == 3  # tally, summary and panel
    assert html.count('class="verdict agrees"') == 3


def test_system_without_a_panel_has_a_dash(tmp_path: Path) -> None:
    html = render_study(study(panel("One", "agrees")), tmp_path / "p.html").read_text()
    assert "<td>—</td>" in html


def test_text_cannot_become_markup(tmp_path: Path) -> None:
    html = render_study(study(saw="<script>alert(1)</script>"), tmp_path / "p.html").read_text()
    assert "<script" not in html
    assert "&lt;script&gt;" in html


def test_map_numbers_particles_and_joins_moved_ones(tmp_path: Path) -> None:
    points = np.random.default_rng(0).normal(size=(30, 2))
    colours = ["#0072b2"] * 30
    still = map_picture("Map", points, colours, "a")
    moved = map_picture("Map", points, colours, "b", moved=points + 1)
    assert "10 of them numbered" in still.alt
    assert moved.alt.endswith("each joined to its moved self.")
    assert still.svg is not None
    assert moved.svg is not None
    assert moved.svg.count("<path") > still.svg.count("<path") + 9
    page = render_study(study(panel("One", "agrees", still, moved)), tmp_path / "p.html")
    assert page.read_text().count('role="img"') == 2


def test_volumes_share_one_grey_scale() -> None:
    volumes = np.zeros((2, 3, 4, 4))
    volumes[1] = 1.0
    first, second = volume_pictures(["dark", "light"], volumes)
    assert first.uri != second.uri
    assert first.alt == "dark: projections along z, y and x"


@pytest.mark.parametrize(
    ("values", "text", "detail"),
    [([], "—", ""), ([0.25], "0.250", ""), ([1.0, 2.0], "1.500", "1.000 · 2.000")],
)
def test_amount_of_seeds(values: list[float], text: str, detail: str) -> None:
    assert Amount.of_seeds(values) == Amount(text, detail)
