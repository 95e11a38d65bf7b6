"""Whether a table that was trained is still where it started."""

from pathlib import Path

import numpy as np
import pytest

from builders import small_config, small_stack
from cryolatent.analysis import analyze
from cryolatent.analysis.movement import movement
from cryolatent.analysis.summary import read_summary
from cryolatent.report import render
from cryolatent.runs.run import Run
from cryolatent.sessions.training import begin, train
from cryolatent.train import Watch


def test_movement_worked_by_hand() -> None:
    first = np.array([[1.0, -1.0], [1.0, -1.0]])
    found = movement(first, first + np.array([[0.5, -0.5], [0.0, 1.0]]))
    assert found.displacement == pytest.approx(0.5)
    assert found.displacement_of_spread == pytest.approx(0.5)
    assert found.correlation == pytest.approx(np.corrcoef([1, -1, 1, -1], [1.5, -1.5, 1, 0])[0, 1])
    assert not found.stayed
    assert found.remark is None


@pytest.mark.parametrize(
    ("spread", "step", "stayed"),
    [
        (1.5, 0.01, True),
        (1.5, 0.05, True),
        (1.5, 1.0, False),
        # far, though in step with the start; and near, but another order
        (20.0, 1.0, False),
        (0.02, 0.05, False),
        # without a start's spread the displacement decides
        (0.0, 0.01, True),
        (0.0, 0.5, False),
    ],
)
def test_table_stayed_if_it_is_near_and_in_step(spread: float, step: float, stayed: bool) -> None:
    rng = np.random.default_rng(0)
    first = spread * rng.normal(size=(500, 4))
    found = movement(first, first + step * rng.normal(size=(500, 4)))
    assert found.stayed == stayed
    assert (found.correlation is None) == (spread == 0)
    assert (found.remark is not None) == stayed
    assert stayed == ("WARNING: the table did not move" in (found.remark or ""))


def test_frozen_table_gets_a_note_and_no_warning() -> None:
    found = movement(np.ones((3, 2)), np.ones((3, 2)), frozen=True)
    assert not found.stayed
    assert found.remark == "The table was kept at its start (table learning rate 0)."


@pytest.mark.parametrize(
    ("rate", "says"), [(1e-4, "WARNING: the table did not"), (0.0, "was kept at"), (0.5, None)]
)
def test_analysis_and_report_say_so(tmp_path: Path, rate: float, says: str | None) -> None:
    stack = small_stack(tmp_path / "data", particles=20)
    run = begin(tmp_path / "run", small_config("table", table_learning_rate=rate), stack, Watch())
    train(run, stack)
    run = Run.open(run.path)
    summary = analyze(run, clusters=2)
    assert read_summary(run) == summary
    assert summary.table_movement is not None
    remark = summary.table_movement.remark
    page = render([run], tmp_path / "report.html").read_text()
    if says is None:
        assert remark is None
        assert "WARNING: the table" not in page
    else:
        assert says in (remark or "")
        assert says in page
