"""Moves of evidence: the image alone, or the particle with its pose and transfer function.

``..._image`` moves what is seen and leaves what is recorded of it, as if it had not been moved;
``..._particle`` moves both, so that the result is an observation of the same particle under the
same model. Images are periodic.
"""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from cryolatent.data.batch import Evidence
from cryolatent.physics import (
    FourierDisc,
    Poses,
    quarter_turn,
    rotate_in_plane,
    shift_phases,
    turn_ctf,
    turn_poses,
)

ROT90_ROLL = (-1.0, 0.0)
"""What numpy's ``rot90``, about (D - 1) / 2, displaces beyond a turn about pixel D / 2."""


def shift_image(evidence: Evidence, disc: FourierDisc, pixels: Float[Tensor, "*obs 2"]) -> Evidence:
    """Displace the images; pose and transfer function stay.

    Args:
        evidence: What a posterior is shown, all of the disc's coefficients.
        disc: Where they belong.
        pixels: Displacement (x, y) in pixels, of all or of each; (1, 0) is ``np.roll`` by one to
            the right.

    Returns:
        The moved evidence.
    """
    return replace(evidence, images=evidence.images * shift_phases(disc, pixels))


def shift_particle(
    evidence: Evidence, disc: FourierDisc, pixels: Float[Tensor, "*obs 2"]
) -> Evidence:
    """Displace the images and say so in their poses.

    Args:
        evidence: What a posterior is shown, all of the disc's coefficients.
        disc: Where they belong.
        pixels: Displacement (x, y) in pixels, of all or of each.

    Returns:
        The moved evidence.

    Raises:
        ValueError: If there are poses, in Å, but no transfer functions, which hold the pixel size.
    """
    moved = shift_image(evidence, disc, pixels)
    if evidence.poses is None:
        return moved
    if evidence.ctf is None:
        raise ValueError("evidence with poses but without CTF: its pixel size is not known")
    angstrom = pixels * evidence.ctf.pixel_size_angstrom[:, None]
    shifts = evidence.poses.shifts_angstrom + angstrom
    return replace(moved, poses=Poses(evidence.poses.rotations, shifts))


def rot90_image(evidence: Evidence, disc: FourierDisc) -> Evidence:
    """Turn the images by 90 degrees as ``np.rot90(image, -1)``, pose and transfer function left.

    Exact. numpy turns about (D - 1) / 2, so this includes a displacement by one pixel.

    Args:
        evidence: What a posterior is shown, all of the disc's coefficients.
        disc: Where they belong.

    Returns:
        The moved evidence.
    """
    turned = replace(evidence, images=quarter_turn(evidence.images, disc))
    return shift_image(turned, disc, torch.tensor(ROT90_ROLL))


def rot90_particle(evidence: Evidence, disc: FourierDisc, quarters: int = 1) -> Evidence:
    """Turn images, poses and axes of astigmatism by multiples of 90 degrees about pixel D / 2.

    Exact.

    Args:
        evidence: What a posterior is shown, all of the disc's coefficients.
        disc: Where they belong.
        quarters: Number of quarter turns from x towards y.

    Returns:
        The moved evidence.
    """
    images = quarter_turn(evidence.images, disc, quarters)
    degrees = torch.full((len(images),), 90.0 * quarters)
    return _with_turned_geometry(replace(evidence, images=images), degrees)


def rotate_image(evidence: Evidence, disc: FourierDisc, degrees: Float[Tensor, " obs"]) -> Evidence:
    """Turn the images by any angle about pixel D / 2; pose and transfer function stay.

    Args:
        evidence: What a posterior is shown, all of the disc's coefficients.
        disc: Where they belong.
        degrees: Angle of each, from x towards y.

    Returns:
        The moved evidence, interpolated.
    """
    return replace(evidence, images=rotate_in_plane(evidence.images, degrees, disc))


def rotate_particle(
    evidence: Evidence, disc: FourierDisc, degrees: Float[Tensor, " obs"]
) -> Evidence:
    """Turn images, poses and axes of astigmatism by any angle about pixel D / 2.

    Args:
        evidence: What a posterior is shown, all of the disc's coefficients.
        disc: Where they belong.
        degrees: Angle of each, from x towards y.

    Returns:
        The moved evidence, interpolated.
    """
    return _with_turned_geometry(rotate_image(evidence, disc, degrees), degrees)


def _with_turned_geometry(evidence: Evidence, degrees: Float[Tensor, " obs"]) -> Evidence:
    poses, ctf = evidence.poses, evidence.ctf
    return replace(
        evidence,
        poses=None if poses is None else turn_poses(poses, degrees),
        ctf=None if ctf is None else turn_ctf(ctf, degrees),
    )
