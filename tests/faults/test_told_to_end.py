"""Interrupts and requests to end: the step is finished and saved, and what goes on is said."""

import shlex
import signal
from pathlib import Path

import numpy as np
import pytest

from builders import small_stack
from cryolatent.cli.main import run
from cryolatent.runs.run import Run
from processes import Command, start

TABLE = "--posterior table --z-dim 2 --decoder-width 16 --decoder-layers 1 --batch-size 20"
ENDLESS = [*TABLE.split(), "--epochs", "9999", "--threads", "1"]
NOISE = ("resource_tracker", "Traceback", "Exception ignored", "leaked")
SIGNALS = [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]


@pytest.fixture(scope="module")
def star(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(small_stack(tmp_path_factory.mktemp("data")).source)


def steps(made: Path) -> int:
    """Batches of an epoch, or steps of a plan, that are saved."""
    return Run.open(made).checkpoint().position["batch"]


def ended(command: Command, code: int) -> str:
    assert command.code() == code, command.said
    assert not [word for word in NOISE if word in command.said], command.said
    return command.said.splitlines()[-1]


@pytest.mark.parametrize(("sent", "code", "word"), SIGNALS)
def test_a_step_is_finished_and_saved(
    star: str, tmp_path: Path, sent: signal.Signals, code: int, word: str
) -> None:
    made = tmp_path / "a run"
    # no checkpoint comes by itself within an epoch of many steps
    command = start(["train", star, "-o", str(made), *ENDLESS], tmp_path / "log")
    command.wait_until(lambda: "epoch   2" in command.said)
    command.send(sent)
    again = shlex.join(["cryolatent", "train", "--resume", "-o", str(made)])
    assert ended(command, code) == f"cryolatent: {word}. To go on: {again}"
    stopped = Run.open(made)
    assert stopped.manifest.status == "interrupted"
    assert stopped.checkpoint().position["epoch"] == len(stopped.entries())
    epochs = str(len(stopped.entries()) + 1)
    assert run([*shlex.split(again)[1:], "--epochs", epochs]) == 0


@pytest.fixture
def searching(star: str, tmp_path: Path) -> Command:
    """A training by expectation maximisation in the long first step of its plan."""
    tokens = ["train", star, "-o", str(tmp_path / "run"), "--z-dim", "1", "--starts", "25"]
    command = start(tokens, tmp_path / "log")
    command.wait_until(lambda: "pass   1 at" in command.said)
    assert steps(tmp_path / "run") == 0
    return command


def test_expectation_maximisation_finishes_its_step(searching: Command, tmp_path: Path) -> None:
    searching.send(signal.SIGTERM)
    assert "--resume" in ended(searching, 143)
    assert "finishing the step and saving it" in searching.said
    assert steps(tmp_path / "run") == 1


def test_a_second_signal_ends_at_once(searching: Command, tmp_path: Path) -> None:
    searching.send(signal.SIGINT)
    searching.wait_until(lambda: "a second signal" in searching.said)
    searching.send(signal.SIGINT)
    assert "--resume" in ended(searching, 130)
    assert steps(tmp_path / "run") == 0


def test_workers_end_with_their_command(tmp_path: Path) -> None:
    bars = np.random.default_rng(0).integers(0, 255, (60, 8, 8), dtype=np.uint8)
    digits = {"x_train": bars, "y_train": np.arange(60) % 4}
    np.savez(tmp_path / "digits.npz", **digits)
    tokens = ["mnist", "run", "fig11", "--data", str(tmp_path / "digits.npz"), "--workers", "2"]
    tokens += ["-o", str(tmp_path / "out")]
    command = start(tokens, tmp_path / "log")
    command.wait_until(lambda: any(tmp_path.glob("out/**/log.jsonl")))
    command.send(signal.SIGINT)
    assert ended(command, 130).endswith(f"To go on: {shlex.join(['cryolatent', *tokens])}")
