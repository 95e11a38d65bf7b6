"""Poses found from images alone, brought into the frame of others: no image shows that frame."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from cryolatent.physics import Poses

MIRROR = (1.0, 1.0, -1.0)
"""What mirrors a volume in its plane z = 0, and a pose with it."""

NEAR_DEGREES = 20.0
"""Angle within which poses count as the same while the frame is sought."""

TRIED, STEPS = 200, 5


@dataclass(frozen=True)
class AlignedPoses:
    """Poses in the frame of others.

    Args:
        poses: The poses, of a volume that was turned, moved, and mirrored if need be.
        mirrored: Whether the volume had the other hand.
        degrees: Angle between each pose and the other one.
        shifts_angstrom: Difference of displacements, found less other, in Å.
    """

    poses: Poses
    mirrored: bool
    degrees: Float[Tensor, " n"]
    shifts_angstrom: Float[Tensor, "n 2"]


def align_poses(
    found: Poses, other: Poses, symmetry: Float[Tensor, "g 3 3"] | None = None
) -> AlignedPoses:
    """Find the turn, the shift and the hand under which two sets of poses agree best.

    A volume seen at the pose (R, t) is, turned by G, seen at (R G, t); moved by d at
    (R, t + (R d)_xy); mirrored in z = 0 at (N R N, t) with N = diag(1, 1, -1).

    Args:
        found: Poses.
        other: As many in the frame that is wanted.
        symmetry: Rotations of the volume's point group in that frame, under which poses are the
            same; none but the identity if left out.

    Returns:
        The found poses in that frame, in the hand whose median angle is smaller; of poses that are
        the same those nearest to the other ones.
    """
    mirror = torch.diag(found.rotations.new_tensor(MIRROR))
    hands = found.rotations, mirror @ found.rotations @ mirror
    turned = [_turned(rotations, other.rotations) for rotations in hands]
    if symmetry is not None:
        turned = [_nearest_copies(each, other.rotations, symmetry) for each in turned]
    angles = [_degrees(rotations, other.rotations) for rotations in turned]
    mirrored = bool(angles[1].median() < angles[0].median())
    rotations, degrees = turned[mirrored], angles[mirrored]
    near = degrees <= torch.maximum(degrees.median(), degrees.new_tensor(1e-3))
    shifts = found.shifts_angstrom
    rows, missing = rotations[near, :2].flatten(0, 1), (other.shifts_angstrom - shifts)[near]
    move = torch.linalg.lstsq(rows.double(), missing.double().reshape(-1, 1)).solution[:, 0]
    moved = shifts + (rotations @ move.to(rotations))[:, :2]
    poses = Poses(rotations, moved)
    return AlignedPoses(poses, mirrored, degrees, moved - other.shifts_angstrom)


def _turned(rotations: Float[Tensor, "n 3 3"], other: Float[Tensor, "n 3 3"]) -> Tensor:
    """Rotations in the frame in which most of them agree with others."""
    import roma

    each = rotations.mT @ other
    step = max(1, len(each) // TRIED)
    counts = [int((_degrees(rotations @ g, other) < NEAR_DEGREES).sum()) for g in each[::step]]
    turn = each[step * max(range(len(counts)), key=counts.__getitem__)]
    for _ in range(STEPS):
        near = _degrees(rotations @ turn, other) < NEAR_DEGREES
        turn = torch.as_tensor(roma.special_procrustes(each[near].mean(0)))
    return rotations @ turn


def _nearest_copies(
    rotations: Float[Tensor, "n 3 3"],
    other: Float[Tensor, "n 3 3"],
    symmetry: Float[Tensor, "g 3 3"],
) -> Float[Tensor, "n 3 3"]:
    copies = rotations[:, None] @ symmetry.to(rotations)
    # the trace of a turn falls with its angle
    best = (copies * other[:, None]).sum((2, 3)).argmax(1)
    return copies[torch.arange(len(best)), best]


def _degrees(first: Float[Tensor, "n 3 3"], second: Float[Tensor, "n 3 3"]) -> Tensor:
    import roma

    return torch.rad2deg(roma.rotmat_geodesic_distance(first.double(), second.double())).float()
