"""Compiled filtering and insertion against the PyTorch formulas; density, folding and division."""

from dataclasses import replace

import pytest
import torch

from builders import random_ctf, random_rotations
from cryolatent.physics import (
    CTF,
    FourierDisc,
    FourierLattice,
    Interpolation,
    Poses,
    disc_to_images,
    fourier_shell_correlation,
    images_to_disc,
    shift_phases,
    slice_lattice,
)
from cryolatent.physics.backprojection import (
    Sums,
    even_density,
    filter_images,
    sphere_distance,
)
from cryolatent.physics.slicing import reference_insert_slices

BOTH = pytest.mark.parametrize("interpolation", list(Interpolation))


def with_aberrations(ctf: CTF) -> CTF:
    """B-factors, scales and even aberrations of a few radians at Nyquist (2 Å pixels)."""
    count = len(ctf)
    sizes = torch.tensor([1.0, *3 * [20.0], *5 * [400.0]])
    return replace(
        ctf,
        b_factor_angstrom2=50 * torch.rand(count),
        scale=0.5 + torch.rand(count),
        aberration=sizes * torch.randn(count, 9),
    )


def random_observations(count: int, box: int = 32, pixel_size: float = 2.0):
    ctf = random_ctf(count, pixel_size)
    ctf = replace(
        ctf,
        phase_shift_degrees=180 * torch.rand(count),
        defocus_v_angstrom=ctf.defocus_u_angstrom - 3000,
        amplitude_contrast=0.3 * torch.rand(count),
    )
    poses = Poses(random_rotations(count), 5 * torch.randn(count, 2))
    return torch.randn(count, box, box).numpy(), poses, ctf


@pytest.mark.parametrize("aberrant", [False, True])
@pytest.mark.parametrize(("box", "radius"), [(32, 15), (32, 7), (64, 31)])
def test_filtered_images_are_those_of_the_formulas(box, radius, aberrant):
    disc = FourierDisc(box, radius)
    pixels, poses, ctf = random_observations(6, box)
    if aberrant:
        ctf = with_aberrations(ctf)
    found = filter_images(pixels, poses, ctf, disc)
    images = images_to_disc(torch.from_numpy(pixels), disc)
    transfer = ctf.evaluate(disc.cycles_per_pixel)
    shifts = poses.shifts_angstrom / ctf.pixel_size_angstrom[:, None]
    expected = images * transfer * shift_phases(disc, shifts).conj()
    torch.testing.assert_close(torch.from_numpy(found.images), expected, rtol=0, atol=2e-3)
    torch.testing.assert_close(torch.from_numpy(found.weights), transfer**2, rtol=0, atol=1e-3)
    power = disc.shell_mean(images.abs().square()) * torch.bincount(disc.shells)
    torch.testing.assert_close(torch.from_numpy(found.power), power, rtol=1e-4, atol=1e-4)


def test_transfer_functions_of_high_defocus_stay_accurate():
    disc = FourierDisc(64, 31)
    pixels, poses, ctf = random_observations(3, 64, pixel_size=1.0)
    ctf = replace(ctf, defocus_u_angstrom=ctf.defocus_u_angstrom + 40_000)
    found = filter_images(pixels, poses, ctf, disc).weights
    given = {name: value.double() for name, value in vars(ctf).items() if value is not None}
    expected = type(ctf)(**given)
    expected = expected.evaluate(disc.cycles_per_pixel.double()).square().float()
    torch.testing.assert_close(torch.from_numpy(found), expected, rtol=0, atol=1e-3)


@BOTH
@pytest.mark.parametrize("radius", [5, 15])
def test_sums_are_those_of_the_reference(interpolation, radius):
    disc = FourierDisc(32, radius)
    lattice = FourierLattice(disc)
    pixels, poses, ctf = random_observations(9)
    filtered = filter_images(pixels, poses, ctf, disc)
    gains = torch.rand(9)
    sums = Sums.empty(lattice, interpolation)
    sums.add(filtered, poses, gains.numpy())
    both = torch.stack(
        [torch.from_numpy(filtered.images), torch.from_numpy(filtered.weights) + 0j], dim=-1
    )
    expected = reference_insert_slices(
        both * gains[:, None, None], poses.rotations, lattice, interpolation
    )
    # a weight is real, so its place among a pair does not matter; the sums' third column is it
    found = torch.from_numpy(sums.voxels)
    differs = (torch.complex(found[:, 0], found[:, 1]) - expected[:, 0]).abs() > 1e-3
    differs |= (found[:, 2] - expected[:, 1].real).abs() > 1e-3
    # a point halfway between two voxels may go to either
    assert differs.sum() <= (8 if interpolation is Interpolation.NEAREST else 0)


