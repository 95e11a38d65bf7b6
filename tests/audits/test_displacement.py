"""Displacement and retrieval on cases with known answers."""

import numpy as np
import pytest

from cryolatent.audits import displacement, own_neighbour
from cryolatent.runs.finding import Estimate, verdict_below


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_displacement_by_hand() -> None:
    """Three corners of a triangle with sides 3, 4 and 5: the median pair is 4 apart."""
    z = np.array([[0.0, 0.0], [3.0, 0.0], [0.0, 4.0]])
    moved = z + np.array([[0.0, 1.0], [0.0, 2.0], [0.0, 0.0]])
    found = displacement(z, moved)
    assert found is not None
    assert found.each.tolist() == [0.25, 0.5, 0.0]
    assert found.median.value == 0.25
    assert found.median.low <= 0.25 <= found.median.high


def test_unmoved_latents_have_no_displacement_and_a_null_near_one(
    rng: np.random.Generator,
) -> None:
    z = rng.normal(size=(500, 4))
    found = displacement(z, z)
    assert found is not None
    assert (found.median.value, found.median.low, found.median.high) == (0, 0, 0)
    assert found.null.value == pytest.approx(1, abs=0.03)
    assert found.null.low < 1 < found.null.high


def test_unrelated_latents_are_like_their_null(rng: np.random.Generator) -> None:
    z, moved = rng.normal(size=(2, 1000, 3))
    found = displacement(z, moved)
    assert found is not None
    assert found.median.low < found.null.value < found.median.high
    assert found.median.high - found.median.low < 0.2


def test_displacement_does_not_depend_on_scale_turn_or_origin(rng: np.random.Generator) -> None:
    z, steps = rng.normal(size=(2, 200, 3))
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    first, second = (
        displacement(a, b)
        for a, b in ((z, z + 0.1 * steps), (5 * z @ turn + 3, 5 * (z + 0.1 * steps) @ turn + 3))
    )
    assert first is not None
    assert second is not None
    assert first.median.value == pytest.approx(second.median.value)
    assert first.median.high == pytest.approx(second.median.high)


def test_interval_covers_the_median_of_the_population() -> None:
    """Displacements ``|step|`` of normal steps 0.3 wide over normal pairs; in most of 40 draws."""
    truth, hits = 0.3 / np.sqrt(2), 0
    for seed in range(40):
        z, steps = np.random.default_rng(seed).normal(size=(2, 80, 1))
        found = displacement(z, z + 0.3 * steps, seed=seed)
        assert found is not None
        hits += found.median.low <= truth <= found.median.high
    assert hits >= 33


@pytest.mark.parametrize(
    "z", [np.ones((10, 2)), np.zeros((10, 2)), 5 + 1e-7 * np.eye(10), np.ones((1, 2))]
)
def test_constant_or_single_latents_have_no_unit(z: np.ndarray) -> None:
    assert displacement(z, z) is None


def test_own_neighbour_by_hand() -> None:
    z = np.array([[0.0], [1.0], [5.0]])
    moved = np.array([[0.4], [0.1], [9.0]])
    assert own_neighbour(z, moved).tolist() == [1, 0, 1]


def test_own_neighbour_of_equal_latents_is_chance(rng: np.random.Generator) -> None:
    assert own_neighbour(np.ones((8, 2)), np.ones((8, 2))).tolist() == [1 / 8] * 8
    z, moved = rng.normal(size=(2, 400, 3))
    assert own_neighbour(z, moved).mean() < 0.02
    assert own_neighbour(z, z + 1e-6).mean() == 1


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [(0.1, 0.2, "pass"), (0.3, 0.5, "fail"), (0.2, 0.3, "inconclusive")],
)
def test_verdict_is_the_intervals(low: float, high: float, verdict: str) -> None:
    assert verdict_below(Estimate(value=(low + high) / 2, low=low, high=high), 0.25) == verdict
