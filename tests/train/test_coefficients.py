import pytest
import torch

from builders import DISC
from cryolatent.runs.config import OptimisationConfig
from cryolatent.train.coefficients import last_shell, subset_of_step


def options(**values: object) -> OptimisationConfig:
    return OptimisationConfig.model_validate(values)


def test_all_coefficients_are_compared_unless_asked_otherwise() -> None:
    subset = subset_of_step(DISC, options(), 0, 0)
    assert subset.index == slice(None)
    assert subset.weight == 1


def test_draw_depends_on_seed_and_step_alone() -> None:
    first, again = (subset_of_step(DISC, options(coefficient_fraction=0.3), e, 7) for e in (0, 3))
    assert torch.equal(first.index, again.index)
    for seed, step in ((0, 8), (1, 7)):
        other = subset_of_step(DISC, options(coefficient_fraction=0.3, seed=seed), 0, step)
        assert not torch.equal(first.index, other.index)


@pytest.mark.parametrize("fraction", [0.01, 0.25, 0.5, 0.9])
def test_every_coefficient_is_expected_once(fraction: float) -> None:
    count, steps = torch.zeros(DISC.size, dtype=torch.double), 2000
    for step in range(steps):
        subset = subset_of_step(DISC, options(coefficient_fraction=fraction), 0, step)
        assert len(subset.index) == len(set(subset.index.tolist()))
        count[subset.index] += subset.weight / steps
    chance = len(subset.index) / DISC.size
    error = ((1 - chance) / chance / steps) ** 0.5
    assert ((count - 1).abs() < 5 * error).all()
    assert float(count.mean()) == pytest.approx(1)


def test_marching_grows_from_a_quarter_to_all() -> None:
    assert [last_shell(31, 4, epoch) for epoch in range(6)] == [8, 13, 19, 25, 31, 31]
    assert [last_shell(5, 2, epoch) for epoch in range(4)] == [2, 3, 5, 5]
    assert [last_shell(1, 2, epoch) for epoch in range(3)] == [1, 1, 1]
    assert last_shell(31, 0, 0) == 31


def test_marching_compares_the_shells_reached_at_their_own_weight() -> None:
    subset = subset_of_step(DISC, options(marching=2), 1, 0)
    assert torch.equal(subset.index, torch.nonzero(DISC.shells <= 3)[:, 0])
    assert subset.weight == 1
    share = subset_of_step(DISC, options(marching=2, coefficient_fraction=0.5), 1, 0)
    assert (DISC.shells[share.index] <= 3).all()
    assert share.weight == pytest.approx(len(subset.index) / len(share.index))
    assert subset_of_step(DISC, options(marching=2), 2, 0).index == slice(None)
