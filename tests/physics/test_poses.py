"""Poses against scipy's rotations, and back."""

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from cryolatent.physics import Poses, rotation_defect

ANGLES = st.tuples(st.floats(-180, 180), st.floats(0, 180), st.floats(-180, 180))
# An angle near 180 degrees in float32 is good to 2^-17 degrees; three of them make a matrix.
FLOAT32_ANGLES = 3 * np.deg2rad(2**-17) + 4 * np.finfo(np.float32).eps


def poses_of(*angles: tuple[float, float, float]) -> Poses:
    return Poses.from_relion(torch.tensor(angles), torch.zeros(len(angles), 2))


@given(ANGLES)
@settings(deadline=None)
def test_rotation_is_the_transposed_zyz_matrix(angles):
    expected = Rotation.from_euler("ZYZ", angles, degrees=True).as_matrix().T
    matrix = poses_of(angles).rotations[0].numpy()
    np.testing.assert_allclose(matrix, expected, rtol=0, atol=FLOAT32_ANGLES)


@pytest.mark.parametrize(
    ("angles", "rows"),
    [
        ((90.0, 0.0, 0.0), [(0, 1, 0), (-1, 0, 0)]),
        ((0.0, 90.0, 0.0), [(0, 0, -1), (0, 1, 0)]),
        ((0.0, 90.0, 90.0), [(0, 1, 0), (0, 0, 1)]),
    ],
)
def test_quarter_turns_worked_by_hand(angles, rows):
    np.testing.assert_allclose(poses_of(angles).rotations[0, :2].numpy(), rows, atol=1e-6)


@given(ANGLES, st.floats(-50, 50), st.floats(-50, 50))
@settings(deadline=None)
@example((30.0, 0.0, 40.0), 1.0, 2.0)
@example((30.0, 180.0, 40.0), 1.0, 2.0)
@example((30.0, 1e-3, 40.0), 1.0, 2.0)
def test_relion_round_trip(angles, x, y):
    poses = Poses.from_relion(torch.tensor([angles]), torch.tensor([[x, y]]))
    recorded, origins = poses.to_relion()
    torch.testing.assert_close(origins, torch.tensor([[x, y]]), rtol=0, atol=0)
    again = Poses.from_relion(recorded, origins)
    torch.testing.assert_close(again.rotations, poses.rotations, rtol=0, atol=2 * FLOAT32_ANGLES)
    torch.testing.assert_close(again.shifts_angstrom, poses.shifts_angstrom, rtol=0, atol=0)


def test_generic_angles_come_back():
    angles = torch.tensor([[-150.0, 20.0, 77.0], [12.0, 160.0, -3.0]], dtype=torch.float64)
    recorded, _ = Poses.from_relion(angles, torch.zeros(2, 2, dtype=torch.float64)).to_relion()
    torch.testing.assert_close(recorded, angles, rtol=0, atol=1e-10)


def test_origin_centres_so_the_particle_is_at_minus_it():
    poses = Poses.from_relion(torch.zeros(1, 3), torch.tensor([[3.0, -4.0]]))
    assert poses.shifts_angstrom.tolist() == [[-3.0, 4.0]]


def test_index_and_length():
    poses = poses_of((0.0, 0.0, 0.0), (90.0, 0.0, 0.0))
    assert len(poses) == 2
    assert torch.equal(poses[torch.tensor([1])].rotations[0], poses.rotations[1])
    assert len(poses[:1]) == 1


def test_rotation_defect_of_rotations_is_rounding():
    matrices = torch.from_numpy(Rotation.random(50, random_state=0).as_matrix()).float()
    assert rotation_defect(matrices).max() < 8 * np.finfo(np.float32).eps


@pytest.mark.parametrize(
    ("matrix", "defect"),
    [
        (np.diag([1.0, 1.0, -1.0]), 2.0),
        (-np.eye(3), 2.0),
        (np.eye(3)[[1, 0, 2]], 2.0),
        (1.1 * np.eye(3), 1.1**3 - 1),
        (0.5 * np.eye(3), 1 - 0.5**3),
        (np.zeros((3, 3)), 1.0),
        (np.array([[1, 0.2, 0], [0, 1, 0], [0, 0, 1]]), 0.2),
    ],
)
def test_rotation_defect_of_other_matrices(matrix, defect):
    value = float(rotation_defect(torch.from_numpy(matrix)[None]))
    assert value == pytest.approx(defect, abs=1e-12)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_rotation_defect_is_not_finite_where_the_matrix_is_not(value):
    matrices = torch.eye(3).repeat(2, 1, 1)
    matrices[1, 0, 2] = value
    defect = rotation_defect(matrices)
    assert defect[0] == 0
    assert not defect[1].isfinite()
