"""How latents and the oracle follow a continuous motion, on cases with a known answer."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from builders import small_config, small_stack
from cryolatent.analysis import (
    analyze,
    explained_variance,
    oracle,
    predicted_coordinate,
    rank_correlation,
    read_summary,
)
from cryolatent.report import render
from cryolatent.runs.run import Run
from cryolatent.sessions.training import begin, train
from cryolatent.simulate.truth import Truth
from cryolatent.train import Watch

N = 600
MOTION = {"motion": 60.0, "only": ("mature",), "junk": 0.0}


@pytest.fixture
def angle() -> np.ndarray:
    return np.random.default_rng(0).uniform(-15, 15, N)


def test_a_bent_line_of_latents_predicts_its_coordinate(angle):
    latents = np.stack([np.cos(angle / 10), np.sin(angle / 10), 0.01 * angle**2], axis=1)
    predicted = predicted_coordinate(latents, angle)
    # twenty neighbours of 480 span 5 % of the range: the ends are drawn in, the middle is exact
    assert explained_variance(angle, predicted).value > 0.995
    assert rank_correlation(angle, predicted).value > 0.995


def test_unrelated_latents_predict_nothing(angle):
    latents = np.random.default_rng(1).normal(size=(N, 3))
    predicted = predicted_coordinate(latents, angle)
    # a mean of 20 unrelated values adds a twentieth of the variance
    assert explained_variance(angle, predicted).value == pytest.approx(-0.05, abs=0.05)
    assert rank_correlation(angle, predicted).value < 4 / N**0.5


def test_no_particle_predicts_itself():
    """All latents are equal and one neighbour decides, who is never the particle itself."""
    coordinate = np.tile([0.0, 1.0], 5)
    predicted = predicted_coordinate(np.zeros((10, 1)), coordinate, seed=3)
    assert set(predicted.tolist()) <= {0.0, 1.0}
    assert not np.array_equal(predicted, coordinate)


def test_explained_variance_worked_by_hand():
    truth, guess = np.array([0.0, 1.0, 2.0]), np.array([0.0, 1.0, 1.0])
    assert explained_variance(truth, guess).value == pytest.approx(0.5)
    assert explained_variance(truth, truth).value == 1
    assert explained_variance(truth, np.full(3, 1.0)).value == 0


def test_rank_correlation_worked_by_hand():
    truth = np.array([1.0, 2.0, 3.0, 4.0])
    assert rank_correlation(truth, truth**3).value == pytest.approx(1)
    assert rank_correlation(truth, -truth).value == pytest.approx(1)
    # 1 - 6 (1 + 1) / (4 * 15)
    assert rank_correlation(truth, np.array([2.0, 1.0, 3.0, 4.0])).value == pytest.approx(0.8)
    assert rank_correlation(truth, np.ones(4)).value == 0


def test_oracle_reads_angles_without_noise(tmp_path: Path) -> None:
    stack = small_stack(tmp_path / "data", snr=50.0, **MOTION)
    truth = Truth.load(tmp_path / "data" / "truth")
    found = oracle(stack, truth, np.arange(len(stack))).angle_degrees
    assert truth.motion is not None
    assert found is not None
    assert explained_variance(truth.motion.angle_degrees, found).value > 0.995


def test_oracle_in_noise_guesses_the_middle(tmp_path: Path) -> None:
    stack = small_stack(tmp_path / "data", snr=1e-6, **MOTION)
    truth = Truth.load(tmp_path / "data" / "truth")
    found = oracle(stack, truth, np.arange(len(stack))).angle_degrees
    assert found is not None
    assert np.abs(found).max() < 1


def test_oracle_finds_states_that_move_and_states_that_do_not(tmp_path: Path) -> None:
    stack = small_stack(tmp_path / "data", snr=20.0, motion=60.0)
    truth = Truth.load(tmp_path / "data" / "truth")
    found = oracle(stack, truth, np.arange(len(stack)))
    assert (found.state == truth.state).all()
    assert truth.motion is not None
    assert found.angle_degrees is not None
    error = found.angle_degrees - truth.motion.angle_degrees
    assert np.abs(error[truth.moves]).max() < 3
    assert np.abs(error[~truth.moves]).max() > 10


def test_oracle_in_noise_prefers_no_state(tmp_path: Path) -> None:
    """A state that moves has many angles to fit with, which must not count in its favour."""
    stack = small_stack(tmp_path / "data", snr=1e-6, motion=60.0)
    truth = Truth.load(tmp_path / "data" / "truth")
    found = oracle(stack, truth, np.arange(len(stack))).state
    assert truth.motion is not None
    assert 0.1 < np.isin(found, list(truth.motion.parts)).mean() < 0.9


def test_oracles_angles_are_as_uncertain_as_it_says(tmp_path: Path) -> None:
    """The mean squared error of a posterior mean is the variance that it does not explain."""
    stack = small_stack(tmp_path / "data", particles=300, snr=0.3, **MOTION)
    truth = Truth.load(tmp_path / "data" / "truth")
    found = oracle(stack, truth, np.arange(len(stack))).angle_degrees
    assert truth.motion is not None
    assert found is not None
    angle = truth.motion.angle_degrees
    error = np.mean((angle - found) ** 2)
    assert 0.1 < error / angle.var() < 0.9
    # E[(θ - m)²] = var θ - var m for a posterior mean m
    assert error == pytest.approx(60**2 / 12 - np.mean(found**2), rel=0.25)


@pytest.fixture(scope="module")
def analysed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Truth]:
    folder = tmp_path_factory.mktemp("moving")
    stack = small_stack(folder / "data", **MOTION)
    run = begin(folder / "run", small_config("table"), stack, Watch())
    train(run, stack)
    run = Run.open(run.path)
    analyze(run, clusters=2, truth=folder / "data" / "truth")
    return run, Truth.load(folder / "data" / "truth")


def test_analysis_compares_with_the_motion(analysed: tuple[Run, Truth]) -> None:
    run, truth = analysed
    found = read_summary(run).truth
    assert found is not None
    assert found.motion is not None
    assert (found.motion.particles, found.motion.range_degrees) == (40, 60.0)
    assert found.motion.oracle_r2.value > 0.5
    assert found.motion.r2.value < found.motion.oracle_r2.value
    columns = pq.read_table(run.path / "analysis" / "embedding.parquet")
    rows = truth.match(columns["id"].to_numpy().astype(np.str_), run.path)
    assert truth.motion is not None
    np.testing.assert_array_equal(
        columns["angle_degrees"].to_numpy(), truth.motion.angle_degrees[rows]
    )


def test_one_state_is_not_compared_with_clusters(analysed: tuple[Run, Truth]) -> None:
    found = read_summary(analysed[0]).truth
    assert found is not None
    assert found.ari is None
    assert found.oracle_ari is None


def test_report_shows_the_motion(analysed: tuple[Run, Truth], tmp_path: Path) -> None:
    page = render([analysed[0]], tmp_path / "report.html").read_text()
    assert "Motion against the truth" in page
    assert "By true angle" in page
    assert "Clusters against the truth" not in page
