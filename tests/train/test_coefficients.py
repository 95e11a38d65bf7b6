import pytest
import torch

from builders import DISC
from cryolatent.physics import CoefficientSubset
from cryolatent.train.coefficients import last_shell, subset_of_step
from cryolatent.train.options import GradientOptions


def options(**values: object) -> GradientOptions:
    return GradientOptions.model_validate(values)


def subset(epoch: int, step: int, seed: int = 0, **values: object) -> CoefficientSubset:
    return subset_of_step(DISC, options(**values), seed, epoch, step)


def test_all_coefficients_are_compared_unless_asked_otherwise() -> None:
    whole = subset(0, 0)
    assert whole.index == slice(None)
    assert whole.weight == 1


def test_draw_depends_on_seed_and_step_alone() -> None:
    first, again = (subset(e, 7, coefficient_fraction=0.3) for e in (0, 3))
    assert torch.equal(first.index, again.index)
    for seed, step in ((0, 8), (1, 7)):
        other = subset(0, step, seed, coefficient_fraction=0.3)
        assert not torch.equal(first.index, other.index)


@pytest.mark.parametrize("fraction", [0.01, 0.25, 0.5, 0.9])
def test_every_coefficient_is_expected_once(fraction: float) -> None:
    count, steps = torch.zeros(DISC.size, dtype=torch.double), 2000
    for step in range(steps):
        drawn = subset(0, step, coefficient_fraction=fraction)
        assert len(drawn.index) == len(set(drawn.index.tolist()))
        count[drawn.index] += drawn.weight / steps
    chance = len(drawn.index) / DISC.size
    error = ((1 - chance) / chance / steps) ** 0.5
    assert ((count - 1).abs() < 5 * error).all()
    assert float(count.mean()) == pytest.approx(1)


def test_marching_grows_from_a_quarter_to_all() -> None:
    assert [last_shell(31, 4, epoch) for epoch in range(6)] == [8, 13, 19, 25, 31, 31]
    assert [last_shell(5, 2, epoch) for epoch in range(4)] == [2, 3, 5, 5]
    assert [last_shell(1, 2, epoch) for epoch in range(3)] == [1, 1, 1]
    assert last_shell(31, 0, 0) == 31


def test_marching_compares_the_shells_reached_at_their_own_weight() -> None:
    reached = subset(1, 0, marching=2)
    assert torch.equal(reached.index, torch.nonzero(DISC.shells <= 3)[:, 0])
    assert reached.weight == 1
    share = subset(1, 0, marching=2, coefficient_fraction=0.5)
    assert (DISC.shells[share.index] <= 3).all()
    assert share.weight == pytest.approx(len(reached.index) / len(share.index))
    assert subset(2, 0, marching=2).index == slice(None)
