"""Plain PyTorch gives the compiled loops' numbers, and tensors lie where they are asked to."""

import pytest
import torch

from builders import clear_rotations
from cryolatent.physics import (
    FourierDisc,
    FourierLattice,
    NormalEquations,
    Poses,
    apply_normal,
    pack,
    residual_power,
    slice_products,
)
from cryolatent.physics import normal as operators
from cryolatent.physics.devices import device_named, on_device

META = torch.device("meta")
SHAPES = pytest.mark.parametrize(
    ("box", "shells", "components"), [(16, 5, 1), (16, 7, 3), (24, 9, 4)]
)
INDEPENDENT = pytest.mark.parametrize("independent", [False, True])


class Case:
    """Observations and components, away from ties between voxels."""

    def __init__(self, box: int, shells: int, components: int, independent: bool) -> None:
        self.lattice = FourierLattice(FourierDisc(box, shells))
        self.rotations = clear_rotations(6, self.lattice)
        n, k = len(self.rotations), self.lattice.disc.size
        self.values = torch.randn(self.lattice.size, components, dtype=torch.complex64)
        self.images = torch.randn(n, k, dtype=torch.complex64)
        self.weights, self.gains = torch.rand(n, k), torch.rand(k) + 0.5
        first = torch.randn(n, components)
        root = torch.randn(n, components, components)
        full = root @ root.mT
        second = full.diagonal(dim1=-2, dim2=-1) if independent else pack(full)
        self.moments = second.contiguous(), first


def close(found: torch.Tensor, expected: torch.Tensor) -> None:
    """To float rounding of sums over some hundred numbers of order one."""
    torch.testing.assert_close(found, expected, rtol=2e-4, atol=2e-4)


@SHAPES
@INDEPENDENT
def test_products_are_those_of_the_compiled_loops(
    box: int, shells: int, components: int, independent: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    c = Case(box, shells, components, independent)
    arguments = (c.values, c.images, c.weights, c.gains, c.rotations, c.lattice)
    compiled = slice_products(*arguments, independent=independent)
    for at_once in (2**25, 1):
        monkeypatch.setattr(operators, "AT_ONCE", at_once)
        plain = operators.reference_slice_products(*arguments, independent=independent)
        for a, b in zip(plain, compiled, strict=True):
            close(a, b)


@SHAPES
@INDEPENDENT
def test_normal_equations_are_those_of_the_compiled_loops(
    box: int, shells: int, components: int, independent: bool
) -> None:
    c = Case(box, shells, components, independent)
    compiled, plain = (
        NormalEquations(c.lattice, components, independent=independent) for _ in range(2)
    )
    arguments = (c.images, c.weights, c.gains, c.moments, c.rotations)
    for _ in range(2):
        compiled.insert(*arguments)
        plain._insert_tensors(*arguments)
    (matrix, vector), (a, b) = compiled.total(), plain.total()
    close(a, matrix)
    close(b, vector)
    close(operators.reference_apply_normal(matrix, c.values), apply_normal(matrix, c.values))


@SHAPES
@INDEPENDENT
def test_residuals_are_those_of_the_compiled_loops(
    box: int, shells: int, components: int, independent: bool
) -> None:
    c = Case(box, shells, components, independent)
    arguments = (c.values, c.images, c.weights, c.moments, c.rotations, c.lattice)
    compiled, plain = residual_power(*arguments), operators.reference_residual_power(*arguments)
    torch.testing.assert_close(plain, compiled, rtol=1e-4, atol=1e-3)


def test_disc_and_lattice_hold_their_tensors_where_they_are_asked_to() -> None:
    disc = FourierDisc(16, 5)
    there = disc.to(META)
    assert there is disc.to(META)
    assert there != disc
    assert there.to(disc.device) == disc
    for name in ("coordinates", "shells", "cycles_per_pixel"):
        assert getattr(there, name).device == META
        assert getattr(disc, name).device.type == "cpu"
    assert there.size == disc.size
    lattice = FourierLattice(disc).to(META)
    for name in ("frequency", "inside", "multiplicity"):
        assert getattr(lattice, name).device == META
    assert lattice == FourierLattice(there)


def test_records_move_whole() -> None:
    poses = Poses(torch.eye(3)[None], torch.zeros(1, 2))
    assert on_device(poses, torch.device("cpu")) is poses
    assert on_device(poses, META).rotations.device == META


def test_devices_have_names() -> None:
    assert device_named("cpu").type == "cpu"
    assert device_named("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="no cuda:3"):
            device_named("cuda:3")
