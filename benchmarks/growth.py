"""How the cost of exact inference grows with particles, box and states.

python -m benchmarks.growth OUT

Each cell simulates a set in OUT, runs `cryolatent train --posterior categorical` on it as a program
with one thread, and notes CPU seconds and peak memory. Exponents are slopes of log cost against
log size. The result goes to benchmarks/results/growth.json.
"""

import datetime
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from cyclopts import App

from benchmarks.peers.measure import run_program
from benchmarks.peers.records import describe_machine

RESULTS = Path(__file__).parent / "results"
FIELD_ANGSTROM = 288
app = App(help=__doc__)


@dataclass(frozen=True)
class Cell:
    """One set and how it is trained.

    Args:
        particles: Number of particles.
        box: Side of the images, in pixels, of a field of `FIELD_ANGSTROM`.
        states: Number of states fitted.
    """

    particles: int = 5000
    box: int = 64
    states: int = 4


SERIES = {
    "particles": [Cell(particles=n) for n in (2500, 5000, 10000)],
    "box": [Cell(box=b) for b in (32, 48, 64)],
    "states": [Cell(states=k) for k in (2, 4, 8)],
}


@app.default
def main(out: Path) -> None:
    """Measure every series and write the exponents."""
    measured: dict[Cell, dict[str, float]] = {}
    series = {}
    for name, cells in SERIES.items():
        for cell in cells:
            if cell not in measured:
                measured[cell] = measure(cell, out)
        sizes = np.log([getattr(cell, name) for cell in cells])
        exponents = {
            cost: round(
                float(np.polyfit(sizes, np.log([measured[c][cost] for c in cells]), 1)[0]), 2
            )
            for cost in ("cpu_seconds", "peak_memory_mb")
        }
        rows = [{name: getattr(cell, name), **measured[cell]} for cell in cells]
        series[name] = {"exponents": exponents, "measurements": rows}
        print(name, exponents, *rows, sep="\n")
    record = {
        "command": "python -m benchmarks.growth OUT",
        "date": datetime.date.today().isoformat(),
        "machine": describe_machine(),
        "load_average": round(os.getloadavg()[2], 1),
        "series": series,
    }
    (RESULTS / "growth.json").write_text(json.dumps(record, indent=2) + "\n")


def measure(cell: Cell, out: Path) -> dict[str, float]:
    """Simulate and train one cell.

    Args:
        cell: What to measure.
        out: Where sets and runs are written.

    Returns:
        CPU seconds of the whole program, and its peak memory in MB.
    """
    program = Path(sys.executable).with_name("cryolatent")
    data = out / f"data_{cell.particles}_{cell.box}"
    out.mkdir(parents=True, exist_ok=True)
    if not data.exists():
        size = ["--particles", cell.particles, "--box", cell.box, "--snr", 0.1]
        pixel = ["--pixel-size", FIELD_ANGSTROM / cell.box]
        run_program([program, "simulate", "-o", data, *size, *pixel], out / "simulate.log")
    run = out / f"run_{cell.particles}_{cell.box}_{cell.states}"
    options = ["--posterior", "categorical", "--states", cell.states, "--threads", 1]
    usage = run_program(
        [program, "train", data / "particles.star", "-o", run, *options], out / "train.log"
    )
    return {
        "cpu_seconds": round(usage.cpu_seconds, 1),
        "peak_memory_mb": round(usage.peak_memory_mb),
    }


if __name__ == "__main__":
    app()
