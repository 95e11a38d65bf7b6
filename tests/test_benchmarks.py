import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks.peers.cryodrgn import epoch_of, speed
from benchmarks.peers.measure import MILESTONES, Milestone, Usage, read_milestones, run_program
from benchmarks.peers.records import Point
from benchmarks.peers.relion import iteration_of
from benchmarks.peers.score import settled

WORK = """
import sys, time
sum(range(3_000_000))
for name in ("a.1.txt", "a.2.txt"):
    open(sys.argv[1] + "/" + name, "w").close()
    time.sleep(0.8)
open(sys.argv[1] + "/a.3.txt", "w").close()
"""
FILES = ["a.1.txt", "a.2.txt", "a.3.txt"]


def test_a_program_is_measured_and_its_files_noted(tmp_path: Path):
    command = [sys.executable, "-c", WORK, tmp_path]
    usage = run_program(command, tmp_path / "log", watch=(tmp_path, "a.*.txt"))
    assert usage.wall_seconds > 1.6
    assert 0 < usage.cpu_seconds < usage.wall_seconds
    assert usage.peak_memory_mb > 1
    assert [mark.file for mark in usage.milestones] == FILES
    first, second, third = usage.milestones
    assert first.wall_seconds < second.wall_seconds < third.wall_seconds
    assert [m.file for m in read_milestones(tmp_path / MILESTONES)] == FILES


def test_children_count(tmp_path: Path):
    burn = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'sum(range(10**7))'])"
    alone = run_program([sys.executable, "-c", "import subprocess"], tmp_path / "alone")
    both = run_program([sys.executable, "-c", burn], tmp_path / "both")
    assert both.cpu_seconds > alone.cpu_seconds + 0.02


def test_a_failing_program_names_its_log(tmp_path: Path):
    with pytest.raises(RuntimeError, match=r"log: .* code 3"):
        run_program([sys.executable, "-c", "raise SystemExit(3)"], tmp_path / "log")


def test_usage_survives_its_file(tmp_path: Path):
    usage = Usage(("a", "b"), 1.0, 2.0, 3.0, (Milestone("f", 1.0, 2.0, 3.0),))
    usage.save(tmp_path / "usage.json")
    assert Usage.load(tmp_path / "usage.json") == usage


def test_settled_ignores_the_wait_at_chance_and_finds_the_plateau():
    rising = [0.0] * 7 + [0.05, 0.2, 0.4, 0.6, 0.7, 0.8]
    curve = [Point(n, float(n), a) for n, a in enumerate([*rising, *([0.805] * 7)], 1)]
    assert settled(curve).step == len(rising) + 5
    assert settled(curve[:10]) == curve[9]


def test_speed_leaves_out_the_start():
    marks = tuple(Milestone(f"z.{n}.pkl", 0.0, 50.0 + 10 * n, 1.0) for n in (1, 2, 3))
    assert speed(marks, 100) == pytest.approx(10)
    assert speed(marks[:1], 100) is None


def test_steps_are_read_from_names():
    assert epoch_of("z.12.pkl") == 12
    assert epoch_of("z.pkl") is None
    assert iteration_of("run_it025_data.star") == 25


MODULES = [f"benchmarks.{path.stem}" for path in Path("benchmarks").glob("*.py")]


@pytest.mark.parametrize("module", MODULES)
def test_every_benchmark_can_be_imported(module: str) -> None:
    importlib.import_module(module)


def test_the_device_script_runs(tmp_path: Path) -> None:
    script = ["benchmarks/gpu.py", "-o", str(tmp_path)]
    dry = subprocess.run([sys.executable, *script, "--dry-run"], capture_output=True, check=False)
    assert dry.returncode == 0, dry.stderr
    record = json.loads((tmp_path / "gpu.json").read_text())
    assert all(row["apart"] == 0 for row in record["equal"])
    assert len(record["timed"]) == 4
    if not torch.cuda.is_available():
        real = subprocess.run(
            [sys.executable, *script], capture_output=True, text=True, check=False
        )
        assert real.returncode == 2
        assert real.stderr.startswith("no CUDA device")
