import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from cryolatent.physics import CELL, OrientationGrid, shift_grid, sphere_grid


def degrees_between(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Angles of every rotation of one set to every one of another."""
    cosine = (first.reshape(-1, 9).double() @ second.reshape(-1, 9).double().T - 1) / 2
    return torch.rad2deg(cosine.clamp(-1, 1).acos())


def random_rotations(count: int) -> torch.Tensor:
    return torch.from_numpy(Rotation.random(count, random_state=0).as_matrix())


@pytest.mark.parametrize("divisions", [1, 2, 3, 5])
def test_views_share_the_sphere_equally(divisions: int) -> None:
    polar, longitude = torch.deg2rad(sphere_grid(divisions)).unbind(-1)
    assert len(polar) == 12 * divisions**2
    # each pixel's share of the height, ring by ring: the centres' mean square is that of a sphere
    height = polar.cos()
    assert height.mean().abs() < 1e-6
    across = polar.sin() * torch.exp(1j * longitude)
    assert across.mean().abs() < 1e-6
    points = torch.stack([across.real, across.imag, height.to(across.real)], dim=-1)
    second = points.T @ points / len(points)
    assert torch.allclose(second, torch.eye(3).double() / 3, atol=0.06 / divisions)
    between = torch.rad2deg((points @ points.T).clamp(-1, 1).acos())
    nearest = between.fill_diagonal_(180).amin(1)
    side = 58.6 / divisions
    assert 0.7 * side < nearest.min() <= nearest.max() < 1.25 * side


@pytest.mark.parametrize("spacing", [30.0, 20.0, 15.0])
def test_every_orientation_has_a_neighbour_in_the_grid(spacing: float) -> None:
    grid = OrientationGrid(spacing)
    rotations = grid.at(torch.arange(len(grid)))
    some = random_rotations(2000)
    nearest = degrees_between(some, rotations).min(1)
    # of a cubic lattice the covering radius is 0.87 and the mean distance 0.48 spacings
    assert 0.7 * spacing < nearest.values.max() < 0.87 * spacing
    assert nearest.values.mean() == pytest.approx(0.48 * spacing, rel=0.04)
    off = Rotation.from_matrix((some @ rotations[nearest.indices].double().mT).numpy())
    spread = np.degrees(off.as_rotvec()).std(0)
    assert spread == pytest.approx(CELL * spacing, rel=0.08)


def test_half_turns_follow_and_no_orientation_comes_twice() -> None:
    grid = OrientationGrid(30.0)
    rotations = grid.at(torch.arange(len(grid)))
    assert torch.allclose(torch.linalg.det(rotations), torch.ones(len(grid)), atol=1e-5)
    half = len(grid) // 2
    turned = Rotation.from_euler("z", 180, degrees=True).as_matrix() @ rotations[:half].numpy()
    assert np.allclose(rotations[half:].numpy(), turned, atol=1e-5)
    between = degrees_between(rotations, rotations).fill_diagonal_(180)
    assert between.min() > 0.8 * 30


def test_displacements_fill_a_circle() -> None:
    shifts = shift_grid(3.0, 1.5)
    assert len(shifts) == 13
    assert shifts.norm(dim=1).max() == 3.0
    assert shift_grid(1.0, 2.0).tolist() == [[0.0, 0.0]]
