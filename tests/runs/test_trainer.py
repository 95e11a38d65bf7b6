"""A run that another process trains is said to be in training, and by whom."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from builders import small_config, small_stack
from cryolatent.cli.main import run as command
from cryolatent.errors import InputError
from cryolatent.runs.run import Run
from cryolatent.sessions.training import begin
from cryolatent.train import Watch

HOLDER = """
import sys
from cryolatent.runs.run import Run
with Run.open(sys.argv[1]).locked():
    print("locked", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def made(tmp_path: Path) -> Run:
    return begin(tmp_path / "run", small_config("table"), small_stack(tmp_path / "data"), Watch())


def test_a_run_in_training_names_its_process(made: Run, capsys: pytest.CaptureFixture) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(made.path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert holder.stdin is not None
    assert holder.stdout is not None
    with holder:
        assert holder.stdout.readline() == b"locked\n"
        out = str(made.path.parent / "out")
        for line in (["analyze"], ["export", "-o", f"{out}.star"], ["volumes", "-o", out]):
            assert command([line[0], str(made.path), *line[1:]]) == 2
            error = capsys.readouterr().err
            assert f"a run in training (process {holder.pid} on " in error
            assert ", since 20" in error
            assert "Wait until it has finished" in error
            assert "--resume" not in error
        assert command(["train", "-o", str(made.path), "--resume"]) == 2
        assert f"found process {holder.pid} on " in capsys.readouterr().err
        holder.stdin.close()
    with pytest.raises(InputError, match=r"was interrupted.*--resume"):
        Run.open(made.path).check_finished()
    with made.locked():
        assert f"process {os.getpid()} on" in (made.trainer or "")
    assert made.trainer is None


def test_a_run_that_failed_is_not_to_be_continued(made: Run) -> None:
    made.set_status("failed")
    with pytest.raises(InputError, match=r"a run that is failed.*Begin a new one"):
        Run.open(made.path).check_finished()
