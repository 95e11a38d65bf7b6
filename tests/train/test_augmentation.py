"""Augmentation moves what the posterior sees and nothing else."""

from dataclasses import replace
from pathlib import Path

import torch

from builders import DISC, random_batch, small_config, small_stack
from cryolatent.models import Encoder
from cryolatent.physics import in_plane_degrees
from cryolatent.sessions.systems import restore
from cryolatent.sessions.training import begin, train
from cryolatent.train import Watch, infer
from cryolatent.train.augmentation import SHIFT_SHARE, augment
from cryolatent.train.randomness import seeded


def test_likelihood_keeps_its_images_and_evidence_moves_with_its_pose() -> None:
    batch = random_batch(50, per_particle=2)
    moved = augment(batch, DISC, seeded(0, 0, "augment"))
    assert replace(moved, evidence=batch.evidence) == batch
    assert moved.poses is batch.poses
    assert moved.evidence.poses is not None
    assert moved.evidence.ctf is not None
    assert batch.poses is not None
    assert batch.ctf is not None
    before, after = (in_plane_degrees(p.rotations) for p in (batch.poses, moved.evidence.poses))
    turn = (after - before) % 360
    assert turn.min() < 30
    assert turn.max() > 330
    assert turn.unique().numel() > 90
    axis = moved.evidence.ctf.defocus_angle_degrees - batch.ctf.defocus_angle_degrees
    torch.testing.assert_close(axis, turn, rtol=0, atol=0.1)


def test_displacement_is_within_its_bounds() -> None:
    batch = random_batch(200)
    assert batch.poses is not None
    centred = replace(batch.poses, shifts_angstrom=torch.zeros(200, 2))
    batch = replace(batch, evidence=replace(batch.evidence, poses=centred))
    moved = augment(batch, DISC, seeded(0, 0, "augment")).evidence.poses
    assert moved is not None
    pixels = moved.shifts_angstrom / 4
    limit = SHIFT_SHARE * DISC.box
    assert 0.9 * limit < pixels.abs().max() <= limit
    assert pixels.mean().abs() < 0.2 * limit


def test_moves_are_drawn_from_seed_and_step() -> None:
    batch = random_batch(4)
    first, again, other = (
        augment(batch, DISC, seeded(3, step, "augment")).evidence.images for step in (5, 5, 6)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_training_sees_moved_evidence_and_reading_out_does_not(tmp_path: Path) -> None:
    stack = small_stack(tmp_path / "data")
    runs = {}
    for name, augmented in (("plain", False), ("moved", True)):
        config = small_config("encoder", epochs=1, augment=augmented)
        runs[name] = begin(tmp_path / name, config, stack, Watch())
        train(runs[name], stack)
    assert runs["plain"].entries()[0]["kl"] != runs["moved"].entries()[0]["kl"]
    system = restore(runs["moved"])
    assert isinstance(system.posterior, Encoder)
    with torch.no_grad():
        direct = system.posterior(stack.batch(torch.arange(40)), system.model).mean
    torch.testing.assert_close(direct, infer(system, stack, 0).distribution.mean)
