"""The page as a document: complete, self-contained, escaped."""

import re
from collections import Counter
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest

from cryolatent.config.training import TrainConfig
from cryolatent.errors import InputError
from cryolatent.models.registry import POSTERIORS
from cryolatent.report import render
from cryolatent.runs.run import Run

SECTIONS = ["findings", "states", "maps", "agreement", "training", "noise", "volumes", "fsc"]
SECTIONS += ["reading", "provenance"]
TRAINED = [name for name in POSTERIORS.kinds if TrainConfig.of(posterior=name).objective]
VOID = {"meta", "img", "br", "link", "hr", "input"}


class Elements(HTMLParser):
    """Every element with its attributes, and a check that what opens also closes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.opened: list[str] = []
        self.text: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in VOID:
            self.opened.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.opened.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.opened:
            self.text.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.found if name == tag]

    def words(self) -> str:
        return " ".join(" ".join(self.text).split())


def read(path: Path) -> Elements:
    return Elements(path.read_text())


def sections(elements: Elements) -> list[str | None]:
    return [section["id"] for section in elements.all("section")]


def test_needs_nothing_outside_the_file(page: Path) -> None:
    html, elements = page.read_text(), read(page)
    assert not re.search(r"https?:|url\((?!#)|@import|<script|<link|<iframe", html)
    links = [value for _, a in elements.found for k, value in a.items() if k in {"src", "href"}]
    assert links
    assert all(link and link.startswith(("#", "data:image/png;base64,")) for link in links)
    assert not re.search(r'\son\w+="', html)


def test_says_nothing_of_this_machine(page: Path, two_runs: list[Run]) -> None:
    html = page.read_text()
    assert str(two_runs[0].path.parent) not in html
    assert "particles.star" in html


def test_holds_every_section_in_order(page: Path) -> None:
    elements = read(page)
    assert elements.opened == []
    assert sections(elements) == SECTIONS
    assert [a["href"] for a in elements.all("a")] == ["#findings", *(f"#{s}" for s in SECTIONS)]


def test_ids_are_unique_and_references_resolve(page: Path) -> None:
    elements = read(page)
    ids = Counter(a["id"] for _, a in elements.found if "id" in a)
    assert ids.most_common(1)[0][1] == 1
    wanted = {a["aria-labelledby"] for _, a in elements.found if "aria-labelledby" in a}
    wanted |= {a["href"][1:] for a in elements.all("a") + elements.all("use") if a["href"]}
    wanted |= set(re.findall(r"url\(#(\w+)\)", page.read_text()))
    assert wanted <= set(ids)


def test_is_readable_without_seeing(page: Path) -> None:
    elements = read(page)
    assert elements.all("html")[0]["lang"] == "en"
    assert all(image["alt"] for image in elements.all("img"))
    assert len(elements.all("img")) == 2 * 3 * 3
    drawings = [a for _, a in elements.found if a.get("role") == "img"]
    assert len(drawings) == 12 + 3 + 1 + 2
    assert all(drawing["aria-label"] for drawing in drawings)
    assert all("scope" in header for header in elements.all("th"))
    levels = [int(tag[1]) for tag, _ in elements.found if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


@pytest.mark.parametrize(
    "text",
    [
        "−1 234.50 [−1 235.30, −1 233.70]",
        "6.54 [6.34, 6.74]",
        "0.432 [0.412, 0.452]",
        "oracle 0.877 [0.857, 0.897]",
        "0.3111 [0.3081, 0.3141]",
        "ceiling 0.375",
        "1 min 35 s",
        "3 min 0 s of processor time",
        "20 (33 %)",
        "21.5 Å",
        "000@stack.mrcs",
        "ab" * 32,
        "cryolatent report amortised tabulated -o report.html",
        "the first 2 epochs",
    ],
)
def test_shows_what_the_files_say(page: Path, text: str) -> None:
    words = read(page).words().replace("\N{NARROW NO-BREAK SPACE}", " ")
    assert text in words


def test_marks_only_the_options_that_differ(page: Path) -> None:
    html = page.read_text()
    rows = re.findall(r'<tr class="differs">.*?<code>(\w+)</code>', html)
    assert rows == ["posterior"]
    assert "differ only" in html


def test_escapes_hostile_names(make_run, tmp_path: Path) -> None:
    hostile = "<img src=x onerror=alert(1)> $x^$"
    run = make_run(hostile, prefix="<script>alert(2)</script>")
    other = make_run('"quoted" & <i>', "table", prefix="<script>alert(2)</script>")
    elements = read(render([run, other], tmp_path / "page" / "report.html"))
    assert not elements.all("script")
    assert not elements.all("i")
    assert all("onerror" not in a for _, a in elements.found)
    assert hostile in elements.words()
    assert "<script>alert(2)</script>000@stack.mrcs" in elements.words()
    assert "open <b>" in elements.words()


def test_one_run_has_a_page_of_its_own(make_run, tmp_path: Path) -> None:
    elements = read(render([make_run("alone")], tmp_path / "report.html"))
    assert sections(elements) == [s for s in SECTIONS if s != "agreement"]
    assert "was trained on 60 particles" in elements.words()
    assert "≠" not in elements.words()


def test_without_truth_nothing_speaks_of_it(make_run, tmp_path: Path) -> None:
    runs = [make_run("a", truth=False), make_run("b", "table", truth=False)]
    elements = read(render(runs, tmp_path / "report.html"))
    assert sections(elements) == [s for s in SECTIONS if s != "fsc"]
    for word in ("oracle", "truth", "true state", "Purity", "FSC", "TRUTH", "simulated"):
        assert word not in elements.words()


def test_truth_of_one_run_only(make_run, tmp_path: Path) -> None:
    runs = [make_run("a", truth=False), make_run("b", "table")]
    elements = read(render(runs, tmp_path / "report.html"))
    assert sections(elements) == SECTIONS
    assert "oracle 0.877" in elements.words()


def test_one_latent_dimension(make_run, tmp_path: Path) -> None:
    elements = read(render([make_run("flat", z_dim=1)], tmp_path / "report.html"))
    assert "1 latent dimension " in elements.words()
    drawings = [a["aria-label"] for a in elements.all("div") if a.get("role") == "img"]
    assert sum("Histogram of the one latent dimension" in str(text) for text in drawings) == 3
    assert not any("map of the latents" in str(text) for text in drawings)
    assert "UMAP" not in elements.words()


def test_the_reports_objective_has_no_elbo_curve(make_run, tmp_path: Path) -> None:
    run = make_run("squared", objective="report")
    elements = read(render([run], tmp_path / "report.html"))
    assert "noise" not in sections(elements)
    assert "Mean squared error" in elements.words()
    assert "−ELBO" not in elements.words()


def test_bounds_of_different_images_are_not_subtracted(make_run, tmp_path: Path) -> None:
    runs = [make_run("a"), make_run("b", "table", shells=4)]
    words = read(render(runs, tmp_path / "report.html")).words()
    assert "must not be compared" in words
    assert ", b − a" not in words


def test_resolution_ends_at_the_last_shell_in_use(make_run, tmp_path: Path) -> None:
    words = read(render([make_run("a", shells=2)], tmp_path / "report.html")).words()
    assert "FSC 0.5 at 32.0 Å, the last shell in use" in words
    assert "21.5 Å" not in words


def test_three_runs_are_compared_with_the_first(make_run, tmp_path: Path) -> None:
    runs = [make_run("a"), make_run("b", "table"), make_run("c", seed=4)]
    words = read(render(runs, tmp_path / "report.html")).words()
    assert words.startswith("a, b and c")
    assert "a and b, 60 shared particles" in words
    assert "a and c, 60 shared particles" in words
    assert "b and c, 60" not in words


def test_runs_without_common_particles_are_refused(make_run, tmp_path: Path) -> None:
    runs = [make_run("a"), make_run("b", prefix="x")]
    with pytest.raises(InputError, match="particles in common"):
        render(runs, tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


@pytest.mark.parametrize("missing", ["summary.json", "embedding.parquet"])
def test_a_run_that_is_not_analysed_is_refused(make_run, tmp_path: Path, missing: str) -> None:
    run = make_run("a")
    (run.path / "analysis" / missing).unlink()
    with pytest.raises(InputError, match="cryolatent analyze"):
        render([run], tmp_path / "report.html")


def test_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no run"):
        render([], tmp_path / "report.html")


@pytest.mark.parametrize("posterior", TRAINED)
def test_every_trained_posterior_has_a_page(make_run, tmp_path: Path, posterior: str) -> None:
    words = read(render([make_run("a", posterior)], tmp_path / "report.html")).words()
    assert ("ELBO" in words) == (posterior != "point-table")
    assert ("Log joint density (MAP)" in words) == (posterior == "point-table")


@pytest.mark.parametrize("objective", ["elbo", "report"])
def test_points_are_never_given_a_bound(make_run, tmp_path: Path, objective: str) -> None:
    runs = [make_run("a", objective=objective), make_run("b", "point-table", objective=objective)]
    elements = read(render(runs, tmp_path / "report.html"))
    words = elements.words().replace("\N{NARROW NO-BREAK SPACE}", " ")
    assert "−1 357.90 [−1 358.70, −1 357.10]" in words
    assert ", b − a" not in words
    drawings = [a["aria-label"] for _, a in elements.found if a.get("role") == "img"]
    curves = [text for text in drawings if text and "against epoch: b" in text]
    assert curves
    assert not any("ELBO" in text or "KL" in text for text in curves)
