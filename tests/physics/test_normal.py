"""Compiled normal equations against plain PyTorch on nearest-neighbour slices."""

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from builders import clear_rotations
from cryolatent.physics import (
    FourierDisc,
    FourierLattice,
    Interpolation,
    NormalEquations,
    apply_normal,
    insert_slices,
    pack,
    residual_power,
    slice_lattice,
    slice_products,
    unpack,
)

DISC = FourierDisc(16, 5)
LATTICE = FourierLattice(DISC)
OBSERVATIONS, COMPONENTS = 12, 3
BOTH = pytest.mark.parametrize("independent", [False, True])


@dataclass(frozen=True)
class Case:
    """Random observations and components; the components are transforms of real fields."""

    values: Tensor
    images: Tensor
    weights: Tensor
    gains: Tensor
    second: Tensor
    first: Tensor
    rotations: Tensor

    def moments(self, independent: bool) -> tuple[Tensor, Tensor]:
        diagonal = self.second.diagonal(dim1=-2, dim2=-1).contiguous()
        return diagonal if independent else pack(self.second), self.first

    def slices(self) -> Tensor:
        return slice_lattice(self.values, self.rotations, LATTICE, Interpolation.NEAREST)


@pytest.fixture
def case() -> Case:
    field = torch.randn(COMPONENTS, *(LATTICE.side,) * 3)
    root = torch.randn(OBSERVATIONS, COMPONENTS, COMPONENTS)
    return Case(
        LATTICE.from_field(field) * LATTICE.side**1.5,
        torch.randn(OBSERVATIONS, DISC.size, dtype=torch.complex64),
        torch.rand(OBSERVATIONS, DISC.size),
        0.1 + torch.rand(DISC.size),
        root @ root.mT,
        torch.randn(OBSERVATIONS, COMPONENTS),
        clear_rotations(OBSERVATIONS, LATTICE),
    )


def products(case: Case, independent: bool) -> tuple[Tensor, Tensor]:
    return slice_products(
        case.values,
        case.images,
        case.weights,
        case.gains,
        case.rotations,
        LATTICE,
        independent=independent,
    )


def equations(case: Case, independent: bool, chunks: int = 1) -> tuple[Tensor, Tensor]:
    sums = NormalEquations(LATTICE, COMPONENTS, independent=independent)
    second, first = case.moments(independent)
    for rows in torch.arange(OBSERVATIONS).split(OBSERVATIONS // chunks):
        sums.insert(
            case.images[rows],
            case.weights[rows],
            case.gains,
            (second[rows], first[rows]),
            case.rotations[rows],
        )
    return sums.total()


@BOTH
def test_products_are_those_of_the_slices(case: Case, independent: bool) -> None:
    slices = case.slices()
    weight = case.gains * case.weights
    full = torch.einsum("nk,nkc,nkd->ncd", weight.to(slices), slices.conj(), slices).real
    expected = full.diagonal(dim1=-2, dim2=-1) if independent else pack(full)
    gram, inner = products(case, independent)
    torch.testing.assert_close(gram, expected, rtol=1e-4, atol=1e-3)
    cross = torch.einsum("nkc,nk->nc", slices.conj(), case.gains * case.images).real
    torch.testing.assert_close(inner, cross, rtol=1e-4, atol=1e-3)


@BOTH
def test_sums_are_backprojected_moments(case: Case, independent: bool) -> None:
    second, first = case.moments(independent)
    weight = (case.gains * case.weights)[..., None] * second[:, None]
    right = (case.gains * case.images)[..., None] * first[:, None]
    nearest = Interpolation.NEAREST
    expected = [
        LATTICE.fold(insert_slices(slices.to(torch.complex64), case.rotations, LATTICE, nearest))
        for slices in (weight, right)
    ]
    matrix, vector = equations(case, independent)
    torch.testing.assert_close(matrix, expected[0].real.contiguous(), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(vector, expected[1], rtol=1e-4, atol=1e-4)


@BOTH
def test_equations_hold_the_misfit_of_all_observations(case: Case, independent: bool) -> None:
    """Half the sum over the whole grid is the sum over coefficients, the plane kx = 0 included."""
    second, first = case.moments(independent)
    gram, inner = products(case, independent)
    squares = gram * second if independent else unpack(gram) * unpack(second)
    misfit = squares.sum() - 2 * (inner * first).sum()
    matrix, vector = equations(case, independent)
    bent = apply_normal(matrix, case.values)
    at_voxels = (case.values.conj() * (bent - 2 * vector)).real.sum(-1)
    total = 0.5 * (LATTICE.multiplicity * at_voxels).double().sum()
    torch.testing.assert_close(total.float(), misfit, rtol=1e-4, atol=1e-2)
    on_plane = LATTICE.multiplicity == 1
    assert matrix[on_plane].abs().sum() > 0


@BOTH
def test_chunks_add_up(case: Case, independent: bool) -> None:
    for whole, parts in zip(
        equations(case, independent), equations(case, independent, chunks=3), strict=True
    ):
        torch.testing.assert_close(parts, whole, rtol=1e-4, atol=1e-4)


@BOTH
def test_residual_power_is_that_of_the_slices(case: Case, independent: bool) -> None:
    slices, moments = case.slices(), case.moments(independent)
    square = case.second
    if independent:
        square = torch.diag_embed(square.diagonal(dim1=-2, dim2=-1))
    explained = torch.einsum("nkc,ncd,nkd->nk", slices.conj(), square.to(slices), slices).real
    cross = case.images.conj() * (slices @ case.first[..., None].to(slices))[..., 0]
    expected = DISC.shell_sum((case.weights * explained - 2 * cross.real).double().sum(0))
    found = residual_power(case.values, case.images, case.weights, moments, case.rotations, LATTICE)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-3)


@BOTH
def test_threads_change_nothing_but_rounding(case: Case, independent: bool) -> None:
    def everything(threads: int) -> list[Tensor]:
        torch.set_num_threads(threads)
        power = residual_power(
            case.values,
            case.images,
            case.weights,
            case.moments(independent),
            case.rotations,
            LATTICE,
        )
        return [*products(case, independent), *equations(case, independent), power]

    for one, several in zip(everything(1), everything(5), strict=True):
        torch.testing.assert_close(several, one, rtol=1e-4, atol=1e-4)


def test_apply_is_a_product_per_voxel() -> None:
    matrix, values = torch.randn(50, 6), torch.randn(50, 3, dtype=torch.complex64)
    expected = (unpack(matrix).to(values) @ values[..., None])[..., 0]
    torch.testing.assert_close(apply_normal(matrix, values), expected)
    torch.testing.assert_close(apply_normal(matrix[:, :3], values), matrix[:, :3] * values)


def test_unpacked_matrices_are_what_was_packed() -> None:
    matrices = torch.randn(2, 4, 3, 3)
    matrices = matrices + matrices.mT
    assert pack(matrices).shape == (2, 4, 6)
    assert torch.equal(unpack(pack(matrices)), matrices)
    assert pack(torch.tensor([[1.0, 2.0], [2.0, 3.0]])).tolist() == [1, 2, 3]
