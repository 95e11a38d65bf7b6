"""What the encoder is fed, and what moving a particle does to it."""

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import pytest
import torch

from builders import random_ctf, random_rotations
from cryolatent.data import Evidence
from cryolatent.data.moves import rot90_particle, rotate_particle, shift_image, shift_particle
from cryolatent.models import FourierFeatures
from cryolatent.models.posteriors.features import aligned
from cryolatent.physics import (
    FourierDisc,
    Poses,
    disc_to_images,
    images_to_disc,
    shift_phases,
    slice_volume,
    soft_sphere,
    volume_to_fourier,
)

DISC, COUNT = FourierDisc(32, 12), 5
POWER = torch.linspace(4, 1, DISC.radius + 1)
Move = Callable[[Evidence, FourierDisc], Evidence]
MOVES: dict[str, tuple[Move, float]] = {
    "shift": (lambda e, d: shift_particle(e, d, torch.tensor([1.0, -2.5])), 1e-4),
    "quarter turn": (rot90_particle, 1e-4),
    "three quarter turns": (lambda e, d: rot90_particle(e, d, 3), 1e-4),
    "any turn": (lambda e, d: rotate_particle(e, d, torch.linspace(20, 300, COUNT)), 0.3),
}


@pytest.fixture
def evidence() -> Evidence:
    """Projections of a blob within the middle of the box, displaced, seen through a CTF."""
    volume = torch.randn(32, 32, 32) * soft_sphere(32, 1.0, 8.0, 4.0)
    poses, ctf = Poses(random_rotations(COUNT), 3 * torch.randn(COUNT, 2)), random_ctf(COUNT)
    shifts = poses.shifts_angstrom / ctf.pixel_size_angstrom[:, None]
    images = slice_volume(volume_to_fourier(volume), poses.rotations, DISC)
    seen = images * shift_phases(DISC, shifts) * ctf.evaluate(DISC.cycles_per_pixel)
    return Evidence(seen, poses, ctf, torch.arange(len(seen)))


def change(frame: Literal["raw", "aligned"], evidence: Evidence, moved: Evidence) -> float:
    features = FourierFeatures(DISC, POWER, frame)
    before, after = features(evidence), features(moved)
    return float((after - before).norm() / before.norm())


def test_raw_features_by_hand(evidence: Evidence) -> None:
    features = FourierFeatures(DISC, POWER)
    found = features(evidence)
    assert found.shape == (COUNT, features.size)
    assert evidence.ctf is not None
    sign = evidence.ctf.evaluate(DISC.cycles_per_pixel)[3, 7].sign()
    value = 2**0.5 * sign * evidence.images[3, 7] / POWER[DISC.shells[7]] ** 0.5
    torch.testing.assert_close(found[3, 14:16], torch.view_as_real(value))


@pytest.mark.parametrize("name", MOVES)
def test_aligned_features_do_not_change_with_the_pose_and_raw_ones_do(
    name: str, evidence: Evidence
) -> None:
    move, tolerance = MOVES[name]
    moved = move(evidence, DISC)
    assert change("aligned", evidence, moved) < tolerance
    assert change("raw", evidence, moved) > 3 * max(tolerance, 0.1)


def test_aligned_features_change_when_the_pose_does_not_say_so(evidence: Evidence) -> None:
    moved = shift_image(evidence, DISC, torch.tensor([2.0, 0.0]))
    assert change("aligned", evidence, moved) > 0.3


@pytest.mark.parametrize("psi", [0.0, 90.0, -130.0])
def test_alignment_undoes_psi_and_the_shift(psi: float) -> None:
    """A bar along x, turned and displaced by hand, comes back along x."""
    bar = torch.zeros(32, 32)
    bar[15:18, 10:23] = 1
    upright = Poses.from_relion(torch.tensor([[0.0, 60.0, 0.0]]), torch.zeros(1, 2))
    start = Evidence(
        images_to_disc(bar[None], DISC), upright, random_ctf(1), torch.zeros(1, dtype=torch.long)
    )
    moved = rotate_particle(start, DISC, torch.tensor([-psi]))
    moved = shift_particle(moved, DISC, torch.tensor([[2.0, -3.0]]))
    assert moved.poses is not None
    expected = Poses.from_relion(torch.tensor([[0.0, 60.0, psi]]), torch.zeros(1, 2))
    torch.testing.assert_close(moved.poses.rotations, expected.rotations)
    back = disc_to_images(aligned(moved, DISC).images, DISC)[0]
    again = disc_to_images(start.images, DISC)[0]
    assert torch.corrcoef(torch.stack([back.flatten(), again.flatten()]))[0, 1] > 0.95


@pytest.mark.parametrize("lacking", [{"poses": None}, {"ctf": None}, {"poses": None, "ctf": None}])
def test_evidence_without_pose_or_ctf_is_not_aligned(lacking: dict, evidence: Evidence) -> None:
    bare = replace(evidence, **lacking)
    raw, frame = (FourierFeatures(DISC, POWER, f) for f in ("raw", "aligned"))
    assert torch.equal(frame(bare), raw(bare))
