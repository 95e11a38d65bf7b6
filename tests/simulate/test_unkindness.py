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
from cryolatent.simulate.observation import draw_observations, perturb, unrecorded
from cryolatent.simulate.truth import Truth

STATES = ("mature", "early")


def errors(**options: float) -> np.ndarray:
    """Errors of recorded orientations about each axis, in degrees."""
    config = SimulateConfig(particles=20_000, box=16, **options)
    poses, ctf = draw_observations(config, np.random.default_rng(0))
    recorded = perturb(poses, ctf, config, np.random.default_rng(1))
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


def test_errors_in_the_plane_and_out_of_it_differ() -> None:
    off = errors(angle_error=1.0, spin_error=3.0)
    assert off.std(axis=0) == pytest.approx([1, 1, 3], rel=0.03)


def test_errors_grow_with_defocus() -> None:
    config = SimulateConfig(particles=20_000, box=16, angle_error=2.0, error_growth=1.0)
    poses, ctf = draw_observations(config, np.random.default_rng(0))
    recorded = perturb(poses, ctf, config, np.random.default_rng(1))
    turn = recorded.rotations.double() @ poses.rotations.double().mT
    off = np.degrees(roma.rotmat_to_rotvec(turn).numpy()).std(axis=1)
    far = ctf.defocus_u_angstrom.numpy() > 17_500
    # uniform from 10,000 to 25,000 Å
    ratio = np.sqrt(np.square(off[far]).mean() / np.square(off[~far]).mean())
    assert ratio == pytest.approx(21_345 / 13_919, rel=0.03)


def pixels(folder: Path, **options: object) -> np.ndarray:
    """Images of 200 particles of one state."""
    stack = small_stack(folder, particles=200, only=("mature",), **options)
    return stack.pixels(np.arange(200))


def test_micrographs_differ_in_noise(tmp_path: Path) -> None:
    options = {"micrographs": 5, "noise_spread": 0.7}
    noisy = pixels(tmp_path / "noisy", snr=1e-4, **options)
    stack, truth = noisy.var(axis=(1, 2)), Truth.load(tmp_path / "noisy" / "truth")
    assert truth.noise_level is not None
    assert stack / truth.noise_level == pytest.approx(1, abs=0.3)
    assert len(np.unique(truth.noise_level)) == 5
    assert truth.noise_level.mean() == pytest.approx(1)
    with pytest.raises(ValueError, match="micrographs"):
        SimulateConfig(noise_spread=0.7)


def test_backgrounds_slope(tmp_path: Path) -> None:
    flat, sloping = (pixels(tmp_path / str(g), gradient=g) for g in (0.0, 2.0))
    across = np.arange(16) / 16 - 0.5
    slope = np.stack(
        [((sloping - flat) * axis).sum(axis=(1, 2)) for axis in (across, across[:, None])]
    )
    rise = np.hypot(*slope) / (16 * np.square(across).sum())
    assert rise.mean() == pytest.approx(2, rel=0.15)


def test_neighbours_come_in_from_the_edge(tmp_path: Path) -> None:
    options = {"snr": 5.0}
    alone, crowded = (pixels(tmp_path / str(n), neighbours=n, **options) for n in (0.0, 0.5))
    more = np.square(crowded - alone)
    assert (more.sum(axis=(1, 2)) > 1e-6).mean() == pytest.approx(0.5, abs=0.1)
    edge = np.ones((16, 16), dtype=bool)
    edge[4:12, 4:12] = False
    assert more[:, edge].mean() > 4 * more[:, ~edge].mean()


def test_what_is_not_recorded_is_in_the_images_alone(tmp_path: Path) -> None:
    plain = small_stack(tmp_path / "a", only=STATES)
    wrong = small_stack(tmp_path / "b", only=STATES, b_factor=3000.0, defocus_error=1000.0)
    assert torch.equal(plain.ctf.defocus_u_angstrom, wrong.ctf.defocus_u_angstrom)
    assert wrong.ctf.b_factor_angstrom2 is None
    config = SimulateConfig(particles=20_000, b_factor=100.0, defocus_error=500.0)
    _, ctf = draw_observations(config, np.random.default_rng(0))
    truly = unrecorded(ctf, config)
    off = truly.defocus_u_angstrom - ctf.defocus_u_angstrom
    assert float(off.std()) == pytest.approx(500, rel=0.03)
    assert truly.b_factor_angstrom2 is not None
    assert float(truly.b_factor_angstrom2.mean()) == pytest.approx(100, rel=0.03)
