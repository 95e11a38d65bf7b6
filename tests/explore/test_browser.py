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
