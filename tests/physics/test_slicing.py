"""Compiled slices and backprojection against PyTorch, the wrapped-grid slices, and adjointness."""

import pytest
import torch

from builders import random_rotations
from cryolatent.physics import (
    FourierDisc,
    FourierLattice,
    Interpolation,
    insert_slices,
    slice_lattice,
    slice_volume,
    volume_to_fourier,
)
from cryolatent.physics.slicing import reference_insert_slices, reference_slice_lattice

DISC = FourierDisc(16, 5)
LATTICE = FourierLattice(DISC)
BOTH = pytest.mark.parametrize("interpolation", list(Interpolation))


def random_values(components: int = 3) -> torch.Tensor:
    return torch.randn(LATTICE.size, components, dtype=torch.complex64)


@BOTH
def test_compiled_slices_equal_the_reference(interpolation):
    values, rotations = random_values(), random_rotations(20)
    found = slice_lattice(values, rotations, LATTICE, interpolation)
    expected = reference_slice_lattice(values, rotations, LATTICE, interpolation)
    differs = (found - expected).abs().amax(-1) > 1e-4
    # a point halfway between two voxels may go to either
    assert differs.float().mean() < (2e-3 if interpolation is Interpolation.NEAREST else 1e-9)


@BOTH
def test_compiled_backprojection_equals_the_reference(interpolation):
    rotations, slices = random_rotations(5), torch.randn(5, DISC.size, 2, dtype=torch.complex64)
    found = insert_slices(slices, rotations, LATTICE, interpolation)
    expected = reference_insert_slices(slices, rotations, LATTICE, interpolation)
    differs = (found - expected).abs().amax(-1) > 1e-4
    allowed = 4 if interpolation is Interpolation.NEAREST else 0
    assert differs.sum() <= allowed


@BOTH
def test_backprojection_is_the_adjoint(interpolation):
    values, rotations = random_values(), random_rotations(7)
    slices = torch.randn(7, DISC.size, 3, dtype=torch.complex64)
    forward = slice_lattice(values, rotations, LATTICE, interpolation)
    backward = insert_slices(slices, rotations, LATTICE, interpolation)
    left = (forward.conj() * slices).real.double().sum()
    right = (values.conj() * backward).real.double().sum()
    torch.testing.assert_close(left, right, rtol=1e-4, atol=1e-2)


@BOTH
def test_gradient_is_that_of_the_reference(interpolation):
    rotations, target = random_rotations(4), torch.randn(4, DISC.size, 2, dtype=torch.complex64)
    gradients = []
    for function in (slice_lattice, reference_slice_lattice):
        values = torch.ones(LATTICE.size, 2, dtype=torch.complex64, requires_grad=True)
        (
            function(values, rotations, LATTICE, interpolation) - target
        ).abs().square().sum().backward()
        gradients.append(values.grad)
    assert ((gradients[0] - gradients[1]).abs().amax(-1) > 1e-3).sum() <= 4


def test_threads_do_not_change_slices():
    values, rotations = random_values(), random_rotations(9)
    before = torch.get_num_threads()
    found = []
    for threads in (1, 3):
        torch.set_num_threads(threads)
        found.append(slice_lattice(values, rotations, LATTICE))
    torch.set_num_threads(before)
    assert torch.equal(*found)


@pytest.mark.parametrize("radius", [5, 7])
def test_lattice_of_a_volume_slices_like_the_whole_grid(radius):
    disc = FourierDisc(16, radius)
    lattice, volume = FourierLattice(disc), torch.randn(16, 16, 16)
    rotations = random_rotations(10)
    found = slice_lattice(lattice.from_volumes(volume[None]), rotations, lattice)[..., 0]
    expected = slice_volume(volume_to_fourier(volume), rotations, disc)
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-4)


@pytest.mark.parametrize("power", [0, 1, 2])
def test_volumes_survive_the_lattice(power):
    lattice = FourierLattice(FourierDisc(16, 7))
    smooth = torch.fft.rfftn(torch.randn(2, 16, 16, 16), dim=(1, 2, 3))
    axis = torch.fft.fftfreq(16, 1 / 16).abs()
    low = (axis[:, None, None] <= 4) & (axis[:, None] <= 4) & (axis[:9] <= 4)
    volumes = torch.fft.irfftn(smooth * low, dim=(1, 2, 3))
    values = lattice.from_volumes(volumes, 0)
    again = lattice.to_volumes(values, 0)
    # the lattice ends one voxel beyond the last shell; what the zero-padding spread there is lost
    torch.testing.assert_close(again, volumes, rtol=0, atol=0.05)
    ratio = lattice.to_volumes(values, power) / again
    centre = ratio[:, 8, 8, 8]
    torch.testing.assert_close(centre, torch.ones_like(centre))
    assert (ratio[:, 0, 8, 8] > 1.01).all() == (power > 0)


def test_field_and_lattice_are_inverse():
    field = torch.randn(2, *(LATTICE.side,) * 3)
    values = LATTICE.from_field(field)
    torch.testing.assert_close(
        LATTICE.from_field(LATTICE.to_field(values)), values, rtol=0, atol=1e-5
    )


def test_fold_adds_the_members_of_each_pair():
    values = torch.zeros(LATTICE.size, 1, dtype=torch.complex64)
    cube = values.view(*LATTICE.shape, 1)
    reach = LATTICE.reach
    cube[reach + 2, reach - 1, 0] = 1 + 2j
    cube[reach + 2, reach - 1, 3] = 5j
    folded = LATTICE.fold(values).view(*LATTICE.shape)
    assert folded[reach + 2, reach - 1, 0] == 1 + 2j
    assert folded[reach - 2, reach + 1, 0] == 1 - 2j
    assert folded[reach + 2, reach - 1, 3] == 5j
    assert folded[reach - 2, reach + 1, 3] == 0
