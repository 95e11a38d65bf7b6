"""Moved evidence: as numpy moves pixels, and as the image model predicts."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from builders import random_ctf, random_rotations
from cryolatent.data import Evidence
from cryolatent.data.moves import (
    rot90_image,
    rot90_particle,
    rotate_image,
    rotate_particle,
    shift_image,
    shift_particle,
)
from cryolatent.physics import (
    CTF,
    FourierDisc,
    Poses,
    disc_to_images,
    images_to_disc,
    shift_phases,
    slice_volume,
    soft_sphere,
    volume_to_fourier,
)

DISC, COUNT = FourierDisc(32, 12), 6


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(1).normal(size=(COUNT, 32, 32)).astype(np.float32)


def seen(pixels: np.ndarray) -> Evidence:
    images = images_to_disc(torch.from_numpy(pixels.copy()), DISC)
    return Evidence(images, random_poses(), astigmatic(), torch.arange(len(images)))


def random_poses() -> Poses:
    return Poses(random_rotations(COUNT), 6 * torch.randn(COUNT, 2))


def astigmatic() -> CTF:
    ctf = random_ctf(COUNT)
    return replace(ctf, defocus_v_angstrom=ctf.defocus_u_angstrom - 3000)


def predicted(transform: torch.Tensor, poses: Poses | None, ctf: CTF | None) -> Evidence:
    assert poses is not None
    assert ctf is not None
    shifts = poses.shifts_angstrom / ctf.pixel_size_angstrom[:, None]
    images = slice_volume(transform, poses.rotations, DISC) * shift_phases(DISC, shifts)
    filtered = images * ctf.evaluate(DISC.cycles_per_pixel)
    return Evidence(filtered, poses, ctf, torch.arange(len(images)))


@pytest.fixture
def transform() -> torch.Tensor:
    volume = torch.randn(32, 32, 32) * soft_sphere(32, 1.0, 8.0, 4.0)
    return volume_to_fourier(volume)


def errors(found: Evidence, expected: Evidence) -> torch.Tensor:
    difference = (found.images - expected.images).abs().square().sum(-1)
    return (difference / expected.images.abs().square().sum(-1)).sqrt()


@pytest.mark.parametrize(("x", "y"), [(1, 0), (0, -3), (5, 2)])
def test_shifted_image_is_numpys_roll(pixels: np.ndarray, x: int, y: int) -> None:
    evidence = seen(pixels)
    found = shift_image(evidence, DISC, torch.tensor([float(x), float(y)]))
    expected = seen(np.roll(pixels, (y, x), axis=(1, 2))).images
    torch.testing.assert_close(found.images, expected, rtol=0, atol=2e-5)
    assert found.poses is evidence.poses
    assert found.ctf is evidence.ctf


def test_turned_image_is_numpys_clockwise_rot90(pixels: np.ndarray) -> None:
    evidence = seen(pixels)
    found = rot90_image(evidence, DISC)
    expected = seen(np.rot90(pixels, -1, axes=(1, 2))).images
    torch.testing.assert_close(found.images, expected, rtol=0, atol=2e-5)
    assert found.poses is evidence.poses
    assert found.ctf is evidence.ctf


@pytest.mark.parametrize("pixels", [(1.0, 0.0), (-2.3, 0.7)])
def test_shifted_particle_is_what_its_pose_predicts(
    transform: torch.Tensor, pixels: tuple[float, float]
) -> None:
    evidence = predicted(transform, random_poses(), astigmatic())
    moved = shift_particle(evidence, DISC, torch.tensor(pixels))
    assert errors(moved, predicted(transform, moved.poses, moved.ctf)).max() < 2e-5
    assert errors(moved, evidence).min() > 0.1


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_turned_particle_is_what_its_pose_and_ctf_predict(
    transform: torch.Tensor, quarters: int
) -> None:
    evidence = predicted(transform, random_poses(), astigmatic())
    moved = rot90_particle(evidence, DISC, quarters)
    assert errors(moved, predicted(transform, moved.poses, moved.ctf)).max() < 1e-4
    if quarters % 2:
        unturned = predicted(transform, moved.poses, evidence.ctf)
        assert errors(moved, unturned).median() > 0.1


def test_rotated_particle_is_nearly_what_its_pose_and_ctf_predict(transform: torch.Tensor) -> None:
    evidence = predicted(transform, random_poses(), astigmatic())
    degrees = torch.tensor([25.0, 45.0, -60.0, 133.0, 200.0, 0.0])
    moved = rotate_particle(evidence, DISC, degrees)
    error = errors(moved, predicted(transform, moved.poses, moved.ctf))
    assert error.max() < 0.25
    unturned = predicted(transform, moved.poses, evidence.ctf)
    assert (errors(moved, unturned) > 2 * error)[1:4].all()


def test_rotated_image_keeps_pose_and_ctf(pixels: np.ndarray) -> None:
    evidence = seen(pixels)
    moved = rotate_image(evidence, DISC, torch.full((COUNT,), 20.0))
    assert moved.poses is evidence.poses
    assert moved.ctf is evidence.ctf
    assert errors(moved, evidence).min() > 0.1


def test_evidence_without_pose_or_ctf_moves_its_image(pixels: np.ndarray) -> None:
    bare = replace(seen(pixels), poses=None, ctf=None)
    right = torch.tensor([1.0, 0.0])
    assert torch.equal(
        shift_particle(bare, DISC, right).images, shift_image(bare, DISC, right).images
    )
    moved = rot90_particle(bare, DISC)
    assert moved.poses is None
    assert moved.ctf is None
    with pytest.raises(ValueError, match="pixel size"):
        shift_particle(replace(seen(pixels), ctf=None), DISC, right)


def test_what_lies_beyond_the_disc_moves_along(pixels):
    """Disc and the rest together are the moved pixels."""
    images = torch.from_numpy(pixels)
    own = seen(pixels)
    whole = replace(own, beyond=images - disc_to_images(own.images, DISC))
    shift = torch.tensor([3.0, -2.0])
    ring = torch.roll(images, (-2, 3), dims=(-2, -1))
    quarter = torch.roll(torch.rot90(images, -1, dims=(-2, -1)), 1, dims=-1)
    for moved, expected in (
        (shift_image(whole, DISC, shift), ring),
        (shift_particle(whole, DISC, shift), ring),
        (rot90_image(whole, DISC), torch.rot90(images, -1, dims=(-2, -1))),
        (rot90_particle(whole, DISC), quarter),
    ):
        assert moved.beyond is not None
        found = disc_to_images(moved.images, DISC) + moved.beyond
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
