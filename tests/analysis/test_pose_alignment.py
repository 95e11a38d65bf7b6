import pytest
import torch

from builders import random_rotations
from cryolatent.analysis.pose_alignment import MIRROR, align_poses
from cryolatent.physics import (
    FourierDisc,
    FourierLattice,
    Poses,
    displaced,
    slice_lattice,
    symmetry_rotations,
    turned,
)

DISC = FourierDisc(16, 5)
LATTICE = FourierLattice(DISC)


def images_of(volume: torch.Tensor, poses: Poses) -> torch.Tensor:
    slices = slice_lattice(LATTICE.from_volumes(volume[None]), poses.rotations, LATTICE)[..., 0]
    return displaced(slices, poses.shifts_angstrom, DISC)


def smooth_volume() -> torch.Tensor:
    z, y, x = torch.meshgrid(*[torch.arange(16.0) - 8] * 3, indexing="ij")
    volume = torch.zeros(16, 16, 16)
    for cx, cy, cz, height in ((1, 0, 0, 1), (-2, 1, 1, 0.7), (0, -2, 2, 0.5), (1, 2, -2, 0.4)):
        volume += height * torch.exp(-((x - cx) ** 2 + (y - cy) ** 2 + (z - cz) ** 2) / 6)
    return volume


@pytest.mark.parametrize("mirrored", [False, True])
def test_frame_and_hand_are_found_in_spite_of_wrong_poses(mirrored: bool) -> None:
    true = Poses(random_rotations(400), 3 * torch.randn(400, 2))
    turn, move = random_rotations(1)[0], torch.tensor([2.0, -1.0, 0.5])
    mirror = torch.diag(torch.tensor(MIRROR)) if mirrored else torch.eye(3)
    rotations = mirror @ true.rotations @ mirror @ turn
    shifts = true.shifts_angstrom + (rotations @ move)[:, :2]
    rotations = turned(rotations, 0.03 * torch.randn(400, 3))
    rotations[:120] = random_rotations(120)
    found = align_poses(Poses(rotations, shifts), true)
    assert found.mirrored == mirrored
    assert found.degrees[120:].max() < 12
    assert found.degrees[120:].median() == pytest.approx(2.6, abs=0.5)
    assert found.shifts_angstrom[120:].square().mean().sqrt() < 0.15
    assert found.degrees[:120].median() > 60


def test_copies_of_a_symmetric_pose_are_the_same() -> None:
    true, group = Poses(random_rotations(200), torch.zeros(200, 2)), symmetry_rotations("C2")
    turn = random_rotations(1)[0]
    which = torch.arange(200) % 2
    shown = Poses(true.rotations @ group[which] @ turn, true.shifts_angstrom)
    assert align_poses(shown, true).degrees.max() > 90
    assert align_poses(shown, true, group).degrees.max() < 0.1


def test_a_mirrored_volume_at_mirrored_poses_makes_the_same_images() -> None:
    volume, poses = smooth_volume(), Poses(random_rotations(5), torch.zeros(5, 2))
    mirror = torch.diag(torch.tensor(MIRROR))
    # voxel 8 is the centre: index n goes to 16 - n, and the first plane is empty
    other = torch.roll(volume.flip(0), 1, dims=0)
    seen = images_of(other, Poses(mirror @ poses.rotations @ mirror, poses.shifts_angstrom))
    assert (seen - images_of(volume, poses)).abs().max() < 1e-3 * seen.abs().max()


def test_a_moved_volume_moves_its_images() -> None:
    volume, poses = smooth_volume(), Poses(random_rotations(5), torch.randn(5, 2))
    move = torch.tensor([1.0, 0.0, -2.0])
    moved = torch.roll(volume, (-2, 1), dims=(0, 2))
    there = Poses(poses.rotations, poses.shifts_angstrom + (poses.rotations @ move)[:, :2])
    expected = images_of(volume, there)
    assert (images_of(moved, poses) - expected).abs().max() < 0.03 * expected.abs().max()
