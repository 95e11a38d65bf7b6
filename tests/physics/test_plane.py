"""Turns in the plane against numpy's, scipy's, and the image model itself."""

import numpy as np
import pytest
import torch
from scipy.ndimage import rotate
from scipy.spatial.transform import Rotation

from builders import random_ctf, random_rotations
from cryolatent.physics import (
    FourierDisc,
    Poses,
    images_to_disc,
    in_plane_degrees,
    plane_rotation,
    quarter_turn,
    rotate_in_plane,
    turn_ctf,
    turn_poses,
)

DISC = FourierDisc(32, 12)
GENERIC = torch.tensor([30.0, -110.0, 200.0, 0.0])


def blobs(count: int, box: int = 32) -> torch.Tensor:
    """Images of a few Gaussian blobs within the central half of the box."""
    axis = torch.arange(box) - box / 2
    places = box / 8 * torch.randn(count, 5, 2, 1, 1).clamp(-2, 2)
    distance = (axis[None, :] - places[:, :, 0]) ** 2 + (axis[:, None] - places[:, :, 1]) ** 2
    return (torch.randn(count, 5, 1, 1) * torch.exp(-distance / 8)).sum(1)


def similarity(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    product = (a.conj() * b).sum(-1).real
    return product / (a.abs().square().sum(-1) * b.abs().square().sum(-1)).sqrt()


def test_plane_rotation_turns_x_to_y() -> None:
    turned = plane_rotation(torch.tensor(90.0)) @ torch.tensor([1.0, 0.0])
    torch.testing.assert_close(turned, torch.tensor([0.0, 1.0]))


@pytest.mark.parametrize("quarters", [-1, 0, 1, 2, 3, 5])
def test_quarter_turn_is_rot90_about_the_central_pixel(quarters: int) -> None:
    """A box padded to odd size has its centre where numpy turns."""
    images = np.random.default_rng(0).normal(size=(2, 32, 32)).astype(np.float32)
    images[:, 0], images[:, :, 0] = 0, 0
    odd = np.pad(images, ((0, 0), (0, 1), (0, 1)))
    expected = np.rot90(odd, -quarters, axes=(1, 2))[:, :-1, :-1].copy()
    found = quarter_turn(images_to_disc(torch.from_numpy(images), DISC), DISC, quarters)
    torch.testing.assert_close(found, images_to_disc(torch.from_numpy(expected), DISC))


def test_quarter_turns_are_a_permutation_with_conjugation() -> None:
    coefficients = torch.randn(3, DISC.size, dtype=torch.complex64)
    turned = quarter_turn(coefficients, DISC)
    assert torch.equal(turned.abs().sort().values, coefficients.abs().sort().values)
    assert torch.equal(quarter_turn(turned, DISC, 3), coefficients)


def test_rotation_by_quarters_is_the_quarter_turn_but_for_the_kernel() -> None:
    images = images_to_disc(blobs(4), DISC)
    found = rotate_in_plane(images, torch.tensor([0.0, 90.0, 180.0, -90.0]), DISC)
    expected = torch.stack([quarter_turn(images[i], DISC, q) for i, q in enumerate((0, 1, 2, 3))])
    assert (similarity(found, expected) > 0.998).all()


def test_rotation_is_that_of_scipy_and_keeps_the_power() -> None:
    images = blobs(4)
    found = rotate_in_plane(images_to_disc(images, DISC), GENERIC, DISC)
    odd = np.pad(images.numpy(), ((0, 0), (0, 1), (0, 1)))
    expected = [
        rotate(image, -float(angle), reshape=False, order=3)[:-1, :-1]
        for image, angle in zip(odd, GENERIC, strict=True)
    ]
    wanted = images_to_disc(torch.from_numpy(np.stack(expected)), DISC)
    assert (similarity(found, wanted) > 0.98).all()
    power = found.abs().square().sum(-1) / wanted.abs().square().sum(-1)
    torch.testing.assert_close(power, torch.ones(4), rtol=0, atol=0.05)


def test_rotated_noise_keeps_its_variance() -> None:
    noise = images_to_disc(torch.randn(200, 32, 32), DISC)
    turned = rotate_in_plane(noise, 360 * torch.rand(200), DISC)
    ratio = DISC.shell_mean(turned.abs().square()).mean(0)[1:]
    assert ((ratio > 0.8) & (ratio < 1.1)).all()


def test_rotation_and_back_is_nearly_nothing() -> None:
    coefficients = images_to_disc(blobs(4), DISC)
    there = rotate_in_plane(coefficients, GENERIC, DISC)
    back = rotate_in_plane(there, -GENERIC, DISC)
    assert (similarity(back, coefficients) > 0.97).all()


def test_turned_poses_compose_with_scipy() -> None:
    poses = Poses(random_rotations(4), torch.randn(4, 2))
    turned = turn_poses(poses, GENERIC)
    about_z = Rotation.from_rotvec(GENERIC.numpy()[:, None] * [[0, 0, 1]], degrees=True)
    expected = about_z.as_matrix() @ poses.rotations.numpy()
    np.testing.assert_allclose(turned.rotations.numpy(), expected, atol=1e-6)
    shifts = np.pad(poses.shifts_angstrom.numpy(), ((0, 0), (0, 1)))
    np.testing.assert_allclose(
        turned.shifts_angstrom.numpy(), about_z.apply(shifts)[:, :2], atol=1e-6
    )


def test_turned_ctf_is_the_ctf_at_turned_frequencies() -> None:
    ctf = random_ctf(1)
    found = turn_ctf(ctf, torch.tensor([35.0])).evaluate(DISC.cycles_per_pixel)
    back = DISC.cycles_per_pixel @ plane_rotation(torch.tensor(35.0))
    torch.testing.assert_close(found, ctf.evaluate(back), rtol=0, atol=1e-3)
    assert not torch.allclose(found, ctf.evaluate(DISC.cycles_per_pixel), atol=1e-2)


def test_in_plane_angle_is_minus_psi() -> None:
    angles = torch.tensor([[10.0, 30.0, 77.0], [-150.0, 160.0, -3.0], [80.0, 90.0, 170.0]])
    found = in_plane_degrees(Poses.from_relion(angles, torch.zeros(3, 2)).rotations)
    torch.testing.assert_close(found, -angles[:, 2], rtol=0, atol=1e-3)


@pytest.mark.parametrize("tilt", [0.0, 180.0])
def test_in_plane_angle_at_a_pole_is_that_of_no_rot(tilt: float) -> None:
    angles = torch.tensor([[0.0, tilt, 40.0], [0.0, tilt, -170.0]])
    found = in_plane_degrees(Poses.from_relion(angles, torch.zeros(2, 2)).rotations)
    torch.testing.assert_close(found, -angles[:, 2], rtol=0, atol=1e-3)


@pytest.mark.parametrize("tilt", [0.0, 1e-4, 0.2, 90.0, 179.9, 180.0])
def test_in_plane_angle_follows_turns(tilt: float) -> None:
    start = torch.tensor([[20.0, tilt, 50.0]]).repeat(4, 1)
    poses = Poses.from_relion(start, torch.zeros(4, 2))
    before, after = (in_plane_degrees(p.rotations) for p in (poses, turn_poses(poses, GENERIC)))
    difference = (after - before - GENERIC + 180) % 360 - 180
    assert difference.abs().max() < 0.02