def test_threads_do_not_change_sums():
    disc = FourierDisc(32, 15)
    pixels, poses, ctf = random_observations(50)
    before = torch.get_num_threads()
    found = []
    for threads in (1, 2, 5):
        torch.set_num_threads(threads)
        sums = Sums.empty(FourierLattice(disc))
        sums.add(filter_images(pixels, poses, ctf, disc), poses, torch.ones(50).numpy())
        found.append(torch.from_numpy(sums.voxels))
    torch.set_num_threads(before)
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


def test_fold_makes_the_plane_of_pairs_hermitian():
    lattice = FourierLattice(FourierDisc(16, 7))
    sums = Sums.empty(lattice)
    cube = torch.from_numpy(sums.voxels).view(*lattice.shape, 3)
    reach = lattice.reach
    cube[reach + 2, reach - 1, 0] = torch.tensor([1.0, 2.0, 3.0])
    sums.fold()
    assert cube[reach + 2, reach - 1, 0].tolist() == [1, 2, 3]
    assert cube[reach - 2, reach + 1, 0].tolist() == [1, -2, 3]


def test_noise_free_slices_give_the_volume_back():
    disc = FourierDisc(32, 15)
    lattice = FourierLattice(disc)
    distance = sphere_distance(32)
    # smooth, so that nothing of it lies beyond the last shell
    low = torch.fft.ifftshift(torch.exp(-((distance / 5) ** 2)))
    truth = torch.fft.ifftn(torch.fft.fftn(torch.randn(32, 32, 32)) * low).real
    truth *= torch.exp(-((distance / 6) ** 2))
    rotations = random_rotations(1500)
    slices = slice_lattice(lattice.from_volumes(truth[None]), rotations, lattice)[..., 0]
    shifts = 3 * torch.randn(1500, 2)
    ctf = random_ctf(1500, 4.0)
    observed = slices * ctf.evaluate(disc.cycles_per_pixel)
    observed = observed * shift_phases(disc, shifts / 4.0)
    poses = Poses(rotations, shifts)
    sums = Sums.empty(lattice)
    filtered = filter_images(disc_to_images(observed, disc).numpy(), poses, ctf, disc)
    sums.add(filtered, poses, torch.ones(1500).numpy())
    found = sums.fold().solve()
    assert fourier_shell_correlation(found, truth)[1:14].min() > 0.99
    inside = distance < 10
    assert float((found * truth)[inside].sum() / truth[inside].square().sum()) == pytest.approx(
        1, abs=0.02
    )
    # a prior as strong as the density halves the map
    halved = sums.solve(sums.density())
    ratio = float((halved * found).sum() / found.square().sum())
    assert ratio == pytest.approx(0.5, abs=0.05)


def test_maps_have_no_corners_and_no_background():
    lattice = FourierLattice(FourierDisc(16, 7))
    sums = Sums.empty(lattice)
    pixels, poses, ctf = random_observations(200, 16)
    sums.add(filter_images(pixels, poses, ctf, lattice.disc), poses, torch.ones(200).numpy())
    volume = sums.fold().solve()
    distance = sphere_distance(16)
    assert volume[distance > 11.01].abs().max() == 0
    assert volume[distance <= 8].std() > 0


def test_even_density_counts_samples_alike():
    # two neighbouring voxels of very different density, in an even surrounding
    density = torch.ones(21, 21, 11)
    density[10, 10, 5], density[10, 10, 6] = 0.01, 3.0
    even = even_density(density)
    inner = (slice(5, 16), slice(5, 16), slice(2, 8))
    assert even[0:3, 5:16, 2:8].mean() < 1.01
    assert even[10, 10, 5] > 0.2
    assert even[10, 10, 6] < 2.5
    smoothed = even_density(torch.ones(21, 21, 11))[inner]
    torch.testing.assert_close(smoothed, torch.ones_like(smoothed))
