"""Halves of a stack."""

import numpy as np
import pytest

from cryolatent.data import open_star
from cryolatent.errors import InputWarning


def test_relions_halves_are_kept(files):
    files.particles["rlnRandomSubset"] = [2, 1, 1, 2]
    stack = open_star(files.write())
    for seed in (0, 1):
        first, second = stack.split(seed)
        assert (first.tolist(), second.tolist()) == ([1, 2], [0, 3])


@pytest.mark.parametrize("count", [6, 7])
def test_random_halves_cover_every_particle_once(files, count):
    files.particles = files.particles.iloc[np.arange(count) % 4]
    files.particles["rlnImageName"] = [f"{row + 1}@images.mrcs" for row in range(count)]
    files.stacks["images.mrcs"] = np.random.default_rng(0).normal(size=(count, 8, 8))
    first, second = open_star(files.write()).split(seed=3)
    assert sorted([*first.tolist(), *second.tolist()]) == list(range(count))
    assert abs(len(first) - len(second)) <= 1
    assert first.tolist() == sorted(first.tolist())


def test_random_halves_follow_the_seed(files):
    stack = open_star(files.write())
    halves = [tuple(stack.split(seed)[0].tolist()) for seed in range(20)]
    assert halves == [tuple(stack.split(seed)[0].tolist()) for seed in range(20)]
    assert len(set(halves)) > 1


def test_copies_of_one_particle_stay_in_one_half(files):
    files.particles["rlnImageName"] = ["1@images.mrcs", "2@images.mrcs"] * 2
    stack = open_star(files.write())
    for seed in range(10):
        first, second = (set(half.tolist()) for half in stack.split(seed))
        assert {frozenset(first), frozenset(second)} == {frozenset({0, 2}), frozenset({1, 3})}


@pytest.mark.parametrize("only", [1, 2])
def test_one_half_alone_is_halved_at_random_and_said(files, only):
    files.particles["rlnRandomSubset"] = only
    with pytest.warns(InputWarning, match=f"all particles are of half-set {only}; halves"):
        first, second = open_star(files.write()).split(seed=3)
    assert sorted([*first.tolist(), *second.tolist()]) == [0, 1, 2, 3]
    assert len(first) == len(second)
