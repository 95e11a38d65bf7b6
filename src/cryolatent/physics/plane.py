"""Moves within the image plane: turns about pixel ``box / 2``, of coefficients, poses and CTFs.

A turn by a positive angle carries the x axis towards the y axis: clockwise where y points down.
"""

from dataclasses import replace

import torch
from jaxtyping import Complex, Float
from torch import Tensor
from torch.nn.functional import pad

from cryolatent.physics.aberrations import EVEN, turn_polynomial
from cryolatent.physics.ctf import CTF
from cryolatent.physics.grid import FourierDisc, disc_to_images
from cryolatent.physics.poses import Poses

OVERSAMPLING = 2
"""Points of the grid that turns are read from, per Fourier pixel."""

AT_A_POLE = 1e-3
"""Sine of the tilt below which the axis no longer says how an image is turned."""


def plane_rotation(degrees: Float[Tensor, "*n"]) -> Float[Tensor, "*n 2 2"]:
    """Matrices Q that turn points (x, y) of the plane, ``Q @ point``.

    Args:
        degrees: Angles from x towards y.

    Returns:
        Rotation matrices.
    """
    angle = torch.deg2rad(degrees.double())
    cosine, sine = angle.cos(), angle.sin()
    rows = [torch.stack([cosine, -sine], dim=-1), torch.stack([sine, cosine], dim=-1)]
    return torch.stack(rows, dim=-2).to(degrees.dtype)


def quarter_turn(
    coefficients: Complex[Tensor, "*n k"], disc: FourierDisc, quarters: int = 1
) -> Complex[Tensor, "*n k"]:
    """Turn images by multiples of 90 degrees, exactly: a permutation and some conjugations.

    Args:
        coefficients: Images.
        disc: Where the coefficients belong.
        quarters: Number of quarter turns from x towards y.

    Returns:
        The turned images, ``F(k @ Q)``.
    """
    kx, ky = disc.coordinates.long().unbind(-1)
    x, y = [(kx, ky), (ky, -kx), (-kx, -ky), (-ky, kx)][quarters % 4]
    side, middle = 2 * disc.radius + 1, disc.radius
    plane = torch.zeros(*coefficients.shape[:-1], side, side, dtype=coefficients.dtype)
    plane[..., ky + middle, kx + middle] = coefficients
    plane[..., middle - ky, middle - kx] = coefficients.conj()
    return plane[..., y + middle, x + middle]


def rotate_in_plane(
    coefficients: Complex[Tensor, "*n k"],
    degrees: Float[Tensor, "*n"],
    disc: FourierDisc,
) -> Complex[Tensor, "*n k"]:
    """Turn images by any angle, by bilinear interpolation of a twofold oversampled transform.

    The images are divided by the transform of the interpolation's kernel first, so that neither
    particle nor noise fades away from the centre.

    Args:
        coefficients: Images.
        degrees: Angle of each, from x towards y.
        disc: Where the coefficients belong.

    Returns:
        The turned images, approximately ``F(k @ Q)``.
    """
    box, side = disc.box, OVERSAMPLING * disc.box
    gain = torch.sinc(torch.arange(-(box // 2), box // 2 + 1) / side) ** -2
    gain[[0, -1]] /= 2
    images = disc_to_images(coefficients, disc)
    # the row and column at -D / 2 are also those at D / 2: half to each, so that quarter turns fit
    images = torch.cat([images, images[..., :1]], dim=-1)
    images = torch.cat([images, images[..., :1, :]], dim=-2) * gain[:, None] * gain
    margin = (side - box) // 2
    images = pad(images, (margin, margin - 1) * 2)
    images = torch.fft.ifftshift(images, dim=(-2, -1))
    plane = (torch.fft.fft2(images) / box).flatten(-2)
    points = disc.coordinates.to(degrees) @ plane_rotation(degrees) * OVERSAMPLING
    corner = points.floor()
    (right, down), (x, y) = (points - corner).unbind(-1), corner.long().unbind(-1)
    result = torch.zeros_like(coefficients)
    for i, across in enumerate((1 - right, right)):
        for j, along in enumerate((1 - down, down)):
            tap = (y + j) % side * side + (x + i) % side
            result = result + across * along * plane.gather(-1, tap)
    return result


def turn_poses(poses: Poses, degrees: Float[Tensor, "*n"]) -> Poses:
    """The poses of turned images: ``R' = Q R``, ``t' = Q t``.

    Args:
        poses: The poses of the images.
        degrees: Angle of each turn, from x towards y.

    Returns:
        The poses that predict the turned images.
    """
    plane = plane_rotation(degrees).to(poses.rotations)
    turned = plane @ poses.rotations[..., :2, :]
    rotations = torch.cat([turned, poses.rotations[..., 2:, :]], dim=-2)
    return Poses(rotations, (plane @ poses.shifts_angstrom[..., None])[..., 0])


def turn_ctf(ctf: CTF, degrees: Float[Tensor, "*n"]) -> CTF:
    """The transfer functions of turned images: astigmatism and aberrations turn with them.

    Args:
        ctf: The transfer functions of the images.
        degrees: Angle of each turn, from x towards y.

    Returns:
        The transfer functions ``C(k @ Q)``.
    """
    turned = replace(ctf, defocus_angle_degrees=ctf.defocus_angle_degrees + degrees)
    if ctf.aberration is None:
        return turned
    return replace(turned, aberration=turn_polynomial(ctf.aberration, degrees, EVEN))


def in_plane_degrees(rotations: Float[Tensor, "*n 3 3"]) -> Float[Tensor, " *n"]:
    """How far each image is turned in its plane: minus RELION's psi.

    An image turned by some angle has this angle larger by it. Seen along the volume's z axis psi
    is not defined apart from rot; there the image of the volume's y axis gives the angle, which is
    minus psi for rot 0.

    Args:
        rotations: Rotation matrices R of poses.

    Returns:
        Angle in degrees, from x towards y.
    """
    axis, side = rotations[..., :2, 2], rotations[..., :2, 1]
    tilted = torch.atan2(-axis[..., 1], -axis[..., 0])
    upright = torch.atan2(-side[..., 0], side[..., 1])
    at_a_pole = torch.linalg.vector_norm(axis, dim=-1) < AT_A_POLE
    return torch.rad2deg(torch.where(at_a_pole, upright, tilted))
