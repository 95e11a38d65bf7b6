"""Point groups against RELION's, and against volumes that have them."""

import re
import subprocess

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from builders import random_rotations
from cryolatent.errors import InputError
from cryolatent.physics import (
    FourierDisc,
    slice_volume,
    symmetry_rotations,
    volume_to_fourier,
)
from cryolatent.simulate.density import density_map

ORDERS = {"C1": 1, "C2": 2, "C7": 7, "D1": 2, "D2": 4, "D7": 14, "T": 12, "O": 24} | {
    f"I{k}": 60 for k in ("", 1, 2, 3, 4)
}


def same_set(first: torch.Tensor, second: torch.Tensor, tolerance: float) -> bool:
    distance = (first[:, None] - second[None]).abs().amax(dim=(2, 3))
    return len(first) == len(second) and all(
        bool((distance.amin(dim) < tolerance).all()) for dim in (0, 1)
    )


@pytest.mark.parametrize(("name", "order"), ORDERS.items())
def test_rotations_form_a_group(name, order):
    group = symmetry_rotations(name)
    assert group.shape == (order, 3, 3)
    assert torch.equal(group[0], torch.eye(3))
    torch.testing.assert_close(group @ group.mT, torch.eye(3).expand_as(group))
    torch.testing.assert_close(torch.linalg.det(group), torch.ones(order))
    distance = (group[:, None] - group[None]).abs().amax(dim=(2, 3))
    assert (distance + torch.eye(order) > 0.1).all()
    for rotation in group:
        assert same_set(rotation @ group, group, 1e-5)


@pytest.mark.relion
@pytest.mark.parametrize("name", ["C1", "C3", "C4", "D2", "D3", "D5", "T", "O", "I"])
def test_groups_are_those_of_relion(name):
    check_against_relion(name)


@pytest.mark.relion
@pytest.mark.parametrize("name", ["I1", "I2", "I3", "I4"])
def test_icosahedral_settings_are_those_of_relion(name):
    check_against_relion(name)


def check_against_relion(name: str) -> None:
    command = ["relion_refine", "--sym", name, "--print_symmetry_ops"]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    blocks = re.split(r"R\(\d+\)=", text)[1:]
    theirs = [[float(number) for number in block.split()[:9]] for block in blocks]
    assert same_set(symmetry_rotations(name), torch.tensor(theirs).reshape(-1, 3, 3), 1e-4)


@pytest.mark.parametrize("name", ["c4", "i"])
def test_lower_case_is_understood(name):
    assert torch.equal(symmetry_rotations(name), symmetry_rotations(name.upper()))


@given(st.integers(1, 40))
def test_axis_of_a_cyclic_group_is_z(n):
    group = symmetry_rotations(f"C{n}")
    torch.testing.assert_close(group[:, 2], torch.tensor([[0.0, 0, 1]]).expand(n, 3))
    assert float(group[:, 0, 0].min()) >= -1 - 1e-6


@pytest.mark.parametrize("name", ["", "C0", "C", "D-2", "C1000", "X3", "I5", "TD", "C2 "])
def test_unknown_group_is_one_helpful_line(name):
    with pytest.raises(InputError) as caught:
        symmetry_rotations(name)
    assert str(caught.value).startswith(f"`symmetry`: found {name}; expected C1 to")
    assert caught.value.way_out


@pytest.mark.parametrize("name", ["C3", "D2", "T", "O", "I1", "I3"])
def test_symmetric_volume_looks_the_same_from_every_copy(name):
    group = symmetry_rotations(name)
    points = np.random.default_rng(0).uniform(-22, 22, (3, 3))
    copies = np.concatenate([points @ g.double().numpy().T for g in group])
    volume = density_map(
        copies, np.ones(len(copies)), box=32, pixel_size_angstrom=4.0, sigma_angstrom=6.0
    )
    transform = volume_to_fourier(torch.from_numpy(volume).float())
    disc, rotations = FourierDisc(32, 10), random_rotations(4)
    reference = slice_volume(transform, rotations, disc)
    error = [(slice_volume(transform, rotations @ g, disc) - reference).norm() for g in group]
    assert max(error) < 0.03 * reference.norm()
    wrong_side = slice_volume(transform, group[-1] @ rotations, disc)
    assert (wrong_side - reference).norm() > 2 * max(error)
