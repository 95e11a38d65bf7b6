"""Seven real EMPIAR-10076 particles, correlated with a map of the same complex."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from cryolatent.physics import (
    CTF,
    FourierDisc,
    Poses,
    images_to_disc,
    shift_phases,
    slice_volume,
    volume_to_fourier,
)

pytestmark = pytest.mark.shared_data

PUBLISHED = [0.262, 0.169, 0.139, 0.299, 0.260, 0.370, 0.293]


@dataclass(frozen=True)
class Conventions:
    volume: torch.Tensor
    poses: Poses
    ctf: CTF
    bright_images: torch.Tensor


@pytest.fixture(scope="module")
def correct(shared_data: Path) -> Conventions:
    with np.load(shared_data / "empiar10076_real7_64.npz") as data:
        pixel, box = float(data["apix"]), data["images"].shape[-1]
        optics = torch.from_numpy(data["ctf"])[:, 2:]
        return Conventions(
            torch.from_numpy(data["ref_map"]),
            Poses(torch.from_numpy(data["R"]), -torch.from_numpy(data["trans_frac"]) * box * pixel),
            CTF(*optics.T, torch.full((len(optics),), pixel)),
            -torch.from_numpy(data["images"]),
        )


def correlations(c: Conventions) -> list[float]:
    disc = FourierDisc(64, 31)
    pixel = float(c.ctf.pixel_size_angstrom[0])
    slices = slice_volume(volume_to_fourier(c.volume), c.poses.rotations, disc)
    slices = slices * shift_phases(disc, c.poses.shifts_angstrom / pixel)
    slices = slices * c.ctf.evaluate(disc.cycles_per_pixel)
    period = pixel / disc.cycles_per_pixel.norm(dim=-1)
    band = (period >= 18) & (period <= 250)
    a, b = slices[:, band], images_to_disc(c.bright_images, disc)[:, band]
    return ((a * b.conj()).real.sum(-1) / (a.norm(dim=-1) * b.norm(dim=-1))).tolist()


def test_all_seven_correlations_are_those_published(correct):
    assert correlations(correct) == pytest.approx(PUBLISHED, abs=0.01)


def transposed_rotation(c: Conventions) -> Conventions:
    return replace(c, poses=replace(c.poses, rotations=c.poses.rotations.mT))


def opposite_shift(c: Conventions) -> Conventions:
    return replace(c, poses=replace(c.poses, shifts_angstrom=-c.poses.shifts_angstrom))


def swapped_shift_axes(c: Conventions) -> Conventions:
    return replace(c, poses=replace(c.poses, shifts_angstrom=c.poses.shifts_angstrom.flip(-1)))


def swapped_volume_axes(c: Conventions) -> Conventions:
    return replace(c, volume=c.volume.permute(2, 1, 0))


def dark_particles(c: Conventions) -> Conventions:
    return replace(c, bright_images=-c.bright_images)


def overfocus(c: Conventions) -> Conventions:
    u, v = c.ctf.defocus_u_angstrom, c.ctf.defocus_v_angstrom
    return replace(c, ctf=replace(c.ctf, defocus_u_angstrom=-u, defocus_v_angstrom=-v))


@pytest.mark.parametrize(
    "wrong",
    [
        transposed_rotation,
        opposite_shift,
        swapped_shift_axes,
        swapped_volume_axes,
        dark_particles,
        overfocus,
    ],
)
def test_wrong_conventions_do_not_correlate(correct, wrong):
    assert np.mean(correlations(wrong(correct))) <= 0.05
