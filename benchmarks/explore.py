"""How quick the explorer is, in a real browser before a real server.

    python -m benchmarks.explore run WORK [--rows 100000]      # on drawn latents
    python -m benchmarks.explore volume RUN                    # a click on an analysed run's map
    python -m benchmarks.explore picture RUN docs/explore.png  # the documentation's picture

First paint is from the request of the page to the drawn map, a lasso from the released button to
the exact count and the newly drawn map.
"""

import argparse
import io
import json
import math
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image

from benchmarks.chromium import Page, browser
from cryolatent.analysis.summary import Cluster, Summary, write_summary
from cryolatent.config.training import TrainConfig
from cryolatent.models import DiagonalNormal
from cryolatent.models.latents import Latents
from cryolatent.runs.manifest import Manifest
from cryolatent.runs.run import Run

RESULTS = Path(__file__).parent / "results" / "explore.jsonl"
PROGRAM = "from cryolatent.cli import main; main()"
STATES, DIMENSIONS, LASSOS = 5, 8, 9
# kept until a released button has changed all of some elements; milliseconds
TIMED = """window.timed = new Promise((done) => {
  let begun, left = IDS.length;
  addEventListener("pointerup", () => { begun = performance.now(); }, true);
  for (const id of IDS) {
    const seen = new MutationObserver(() => {
      seen.disconnect();
      left -= 1;
      if (!left) done(performance.now() - begun);
    });
    seen.observe(document.getElementById(id), { childList: true });
  }
}); 0"""


def drawn_run(path: Path, rows: int, dimensions: int = DIMENSIONS) -> Run:
    """Write an analysed run of latents that are drawn from a mixture.

    Args:
        path: New folder.
        rows: Number of particles.
        dimensions: Of the latents.

    Returns:
        The run, without particles and volumes.
    """
    rng = np.random.default_rng(0)
    labels = np.sort(rng.integers(0, STATES, rows))
    labels = np.argsort(-np.bincount(labels), kind="stable").argsort()[labels]
    centres = 3 * rng.normal(size=(STATES, dimensions))
    z = centres[labels] + rng.normal(size=(rows, dimensions))
    ids = [f"{row:07d}@particles.mrcs" for row in range(rows)]
    path.mkdir(parents=True)
    manifest = Manifest(
        cryolatent_version="0",
        torch_version="0",
        seed=0,
        threads=1,
        input=path / "particles.star",
        input_sha256="0" * 64,
        particles=rows,
        box=64,
        shells=30,
        pixel_size_angstrom=4.5,
        status="finished",
    )
    config = TrainConfig.of(posterior="encoder", z_dim=dimensions)
    (path / "config.toml").write_text(config.to_toml())
    (path / "manifest.json").write_text(manifest.model_dump_json())
    run = Run(path, config, manifest)
    mean = torch.from_numpy(z).float()
    zero = torch.zeros(rows)
    run.write_latents(Latents(np.array(ids), DiagonalNormal(mean, mean * 0), zero, zero))
    plane = {f"pca_{axis}": z[:, axis] for axis in range(min(2, dimensions))}
    run.analysis.mkdir()
    pq.write_table(
        pa.table({"id": ids, "cluster": labels} | plane), run.analysis / "embedding.parquet"
    )
    counts = np.bincount(labels).tolist()
    clusters = tuple(Cluster(number=k, size=n, medoid=ids[0]) for k, n in enumerate(counts))
    summary = Summary(
        run=run.name,
        posterior="encoder",
        particles=rows,
        z_dim=dimensions,
        pca_explained=(0.4, 0.2),
        clusters=clusters,
        clusters_asked=STATES,
        seed=0,
    )
    write_summary(run, summary)
    return run


