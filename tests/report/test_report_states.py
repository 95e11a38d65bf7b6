"""What the page shows of states, and of latents that there is no map of."""

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cryolatent.io import write_volume
from cryolatent.report import render
from cryolatent.report.colours import JUNK_COLOUR, junk_shade
from cryolatent.report.findings import gather
from cryolatent.report.volumes import cluster_cards
from cryolatent.runs.run import Run
from report.conftest import BOX, CLUSTERS, make_states
from report.test_report_page import Elements, read


@pytest.fixture
def states(make_run) -> Run:
    return make_states(make_run("a", truth=False))


def drawings(elements: Elements) -> list[str]:
    return [str(a["aria-label"]) for a in elements.all("div") if a.get("role") == "img"]


def test_states_are_listed_with_what_their_own_maps_show(states: Run, tmp_path: Path) -> None:
    elements = read(render([states], tmp_path / "report.html"))
    words = elements.words().replace("\N{NARROW NO-BREAK SPACE}", " ")
    assert "maps of their own particles to 11.5 Å" in words
    assert "state 2: nothing in common between its halves" in words
    assert "4 images (6.7 %) more probably show no particle" in words
    assert "33 % [31.3, 35.3] 0.933 20 11.5 Å 3.1 %" in words
    assert "nothing in common" in words
    assert any("half-maps of the own particles of 3 states" in text for text in drawings(elements))
    assert "Clusters" not in words


def test_states_have_no_map_and_are_drawn_once(states: Run, tmp_path: Path) -> None:
    found = drawings(read(render([states], tmp_path / "report.html")))
    assert sum("most probable state" in text for text in found) == 1
    assert not any("map of the latents" in text for text in found)


def test_one_state_leaves_nothing_to_draw(states: Run, tmp_path: Path) -> None:
    (findings,) = gather([states])
    only = findings.summary.clusters[:1]
    object.__setattr__(findings, "summary", findings.summary.model_copy(update={"clusters": only}))
    assert findings.shape == "nothing"


def test_states_of_two_runs_are_compared_by_their_index(states: Run, make_run, tmp_path) -> None:
    other = make_run("b", truth=False)
    words = read(render([states, other], tmp_path / "report.html")).words()
    assert "States or clusters (ARI)" in words
    assert "Neighbours" not in words
    words = read(render([other, make_run("c", truth=False)], tmp_path / "two.html")).words()
    assert words.index("States or clusters (ARI)") < words.index("Neighbours")


def test_one_volume_does_not_wash_out_the_others(make_run) -> None:
    run = make_run("a", truth=False)
    (findings,) = gather([run])
    volume = np.zeros((BOX, BOX, BOX), dtype=np.float32)
    volume[4, 4, 4] = -1000
    before = cluster_cards(findings, dict.fromkeys(range(CLUSTERS), junk_shade(0, 0)))
    write_volume(run.path / findings.summary.clusters[0].volume, volume, 4.0)
    after = cluster_cards(findings, dict.fromkeys(range(CLUSTERS), junk_shade(0, 0)))
    assert after[0].slices != before[0].slices
    assert [card.slices for card in after[1:]] == [card.slices for card in before[1:]]
    picture = Image.open(io.BytesIO(base64.b64decode(after[1].slices.partition(",")[2])))
    grey = np.asarray(picture)[..., 0]
    assert (grey.min(), grey.max()) == (0, 255)


def test_clusters_of_junk_differ_in_grey() -> None:
    greys = [junk_shade(3, variant).colour for variant in range(4)]
    assert greys[0] == JUNK_COLOUR
    assert len(set(greys)) == 4
