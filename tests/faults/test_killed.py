"""kill -9 at random moments: given again, or continued, a command ends as if nothing had been.

CRYOLATENT_KILLS=13 makes fifty-two of the twelve.
"""

import json
import os
import random
import signal
from pathlib import Path

import pytest

from builders import small_stack
from processes import start

KILLS = int(os.environ.get("CRYOLATENT_KILLS", "3"))
TABLE = "--posterior table --z-dim 2 --decoder-width 16 --decoder-layers 1 --batch-size 20"
TRAININGS = {
    "gradient": [*TABLE.split(), "--epochs", "10", "--checkpoint-minutes", "1e-9"],
    "em": ["--z-dim", "1"],
}


@pytest.fixture(scope="module")
def star(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_stack(tmp_path_factory.mktemp("data"), particles=40).source


def finish(tokens: list[str], output: Path) -> float:
    """Let a command end; its processor seconds."""
    command = start(tokens, output)
    assert command.code() == 0, command.said
    return command.cpu_seconds


def killed(first: list[str], again: list[str], made: Path, log: Path, seconds: float) -> int:
    """Begin a command and kill it, again and again, and let it end at last; how often it died."""
    moments, kills = random.Random(str(made)), 0
    for attempt in range(KILLS):
        tokens = again if made.exists() else first
        command = start(tokens, log.with_name(f"{attempt}.log"))
        command.wait_for_work(moments.uniform(0, 0.9 * seconds))
        command.process.kill()
        kills += command.code() == -signal.SIGKILL
    finish(again if made.exists() else first, log)
    return kills


def content(folder: Path) -> dict[str, object]:
    """What files hold, but for the time it took and when a process was there."""
    found: dict[str, object] = {}
    for file in sorted(folder.rglob("*")):
        name = str(file.relative_to(folder))
        # a run that is continued spells its options out
        if file.is_dir() or name in (".lock", "config.toml"):
            continue
        found[name] = file.read_bytes()
        if file.suffix in (".json", ".jsonl"):
            found[name] = [timeless(json.loads(line)) for line in documents(file)]
    return found


def documents(file: Path) -> list[str]:
    text = file.read_text()
    return text.splitlines() if file.suffix == ".jsonl" else [text]


def timeless(entry: object) -> object:
    if isinstance(entry, list):
        return [timeless(item) for item in entry]
    if isinstance(entry, dict):
        gone = ("seconds", "cpu_seconds", "home", "sha256")
        return {key: timeless(value) for key, value in entry.items() if key not in gone}
    return entry


@pytest.mark.parametrize("kind", TRAININGS)
def test_a_training(star: Path, tmp_path: Path, kind: str) -> None:
    whole, broken = tmp_path / "whole" / "run", tmp_path / "broken" / "run"
    options = ["--threads", "1", *TRAININGS[kind]]
    seconds = finish(["train", str(star), "-o", str(whole), *options], tmp_path / "whole.log")
    first = ["train", str(star), "-o", str(broken), *options]
    again = ["train", "--resume", "-o", str(broken)]
    kills = killed(first, again, broken / "manifest.json", tmp_path / "broken.log", seconds)
    assert content(broken) == content(whole)
    assert kills


def test_prepare(star: Path, tmp_path: Path) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    tokens = ["prepare", str(star), "--box", "12", "-o"]
    seconds = finish([*tokens, str(whole)], tmp_path / "whole.log")
    again = [*tokens, str(broken)]
    kills = killed(again, again, broken, tmp_path / "broken.log", seconds)
    assert content(broken) == content(whole)
    assert kills


def test_analyze(star: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    finish(["train", str(star), "-o", str(run), *TRAININGS["em"]], tmp_path / "train.log")
    tokens = ["analyze", str(run)]
    seconds = finish(tokens, tmp_path / "whole.log")
    whole = content(run)
    (run / "analysis" / "summary.json").unlink()
    kills = killed(tokens, tokens, run, tmp_path / "broken.log", seconds)
    assert content(run) == whole
    assert kills
