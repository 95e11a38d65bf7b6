"""What doctor foretells, beside runs that were measured."""

import json
import re
from pathlib import Path

import pytest

from cryolatent.config.training import TrainConfig
from cryolatent.data.source import Geometry
from cryolatent.sessions.forecast import FACTOR, forecast

RESULTS = Path(__file__).resolve().parents[2] / "benchmarks" / "results"
FREE = 20e9
HONEST = {"mixed, 30,000": 30_000, "mixed, 100,000": 100_000}
"""Sets of another size than 5,000."""


def foretold(box: int, images: int, **options: object):
    shells = int(options.pop("shells", box // 2 - 1))
    config = TrainConfig.of({"posterior": "exact"} | options)
    found = forecast(Geometry(box, shells, 4.0), images, config, FREE)
    assert found is not None
    return found


def exact_rows() -> list[tuple[str, float, float]]:
    """Name, core-seconds foretold, core-seconds measured."""
    rows = []
    for file in sorted((RESULTS / "honesty").glob("*.jsonl")):
        for line in file.read_text().splitlines():
            row = json.loads(line)
            trusted = {"trust": ("all",)} if "--trust all" in row["name"] else {}
            expected = foretold(64, HONEST.get(row["name"], 5000), **trusted)
            rows.append((row["name"], expected.core_seconds, row["cpu_seconds"]))
    growth = json.loads((RESULTS / "growth.json").read_text())["series"]
    for row in growth["particles"]["measurements"] + growth["box"]["measurements"]:
        expected = foretold(row.get("box", 64), row.get("particles", 5000), trust=("all",))
        rows.append((f"growth {row}", expected.core_seconds, row["cpu_seconds"]))
    # docs/benchmarks.md, "Real size"
    rows.append(("real size", foretold(128, 100_000, memory=3).core_seconds, 1465))
    return rows


def test_exact_trainings_take_as_long_as_foretold() -> None:
    rows = exact_rows()
    assert len(rows) > 30
    wrong = {name: m / f for name, f, m in rows if not 1 / FACTOR < m / f < FACTOR}
    assert not wrong


def test_exact_trainings_take_the_memory_foretold() -> None:
    growth = json.loads((RESULTS / "growth.json").read_text())["series"]
    rows = [(foretold(128, 100_000, memory=3).memory_bytes, 8.5e9)]
    for row in growth["particles"]["measurements"] + growth["box"]["measurements"]:
        expected = foretold(row.get("box", 64), row.get("particles", 5000))
        rows.append((expected.memory_bytes, row["peak_memory_mb"] * 1e6))
    assert all(f is not None and 1 / FACTOR < m / f < FACTOR for f, m in rows), rows


def test_networks_take_as_long_as_foretold() -> None:
    for row in json.loads((RESULTS / "coordinate_network.json").read_text()):
        if row["method"] != "cryolatent":
            continue
        cell = re.match(r"3 x 256, box (\d+), (\d+) shells", row["cell"])
        assert cell is not None
        box, shells = map(int, cell.groups())
        one = foretold(box, 1000, posterior="encoder", epochs=1, shells=shells)
        measured = 1000 / row["images_per_core_second"]
        assert 1 / FACTOR < measured / one.core_seconds < FACTOR, row["cell"]


def test_images_that_do_not_fit_go_to_scratch() -> None:
    fits, large = foretold(64, 10_000), foretold(64, 10_000, memory=0)
    assert not fits.scratch_bytes
    assert large.scratch_bytes == pytest.approx(12 * 10_000 * 1.5708 * 31**2)
    assert fits.memory_bytes == pytest.approx(large.memory_bytes + large.scratch_bytes)
