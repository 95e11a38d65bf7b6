"""Collapse and unfinished trainings, from latents and logs whose answer is known."""

from pathlib import Path

import numpy as np
import pytest
import torch

from builders import small_config, small_stack
from cryolatent.audits.activity import Activity, late_gain, misfits, moved
from cryolatent.runs.run import Run
from cryolatent.sessions.subject import RunSubject
from cryolatent.sessions.training import trained


def entries(loss: np.ndarray) -> list[dict]:
    return [{"epoch": n, "reconstruction": v - 2, "kl": 2.0} for n, v in enumerate(loss)]


def test_a_training_that_falls_to_its_end_is_known_from_one_that_has_settled() -> None:
    rng, epochs = np.random.default_rng(0), np.arange(30)
    noise = 0.01 * rng.normal(size=30)
    falling = late_gain(entries(10 - epochs / 3 + noise), "kl")
    assert falling is not None
    # a line: the last ten of thirty epochs, over all but half of the last ten
    assert falling.value == pytest.approx(10 / 24.5, rel=0.02)
    assert falling.low > 0.3
    settled = late_gain(entries(10 * np.exp(-epochs / 2) + noise), "kl")
    assert settled is not None and abs(settled.value) < 0.01
    assert settled.low < 0.005 < settled.high + 0.01
    # a slope within its noise says nothing
    noisy = late_gain(entries(10 - epochs / 100 + rng.normal(size=30)), "kl")
    assert noisy is None or noisy.low < 0.05


def test_what_compares_nothing_is_left_out() -> None:
    assert late_gain(entries(np.arange(8.0, 0, -1)), "kl") is None
    assert late_gain(entries(np.arange(20.0)), "kl") is None
    search = [entry | {"shells": 4} for entry in entries(np.arange(20.0, 0, -1))]
    assert late_gain(search, "kl") is None


def test_displacements_of_rows_by_hand() -> None:
    end = np.array([[3.0, 0.0], [-3.0, 0.0], [0.0, 4.0], [0.0, -4.0]])
    assert moved(end, end) == 0
    # rows are (9 + 16) / 2 square units about their mean
    assert moved(end + np.array([0.0, 1.0]), end) == pytest.approx(1 / 12.5**0.5)


def test_images_that_do_not_fit_are_counted() -> None:
    rng = np.random.default_rng(1)
    fit = torch.from_numpy(100 + rng.gamma(400, size=2000))
    assert misfits(fit, 400) == 0
    fit[:30] += 300
    assert misfits(fit, 400) == pytest.approx(30 / 2000)


@pytest.mark.parametrize(("rate", "verdict"), [(0.0, "fail"), (0.3, "pass")])
def test_a_table_that_was_not_trained_fails(tmp_path: Path, rate: float, verdict: str) -> None:
    stack = small_stack(tmp_path / "data")
    options = {"table_start": "random", "table_learning_rate": rate, "epochs": 2}
    path = tmp_path / "run"
    run: Run = trained(None, path, small_config("table", **options), stack)
    found = Activity(run=run).ask(RunSubject(run, stack))
    assert found.verdict == verdict
    assert ("where they started" in found.note) == (verdict == "fail")
    assert found.numbers["table_moved"].value == pytest.approx(0, abs=1e-6) or rate
