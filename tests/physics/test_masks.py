"""Masks against balls of known size, and against the molecule that they should cover."""

import numpy as np
import pytest
import torch

from cryolatent.physics import blur, soft_sphere, solvent_mask
from cryolatent.simulate.density import density_map
from cryolatent.simulate.molecule import load_molecule

BOX, PIXEL = 48, 4.0


def distance() -> torch.Tensor:
    axis = PIXEL * (torch.arange(BOX) - BOX // 2)
    return (axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2).float().sqrt()


def ball(radius: float) -> torch.Tensor:
    return (distance() <= radius).float()


def ball_volume(radius: float) -> float:
    return 4 / 3 * np.pi * radius**3


def test_soft_sphere_worked_by_hand():
    mask = soft_sphere(BOX, PIXEL, radius_angstrom=40.0, edge_angstrom=16.0)
    row = mask[BOX // 2, BOX // 2, BOX // 2 :]
    # 40 Å are ten voxels; the edge is a quarter down at 44 Å, half at 48 Å, gone at 56 Å
    assert row[:11].eq(1).all()
    assert row[11] == pytest.approx((1 + 0.5**0.5) / 2)
    assert row[12] == pytest.approx(0.5)
    assert row[14:].eq(0).all()
    torch.testing.assert_close(mask, mask.flip(0).roll(1, 0))
    torch.testing.assert_close(mask, mask.permute(2, 0, 1))


def test_sphere_without_edge_is_a_step():
    mask = soft_sphere(BOX, PIXEL, radius_angstrom=40.0, edge_angstrom=0.0)
    assert set(mask.unique().tolist()) == {0.0, 1.0}
    assert float(mask.sum()) * PIXEL**3 == pytest.approx(ball_volume(40), rel=0.02)


@pytest.mark.parametrize("radius", [30.0, 55.0])
def test_mask_of_a_ball_covers_it_and_reaches_as_far_as_said(radius):
    mask = solvent_mask(ball(radius), PIXEL, extend_angstrom=8.0, edge_angstrom=12.0)
    away = distance()
    assert mask[away <= radius].min() == 1
    # the blur to 15 Å moves the threshold outwards by a few Å, and distances count whole voxels
    assert mask[away > radius + 8 + 12 + PIXEL + 4].max() == 0
    volume = float((mask > 0.5).sum()) * PIXEL**3
    inner, outer = (ball_volume(radius + 8 + 6 + d) for d in (-PIXEL, PIXEL + 4))
    assert inner < volume < outer


def test_mask_falls_along_every_ray():
    mask = solvent_mask(ball(40.0), PIXEL)
    row = mask[BOX // 2, BOX // 2, BOX // 2 :]
    assert (row.diff() <= 0).all()
    assert ((mask > 0) & (mask < 1)).any()
    assert (mask >= 0).all()
    assert (mask <= 1).all()


def test_wider_margins_make_larger_masks():
    volume = ball(40.0)
    sizes = [
        float(solvent_mask(volume, PIXEL, extend_angstrom=extend, edge_angstrom=edge).sum())
        for extend, edge in ((4.0, 4.0), (12.0, 4.0), (12.0, 12.0))
    ]
    assert sizes[0] < sizes[1] < sizes[2]


def test_distances_are_in_angstrom():
    """The same voxels at half the pixel size: a margin of 8 Å is twice as many voxels."""
    options = {"resolution_angstrom": 1.0, "edge_angstrom": 0.0}
    coarse = solvent_mask(ball(40.0), PIXEL, extend_angstrom=8.0, **options)
    fine = solvent_mask(ball(40.0), PIXEL / 2, extend_angstrom=4.0, **options)
    assert torch.equal(coarse, fine)


def test_specks_are_left_out_and_holes_filled():
    volume = ball(55.0) - ball(35.0)  # the hole is wider than the mask's margins
    volume[4, 4, 4] = 5
    mask = solvent_mask(volume, PIXEL, resolution_angstrom=1.0)
    assert mask[4, 4, 4] == 0
    assert mask[BOX // 2, BOX // 2, BOX // 2] == 1


def test_separate_parts_of_like_size_are_kept():
    volume = ball(30.0).roll(12, 2) + ball(25.0).roll(-12, 2)
    mask = solvent_mask(volume, PIXEL)
    assert mask[volume > 0].min() == 1


def test_threshold_can_be_given():
    volume = ball(30.0) + 9 * ball(15.0)
    whole = solvent_mask(volume, PIXEL, threshold=0.4)
    core = solvent_mask(volume, PIXEL, threshold=5.0)
    assert whole[volume > 0].min() == 1
    assert core.sum() < whole.sum()
    with pytest.raises(ValueError, match="above the threshold"):
        solvent_mask(volume, PIXEL, threshold=11.0)


@pytest.mark.parametrize(
    "volume", [torch.zeros(16, 16, 16), torch.ones(16, 16, 16), torch.randn(16, 16, 16)]
)
def test_map_without_a_molecule_is_an_error(volume):
    with pytest.raises(ValueError, match="stands out from the solvent"):
        solvent_mask(volume, 8.0)


def test_map_that_is_not_finite_is_an_error():
    volume = ball(40.0)
    volume[0, 0, 0] = torch.nan
    with pytest.raises(ValueError, match="not finite"):
        solvent_mask(volume, PIXEL)


def test_blur_halves_a_wave_of_the_resolution():
    x = PIXEL * torch.arange(BOX).double()
    wave = torch.cos(2 * torch.pi * x / 16).expand(BOX, BOX, BOX)
    torch.testing.assert_close(blur(wave, PIXEL, 16.0), wave / 2)


@pytest.mark.parametrize(("box", "pixel_size", "noise"), [(32, 9.0, 0.0), (64, 4.5, 1.0)])
def test_mask_of_a_consensus_covers_every_state(box, pixel_size, noise):
    molecule = load_molecule("6zu5")
    states = [
        density_map(
            molecule.positions_angstrom[present],
            molecule.electrons[present],
            box=box,
            pixel_size_angstrom=pixel_size,
            sigma_angstrom=molecule.blob_sigma_angstrom,
        )
        for present in molecule.states.values()
    ]
    volumes = torch.from_numpy(np.stack(states)).float()
    consensus = volumes.mean(0)
    consensus = consensus + noise * consensus.std() * torch.randn(consensus.shape)
    mask = solvent_mask(consensus, pixel_size)
    power = volumes.square().sum(dim=(1, 2, 3))
    assert ((mask * volumes).square().sum(dim=(1, 2, 3)) / power > 0.99).all()
    assert mask.mean() < 0.25
