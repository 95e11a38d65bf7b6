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
    images = evidence.images * shift_phases(disc, pixels)
    return replace(evidence, images=images, beyond=_shifted(evidence.beyond, pixels))


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
    images = quarter_turn(evidence.images, disc)
    turned = replace(evidence, images=images, beyond=_turned(evidence.beyond, 1))
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
    beyond = _turned(evidence.beyond, quarters)
    return _with_turned_geometry(replace(evidence, images=images, beyond=beyond), degrees)


def rotate_image(evidence: Evidence, disc: FourierDisc, degrees: Float[Tensor, " obs"]) -> Evidence:
    """Turn the images by any angle about pixel D / 2; pose and transfer function stay.

    Args:
        evidence: What a posterior is shown, all of the disc's coefficients.
        disc: Where they belong.
        degrees: Angle of each, from x towards y.

    Returns:
        The moved evidence, interpolated; what lies beyond the disc stays.
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


def _shifted(
    beyond: Float[Tensor, "obs y x"] | None, pixels: Float[Tensor, "*obs 2"]
) -> Float[Tensor, "obs y x"] | None:
    """What lies beyond the disc, displaced as the disc is."""
    if beyond is None:
        return None
    box = beyond.shape[-1]
    ky, kx = torch.fft.fftfreq(box)[:, None], torch.fft.rfftfreq(box)[None]
    x, y = pixels[..., 0, None, None], pixels[..., 1, None, None]
    phase = -2 * torch.pi * (kx * x + ky * y)
    transform = torch.fft.rfft2(beyond) * torch.polar(torch.ones_like(phase), phase)
    return torch.fft.irfft2(transform, s=(box, box))


def _turned(
    beyond: Float[Tensor, "obs y x"] | None, quarters: int
) -> Float[Tensor, "obs y x"] | None:
    """What lies beyond the disc, turned as the disc is, about pixel D / 2."""
    if beyond is None:
        return None
    for _ in range(quarters % 4):
        beyond = torch.rot90(beyond, -1, dims=(-2, -1)).roll(1, dims=-1)
    return beyond


def _with_turned_geometry(evidence: Evidence, degrees: Float[Tensor, " obs"]) -> Evidence:
    poses, ctf = evidence.poses, evidence.ctf
    return replace(
        evidence,
        poses=None if poses is None else turn_poses(poses, degrees),
        ctf=None if ctf is None else turn_ctf(ctf, degrees),
    )
