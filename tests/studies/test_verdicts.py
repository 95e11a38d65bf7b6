"""From numbers to verdicts."""

import math

import numpy as np
import pytest
from scipy import stats

from cryolatent.runs.finding import Estimate
from cryolatent.studies.verdicts import Scatter, at_least, at_most


def test_difference_of_two_groups_is_students_test() -> None:
    first, second = [0.9, 0.8, 0.95], [0.5, 0.7, 0.65]
    found = Scatter.pooled([first, second]).difference(first, second)
    expected = stats.ttest_ind(first, second).confidence_interval(0.95)
    assert found is not None
    assert found.value == pytest.approx(np.mean(first) - np.mean(second))
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def test_mean_of_one_group_is_students_interval() -> None:
    values = [1.0, 2.0, 4.0, 3.5]
    found = Scatter.pooled([values]).mean(values)
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert found is not None
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def test_single_seed_borrows_the_scatter_of_the_others() -> None:
    scatter = Scatter.pooled([[0.0, 2.0], [5.0]])
    assert (scatter.deviation, scatter.freedom) == pytest.approx((math.sqrt(2), 1))
    found = scatter.difference([5.0], [0.0, 2.0])
    assert found is not None
    assert found.high - found.value == pytest.approx(
        stats.t.ppf(0.975, 1) * math.sqrt(2) * math.sqrt(1 + 1 / 2)
    )


def test_single_seeds_alone_know_no_scatter() -> None:
    scatter = Scatter.pooled([[1.0], [2.0]])
    assert scatter.mean([1.0]) is None
    assert scatter.difference([1.0], [2.0]) is None


@pytest.mark.parametrize(
    ("low", "high", "above", "below"),
    [
        (0.3, 0.5, "agrees", "differs"),
        (-0.5, -0.3, "differs", "agrees"),
        (-0.1, 0.1, "inconclusive", "inconclusive"),
    ],
)
def test_verdict_needs_the_whole_interval(low: float, high: float, above: str, below: str) -> None:
    found = Estimate(value=(low + high) / 2, low=low, high=high)
    assert at_least(found, 0.0, "x").word == above
    assert at_most(found, 0.0, "x").word == below


def test_reason_tells_number_interval_and_limit() -> None:
    found = Estimate(value=-0.125, low=-0.25, high=0.5)
    assert at_least(found, 0.1, "gap").reason == "gap −0.125 [−0.250, 0.500], to be above 0.10"


def test_coverage_of_the_interval() -> None:
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(1000):
        first, second = rng.normal(1.0, 1.0, 3).tolist(), rng.normal(0.0, 1.0, 3).tolist()
        found = Scatter.pooled([first, second]).difference(first, second)
        assert found is not None
        hits += found.low <= 1.0 <= found.high
    assert 930 <= hits <= 970
