"""Sets of particles whose difference is known."""

import numpy as np
import pytest
from scipy.stats import ttest_ind

from cryolatent.analysis.set_difference import set_differences
from cryolatent.errors import InputError

RNG = np.random.default_rng(0)


def halves(n: int) -> tuple[np.ndarray, np.ndarray]:
    first = np.arange(n) < n // 3
    return first, ~first


def test_a_shift_is_found_and_measured_and_nothing_else() -> None:
    first, second = halves(900)
    shifted = RNG.normal(size=900) + 0.5 * first
    blocks = {"shifted": shifted[:, None], "not": RNG.normal(size=(900, 1))}
    found = {one.name: one for one in set_differences(blocks, first, second)}
    moved, still = found["shifted"], found["not"]
    assert moved.first == pytest.approx(shifted[first].mean())
    expected = (shifted[first].mean() - shifted[second].mean()) / shifted.std()
    assert moved.distance == pytest.approx(expected)
    assert moved.p == pytest.approx(1 / 401)
    assert moved.p_of_all < 0.02
    assert still.p > 0.05
    assert still.null.low <= still.distance <= still.null.high


def test_p_is_that_of_a_t_test_where_that_holds() -> None:
    first, second = halves(300)
    for seed in range(3):
        values = np.random.default_rng(seed).normal(size=(300, 1))
        (found,) = set_differences({"a": values}, first, second, draws=2000)
        assert found.p == pytest.approx(
            ttest_ind(values[first], values[second]).pvalue[0], abs=0.04
        )
        assert found.p_of_all == pytest.approx(found.p)


def test_of_many_quantities_that_are_the_same_one_is_rare_by_chance() -> None:
    first, second = halves(200)
    firsts = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        blocks = {f"q{k}": rng.normal(size=(200, 1)) for k in range(10)}
        found = set_differences(blocks, first, second, draws=99, seed=seed)
        firsts.append((min(one.p for one in found), min(one.p_of_all for one in found)))
    alone, corrected = (np.mean(np.array(firsts)[:, k] <= 0.05) for k in (0, 1))
    assert alone > 0.2
    assert corrected <= 0.15


def test_several_columns_are_one_quantity() -> None:
    first, second = halves(600)
    directions = RNG.normal(size=(600, 3))
    directions[first, 2] *= 3
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    squares = (directions[:, :, None] * directions[:, None, :]).reshape(600, 9)
    (found,) = set_differences({"views": squares}, first, second)
    assert (found.first, found.second) == (None, None)
    assert found.p < 0.01


def test_particles_of_both_sets_are_in_none_and_gaps_do_not_count() -> None:
    first, second = np.arange(10) < 6, np.arange(10) >= 4
    values = np.arange(10.0)[:, None]
    values[0] = np.nan
    (found,) = set_differences({"a": values}, first, second)
    assert (found.first, found.second) == pytest.approx(((36 / 7 + 1 + 2 + 3) / 4, 7.5))
    with pytest.raises(InputError, match="0 and 4 particles"):
        set_differences({"a": values}, second & first, second)
