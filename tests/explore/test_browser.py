"""The page in a browser: from the map to a STAR file."""

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import cryolatent
from benchmarks.chromium import Page, browser
from cryolatent.io import read_star
from cryolatent.runs.run import Run
from explore.served import Served

pytestmark = pytest.mark.chromium
WIDE, NARROW = (1300, 1000), (390, 800)


@pytest.fixture(scope="module")
def page(served: Served, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with browser(tmp_path_factory.mktemp("profile")) as opened:
        opened.size(*WIDE)
        opened.theme("light")
        opened.call("Page.navigate", url=served.url)
        opened.until("document.querySelector('#map-status')?.textContent")
        yield opened
        assert opened.complaints == []


def text(page: Page, selector: str) -> str:
    return page.value(f"document.querySelector('{selector}').textContent")


def inked(page: Page, selector: str) -> float:
    """Share of an element's pixels that are not of its most frequent colour."""
    box = page.place(selector)
    page.settle()
    left, top = round(box["x"]) + 2, round(box["y"]) + 2
    right, low = left + int(box["width"]) - 4, top + int(box["height"]) - 4
    picture = Image.open(io.BytesIO(page.picture())).convert("RGB").crop((left, top, right, low))
    colours = np.asarray(picture).reshape(-1, 3)
    _, counts = np.unique(colours, axis=0, return_counts=True)
    return 1 - counts.max() / len(colours)


def around(page: Page, low: float, high: float) -> list[tuple[float, float]]:
    """A loop on the map between two values of the first axis, over its whole height."""
    box = page.place("#density")
    # two states side by side, from -0.4 to 1.4, with the map's margin of four hundredths
    sides = [box["x"] + box["width"] * ((value + 0.4) / 1.8 + 0.04) / 1.08 for value in (low, high)]
    top, bottom = box["y"] + 3, box["y"] + box["height"] - 3
    corners = np.array([(sides[0], top), (sides[1], top), (sides[1], bottom), (sides[0], bottom)])
    steps = np.linspace(0, 1, 12)[:, None]
    edges = zip(corners, np.roll(corners, -1, axis=0), strict=True)
    return [tuple(at) for a, b in edges for at in (a + steps * (b - a)).tolist()]


def test_lasso_to_star(page: Page, served: Served, run: Run) -> None:
    expected = cryolatent.open_run(run.path).table("cluster=1")
    assert text(page, "#found").startswith("2 states: ")
    assert text(page, "#count") == "0"
    assert inked(page, "#density") > 0.003
    page.drag(around(page, 0.5, 1.45))
    page.until(f"document.querySelector('#count').textContent === '{len(expected)}'")
    page.click("#undo")
    page.until("document.querySelector('#count').textContent === '0'")
    page.click("#redo")
    page.until(f"document.querySelector('#count').textContent === '{len(expected)}'")
    page.click("#store")
    page.until("document.querySelector('#entries li')")
    page.value("document.querySelector('#entries button[aria-label^=\"Write .star\"]').click()")
    page.until("document.querySelector('.written code')")
    written = read_star(served.exports / "selection1.star").particles
    numbers = [name.partition("@")[0] for name in written["rlnImageName"]]
    assert numbers == [name.partition("@")[0] for name in expected.index]
    assert text(page, ".written code").startswith(f"cryolatent export {run.path} --select ids=")
    # nothing is written twice under a name, and the page says so
    page.value("document.querySelector('#entries button[aria-label^=\"Write .star\"]').click()")
    page.until("document.querySelector('#message').textContent.includes('something there')")
    page.complaints.clear()  # of the refused export


def test_a_volume_appears_at_a_click_and_beside_another(page: Page) -> None:
    page.until("document.querySelector('#caption-0').textContent.startsWith('State 0')")
    one = inked(page, "#surface")
    assert one > 0.02
    page.click("#pin")
    page.until("document.querySelector('#caption-1').textContent.startsWith('State 0')")
    box = page.place("#density")
    page.drag([(box["x"] + 0.75 * box["width"], box["y"] + 0.5 * box["height"])])
    page.until("document.querySelector('#caption-0').textContent.includes('at one particle')")
    assert inked(page, "#surface") > 0.02
    half = page.value("document.querySelector('#enclosed').textContent")
    assert "the same for both" in half
    page.click("#unpin")
    page.until("document.querySelector('#caption-1').textContent === ''")


def show_panel(page: Page, name: str) -> None:
    page.value(f"document.querySelector('[data-panel={name}]').click()")
    page.until(f"!document.querySelector('#{name}').hidden")


def test_particles_of_the_selection(page: Page, run: Run) -> None:
    page.click(".card")
    expected = cryolatent.open_run(run.path).table("cluster=0")
    show_panel(page, "particles")
    status = "document.querySelector('#images-status').textContent"
    page.until(f"{status}.startsWith('{len(expected)} selected')")
    names = page.value("[...document.querySelectorAll('#images .note')].map((e) => e.textContent)")
    assert names == expected.index[:5].tolist()
    for place in range(4):
        assert inked(page, f"#images li:first-of-type figure:nth-of-type({place + 1}) canvas") > 0.5
    page.until("document.querySelector('#views-note').textContent.startsWith('Views of')")
    assert inked(page, "#views") > 0.02
    page.click("#later")
    page.until("document.querySelector('#images-status').textContent.includes('page 2')")
    page.value("document.querySelector('#images-save details').open = true")
    page.until("document.querySelector('#images-save code')")
    line = text(page, "#images-save code")
    shown = eval(line, {"cryolatent": cryolatent})  # the line that the page gives is run
    assert len(shown.raw) == 5
    page.value("document.querySelector('#images-save details').open = false")


def test_a_measured_map_a_difference_and_sections(page: Page) -> None:
    page.click("#pin")
    page.until("document.querySelector('#caption-1').textContent")
    page.click("#measured")
    page.until("document.querySelector('#caption-0').textContent.includes('measured from its own')")
    page.value("document.querySelectorAll('.card')[1].click()")
    page.until("document.querySelector('#caption-0').textContent.startsWith('State 1')")
    look = "document.querySelector('#look')"
    page.value(f"{look}.value = 'difference'; {look}.dispatchEvent(new Event('change'))")
    page.until("document.querySelector('#enclosed').textContent.startsWith('Red')")
    box = page.place("#surface")
    page.settle()
    picture = Image.open(io.BytesIO(page.picture())).convert("RGB")
    area = (box["x"], box["y"], box["x"] + box["width"], box["y"] + box["height"])
    red, green, blue = np.asarray(picture.crop(tuple(map(round, area)))).astype(int).T
    assert ((red > blue + 60) & (red > green + 60)).sum() > 50
    assert ((blue > red + 40) & (blue > green + 20)).sum() > 50
    page.value(f"{look}.value = 'sections'; {look}.dispatchEvent(new Event('change'))")
    page.until("document.querySelectorAll('#sections canvas').length === 6")
    assert inked(page, "#sections canvas") > 0.5
    page.value(f"{look}.value = 'surface'; {look}.dispatchEvent(new Event('change'))")
    page.click("#unpin")
    page.until("document.querySelector('#caption-1').textContent === ''")


def test_a_selection_is_compared(page: Page, run: Run) -> None:
    expected = cryolatent.open_run(run.path).table("cluster=1")
    page.value("document.querySelectorAll('.card')[1].click()")
    show_panel(page, "compare")
    page.until(
        f"document.querySelector('#across-note').textContent.startsWith('{len(expected)} selected')"
    )
    assert inked(page, "#other-density") > 0.003
    cells = page.value(
        "[...document.querySelectorAll('#contingency td')].map((e) => e.textContent)"
    )
    assert cells == ["", "0", str(len(expected))]
    page.click("#compare-them")
    page.until("document.querySelector('#differences .differs')")
    names = page.value("[...document.querySelectorAll('.differs th')].map((e) => e.textContent)")
    assert {"share0", "share1"} <= set(names)


def test_states_are_named_and_marked_and_it_is_undone(page: Page, served: Served) -> None:
    name = "document.querySelectorAll('.edit input')[0]"
    page.value(f"{name}.value = 'open'; {name}.dispatchEvent(new Event('change'))")
    page.until("document.querySelector('.card strong').textContent.startsWith('open')")
    page.value("[...document.querySelectorAll('.edit button')][1].click()")
    page.until("document.querySelectorAll('#cards .junk').length === 1")
    page.until("document.querySelector('#legend').textContent.includes('(junk)')")
    wanted = {"names": {"0": "open"}, "merged": {}, "junk": [1]}
    assert served.get("runs")[0]["marks"] == wanted
    page.click("#undo")
    page.click("#undo")
    page.until("document.querySelector('.card strong').textContent.startsWith('State 0')")
    page.settle()
    assert served.get("runs")[0]["marks"] == {"names": {}, "merged": {}, "junk": []}


def test_the_address_keeps_the_view(page: Page) -> None:
    count = text(page, "#count")
    assert count != "0"
    page.value("document.querySelector('#colour').value = 'contrast'")
    page.value("document.querySelector('#colour').dispatchEvent(new Event('change'))")
    page.until("decodeURIComponent(location.hash).includes('contrast')")
    page.call("Page.reload")
    page.until(f"document.querySelector('#count')?.textContent === '{count}'")
    page.until("document.querySelector('#colour').value === 'contrast'")
    page.until("document.querySelector('.ramp')")
    assert page.value("document.querySelector('[data-panel=compare]').ariaSelected") == "true"


def test_a_run_in_training_is_opened(page: Page) -> None:
    runs = "document.querySelector('#run')"
    page.value(f"{runs}.selectedIndex = 2; {runs}.dispatchEvent(new Event('change'))")
    page.until("document.querySelectorAll('#drafts canvas').length === 2")
    assert page.value("document.querySelector('#map').hidden")
    assert inked(page, "#curve .chart") > 0.002
    page.click("#again")
    page.until("!document.querySelector('#again').disabled")
    page.until("document.querySelectorAll('#drafts canvas').length === 2")
    page.value(f"{runs}.selectedIndex = 0; {runs}.dispatchEvent(new Event('change'))")
    page.until("document.querySelector('#training').hidden")
    page.until("document.querySelector('#caption-0').textContent.startsWith('State 0')")


def test_a_path_is_played_at_one_contour(page: Page, served: Served) -> None:
    runs = "document.querySelector('#run')"
    page.value(f"{runs}.selectedIndex = 3; {runs}.dispatchEvent(new Event('change'))")
    page.until("document.querySelector('#caption-0').textContent.startsWith('Cluster 0')")
    show_panel(page, "path")
    page.click("#choose-ends")
    for place, said in ((0.2, "where it ends"), (0.8, "From ")):
        box = page.place("#density")
        page.drag([(box["x"] + place * box["width"], box["y"] + 0.5 * box["height"])])
        page.until(f"document.querySelector('#path-note').textContent.includes({said!r})")
    page.until("document.querySelector('#caption-0').textContent.startsWith('Place 1 of the path')")
    first = inked(page, "#surface")
    assert first > 0.02
    assert text(page, "#enclosed") == "one density along the whole path"
    page.click("#play")
    page.until("document.querySelector('#caption-0').textContent.startsWith('Place 4 of the path')")
    page.click("#play")
    page.until("document.querySelector('#play').textContent === 'Play'")
    page.click("#write-path")
    page.until("document.querySelector('#path-note').textContent.startsWith('Wrote 16 volumes')")
    (folder,) = served.exports.glob("path-*")
    assert len(list(folder.glob("*.mrc"))) == 16
    page.value(f"{runs}.selectedIndex = 0; {runs}.dispatchEvent(new Event('change'))")
    page.until("document.querySelector('#caption-0').textContent.startsWith('State 0')")


def test_by_keyboard_alone(page: Page) -> None:
    page.value("document.querySelector('#density').focus()")
    before = text(page, "#caption-0")
    for _ in range(9):
        page.press("ArrowLeft")
    page.press("Enter")
    page.until(f"document.querySelector('#caption-0').textContent !== {before!r}")
    page.press("+")
    page.until("!document.querySelector('#map-status').textContent.startsWith('120 ')")
    page.press("0")
    page.until("document.querySelector('#map-status').textContent.startsWith('120 ')")
    page.value("document.querySelector('#how').value = 'replace'")
    page.value("document.querySelector('#column').value = 'contrast'")
    page.value("document.querySelector('#column').dispatchEvent(new Event('change'))")
    page.value("document.querySelector('#high').focus()")
    page.press("Enter")
    page.until("document.querySelector('#count').textContent === '120'")


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("size", [WIDE, NARROW])
def test_fits_its_window(page: Page, size: tuple[int, int], theme: str, tmp_path: Path) -> None:
    page.theme(theme)
    page.size(*size, phone=size == NARROW)
    page.settle()
    assert page.value("document.documentElement.scrollWidth") <= size[0]
    paper = page.value("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, paper[4:-1].split(","))) > 384) == (theme == "light")
    assert inked(page, "#density") > 0.003
    assert inked(page, "#surface") > 0.02
