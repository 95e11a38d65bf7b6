"""Simulated inputs that are wrong in other ways than a model would have them."""

from pathlib import Path

import numpy as np
import pytest
import roma
import torch
from scipy import stats

from builders import small_stack
from cryolatent.errors import InputError
from cryolatent.simulate.config import SimulateConfig
from cryolatent.simulate.observation import draw_observations, perturb
from cryolatent.simulate.truth import Truth

STATES = ("mature", "early")


def errors(**options: float) -> np.ndarray:
    """Errors of recorded orientations about each axis, in degrees."""
    config = SimulateConfig(particles=20_000, box=16, **options)
    poses, _ = draw_observations(config, np.random.default_rng(0))
    recorded = perturb(poses, config, np.random.default_rng(1))
    turn = recorded.rotations.double() @ poses.rotations.double().mT
    return np.degrees(roma.rotmat_to_rotvec(turn).numpy())


def test_heavy_tails_keep_the_standard_deviation() -> None:
    normal, heavy = errors(angle_error=2.0), errors(angle_error=2.0, error_tails=5.0)
    assert normal.std() == pytest.approx(2, rel=0.02)
    assert heavy.std() == pytest.approx(2, rel=0.05)
    assert abs(stats.kurtosis(normal[:, 0])) < 0.2
    assert stats.kurtosis(heavy[:, 0]) > 1.5
    # all errors of an image are large together
    assert np.corrcoef(np.abs(heavy[:, :2]).T)[0, 1] > 0.1


def test_a_share_of_orientations_is_anywhere() -> None:
    angle = np.linalg.norm(errors(random_poses=0.1), axis=1)
    lost = angle > 1e-3
    assert lost.mean() == pytest.approx(0.1, abs=0.01)
    # of uniform rotations the mean angle is 126.5 degrees
    assert angle[lost].mean() == pytest.approx(126.5, abs=2)


def test_populations_are_those_asked_for(tmp_path: Path) -> None:
    small_stack(tmp_path / "data", particles=400, only=STATES, populations=(3.0, 1.0))
    state = Truth.load(tmp_path / "data" / "truth").state
    assert (state == 0).mean() == pytest.approx(0.75, abs=0.07)
    with pytest.raises(InputError, match="one for each state"):
        small_stack(tmp_path / "wrong", only=STATES, populations=(1.0, 1.0, 1.0))
    with pytest.raises(ValueError, match="more than 2"):
        SimulateConfig(error_tails=1.5)


def test_without_them_nothing_else_is_drawn(tmp_path: Path) -> None:
    """Sets of before keep their random numbers."""
    plain = small_stack(tmp_path / "a", only=STATES, angle_error=2.0)
    again = small_stack(tmp_path / "b", only=STATES, angle_error=2.0, populations=())
    assert torch.equal(plain.poses.rotations, again.poses.rotations)
