"""The page in a browser."""

import html
import json
import re
import subprocess
from pathlib import Path

import pytest

from benchmarks.chromium import CHROMIUM, QUIET

pytestmark = pytest.mark.chromium

FRAME = """<!DOCTYPE html><body style="margin:0">
<iframe id="frame" style="border:0;width:{width}px;height:900px" srcdoc="{page}"></iframe>
<script>
addEventListener("load", () => {{
  const page = document.getElementById("frame").contentDocument;
  const inside = page.querySelector("main").getBoundingClientRect();
  const small = [...page.querySelectorAll("svg, img")].filter(
    (figure) => figure.getBoundingClientRect().width < 20).length;
  const measured = {{
    width: page.documentElement.clientWidth, needed: page.documentElement.scrollWidth,
    main: inside.width, height: inside.height, small,
  }};
  document.body.insertAdjacentHTML("beforeend",
    "<pre>" + JSON.stringify(measured) + "</pre>");
}});
</script></body>"""


def browse(path: Path, profile: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [
        str(CHROMIUM),
        *QUIET,
        "--disable-gpu",
        f"--user-data-dir={profile}",
        "--enable-logging=stderr",
    ]
    return subprocess.run(
        [*command, *options, "--dump-dom", path.as_uri()],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )


def test_loads_without_complaint(page: Path, tmp_path: Path) -> None:
    result = browse(page, tmp_path)
    assert result.stdout.count("<section") == 10
    assert "CONSOLE" not in result.stderr


@pytest.mark.parametrize("width", [1280, 420, 340])
def test_fits_its_window(page: Path, tmp_path: Path, width: int) -> None:
    frame = tmp_path / "frame.html"
    frame.write_text(FRAME.format(width=width, page=html.escape(page.read_text())))
    result = browse(frame, tmp_path / "profile", "--window-size=1400,1000")
    found = re.search(r"<pre>(\{.*?\})</pre>", result.stdout)
    assert found is not None
    measured = json.loads(found.group(1))
    assert measured["needed"] <= measured["width"] <= width
    assert measured["main"] > 0.8 * min(width, 1180)
    assert measured["height"] > 3000
    assert measured["small"] == 0
    assert "CONSOLE" not in result.stderr