@contextmanager
def served(run: Path, exports: Path) -> Iterator[str]:
    """Serve a run.

    Args:
        run: The run directory.
        exports: Folder of the exports.

    Yields:
        The address.
    """
    words = ["explore", str(run), "-o", str(exports)]
    command = [sys.executable, "-c", PROGRAM, *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip()
        finally:
            process.send_signal(signal.SIGINT)
            process.wait()


@contextmanager
def opened(run: Path) -> Iterator[tuple[Page, float]]:
    """Serve a run and open its page.

    Args:
        run: The run directory.

    Yields:
        The page, and milliseconds until its map was drawn.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with served(run, folder / "exports") as url, browser(folder / "profile") as page:
            page.size(1400, 1000)
            page.call("Page.navigate", url=url)
            page.until("document.querySelector('#map-status')?.textContent")
            yield page, page.value("performance.now()")


def lasso(page: Page, turn: float) -> float:
    """Drag a loop over the map.

    Args:
        page: The page.
        turn: Where its middle is, as an angle about the map's.

    Returns:
        Milliseconds from the release to the drawn map.
    """
    box = page.place("#density")
    middle = [
        box["x"] + box["width"] * (0.5 + 0.15 * math.cos(turn)),
        box["y"] + box["height"] * (0.5 + 0.15 * math.sin(turn)),
    ]
    loop = [
        (middle[0] + 150 * math.cos(angle), middle[1] + 150 * math.sin(angle))
        for angle in np.linspace(0, 6, 100)
    ]
    return timed(page, loop, ["of", "map-status"])


def timed(page: Page, points: list[tuple[float, float]], changed: list[str]) -> float:
    """Drag, and wait for what follows.

    Args:
        page: The page.
        points: Where to.
        changed: Elements that change.

    Returns:
        Milliseconds from the release until all of them have changed.
    """
    page.value(TIMED.replace("IDS", json.dumps(changed)))
    page.drag(points)
    return page.promise("window.timed")


def measure(work: Path, rows: int) -> dict:
    """Measure the page on a run of so many particles.

    Args:
        work: Folder for the run.
        rows: Number of particles.

    Returns:
        Milliseconds.
    """
    path = work / f"drawn{rows}"
    if not path.exists():
        drawn_run(path, rows)
    with opened(path) as (page, first):
        times = [lasso(page, turn) for turn in np.linspace(0, 6, LASSOS)]
    return {
        "rows": rows,
        "first_paint_ms": round(first),
        "lasso_ms": round(float(np.median(times))),
        "slowest_lasso_ms": round(max(times)),
    }


def click(run: Path) -> dict:
    """Measure a click on the map, until the surface there is drawn.

    Args:
        run: An analysed run with a decoder.

    Returns:
        Milliseconds.
    """
    times = []
    with opened(run) as (page, _):
        page.until("document.querySelector('#caption-0').textContent")
        for place in np.linspace(0.3, 0.7, LASSOS):
            box = page.place("#density")
            at = (box["x"] + place * box["width"], box["y"] + box["height"] / 2)
            times.append(timed(page, [at], ["caption-0"]))
    box = Run.open(run).manifest.box
    return {"box": box, "click_ms": round(float(np.median(times))), "slowest_ms": round(max(times))}


def picture(run: Path, output: Path) -> None:
    """Draw a lasso and compare two volumes, and keep the page as a PNG.

    Args:
        run: An analysed run.
        output: The picture.
    """
    with opened(run) as (page, _):
        page.until("document.querySelector('.card canvas:not([hidden])')")
        lasso(page, -0.4)
        page.click("#pin")
        page.click("#mean")
        page.until("document.querySelector('#caption-0').textContent.startsWith('Selection')")
        page.click("#store")
        page.until("document.querySelector('#entries li')")
        page.size(1400, page.value("document.documentElement.scrollHeight"))
        page.value("scrollTo(0, 0)")
        page.value("document.activeElement.blur()")
        page.settle()
        # flat colours and two surfaces need no more than a palette
        with Image.open(io.BytesIO(page.picture())) as drawn:
            drawn.convert("RGB").quantize(256).save(output, optimize=True)


def main() -> None:
    """Measure, and keep a line of each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["run", "volume", "picture"])
    parser.add_argument("place", type=Path)
    parser.add_argument("output", type=Path, nargs="?")
    parser.add_argument("--rows", type=int, default=100_000)
    given = parser.parse_args()
    if given.what == "picture":
        picture(given.place, given.output)
        return
    found = measure(given.place, given.rows) if given.what == "run" else click(given.place)
    line = json.dumps({"date": date.today().isoformat(), "load": os.getloadavg()[0]} | found)
    print(line)
    with RESULTS.open("a") as stream:
        stream.write(line + "\n")


if __name__ == "__main__":
    main()
