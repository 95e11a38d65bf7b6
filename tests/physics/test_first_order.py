"""Derivatives of slices by pose, against finite moves of volumes known in closed form."""

import pytest
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from builders import clear_rotations
from cryolatent.physics import (
    SHIFTS,
    TURNS,
    FourierDisc,
    FourierLattice,
    Interpolation,
    pack,
    perturbed_products,
    shift_phases,
    slice_lattice,
    slice_products,
    tangents,
)
from cryolatent.physics.first_order import reference_perturbed_products

DISC = FourierDisc(16, 5)
LATTICE = FourierLattice(DISC)
CENTRES = torch.tensor([[0.11, -0.05, 0.07], [-0.1, 0.04, 0.02], [0.0, -0.09, -0.12]]).double()
WIDTH = 0.12
"""In boxes."""


def transform(frequency: Tensor) -> Tensor:
    """Three Gaussians off the centre."""
    envelope = torch.exp(-2 * torch.pi**2 * WIDTH**2 * frequency.square().sum(-1))
    phase = -2 * torch.pi * frequency @ CENTRES.T
    return envelope * torch.polar(torch.ones_like(phase), phase).sum(-1)


def at_voxels() -> Tensor:
    return transform(LATTICE.coordinates.double()).to(torch.complex64) * LATTICE.inside


def rotation(vector: Tensor) -> Tensor:
    return torch.from_numpy(Rotation.from_rotvec(vector.numpy()).as_matrix())


def points(rotations: Tensor) -> Tensor:
    flat = torch.cat([DISC.coordinates, torch.zeros(DISC.size, 1)], dim=1).double()
    return flat @ rotations.double()


def test_tangents_are_slopes_under_finite_turns() -> None:
    found = tangents(at_voxels()[:, None], LATTICE)
    torch.testing.assert_close(found[:, 0], at_voxels())
    inside = LATTICE.frequency < DISC.radius
    q, step = LATTICE.coordinates.double(), 1e-4
    for axis in range(3):
        turn = rotation(step * torch.eye(3).double()[axis])
        # turning points by +step about the axis, against turning them back
        slope = (transform(q @ turn.T) - transform(q @ turn)) / (2 * step)
        expected = slope.to(torch.complex64)[inside]
        error = (found[inside, 1 + axis] - expected).abs().max()
        assert error < 0.01 * expected.abs().max(), axis


CUBE = torch.from_numpy(Rotation.create_group("O").as_matrix())


def slopes(rotations: Tensor) -> Tensor:
    """``h`` of every observation, as inner products with unit images read it."""
    unit = torch.eye(DISC.size, dtype=torch.complex64)
    ones = torch.ones(DISC.size, DISC.size), torch.ones(DISC.size)
    found = []
    for r in rotations.float():
        turned = r.expand(DISC.size, 3, 3).contiguous()
        tangent = tangents(at_voxels()[:, None], LATTICE)
        parts = [
            perturbed_products(tangent[:, :1], tangent, image, *ones, turned, LATTICE).pull[:, 0]
            for image in (unit, 1j * unit)
        ]
        found.append(torch.complex(*parts))
    return torch.stack(found)


def test_slopes_are_those_of_slices_at_finite_moves() -> None:
    """Rotations that take voxels to voxels, so that nothing is interpolated."""
    rotations = CUBE[[0, 3, 7, 11, 20]]
    found, step = slopes(rotations), 1e-4
    for b in range(3):
        w = step * torch.eye(3).double()[b]
        ahead, behind = (transform(points(rotation(-s * w) @ rotations)) for s in (1, -1))
        expected = ((ahead - behind) / (2 * step)).to(torch.complex64)
        error = (found[..., TURNS][..., b] - expected).abs().max()
        assert error < 0.01 * expected.abs().max(), b
    clean = transform(points(rotations))
    for b in range(2):
        move = step * torch.eye(2).double()[b]
        phases = shift_phases(DISC, torch.stack([move, -move]))
        expected = clean * (phases[0] - phases[1]) / (2 * step)
        error = (found[..., SHIFTS][..., b] - expected).abs().max()
        assert error < 1e-3 * expected.abs().max(), b


def test_every_component_may_have_derivatives_of_its_own() -> None:
    count, components = 12, 3
    rotations = clear_rotations(count, LATTICE)
    fields = torch.randn(components, *(LATTICE.side,) * 3)
    values = LATTICE.from_field(fields) * LATTICE.side**1.5
    images = torch.randn(count, DISC.size, dtype=torch.complex64)
    weights, gains = torch.rand(count, DISC.size), 0.1 + torch.rand(DISC.size)
    given = images, weights, gains, rotations, LATTICE
    tangent = tangents(values, LATTICE)
    both = [
        products(values, tangent, *given, independent=True)
        for products in (perturbed_products, reference_perturbed_products)
    ]
    for c in range(components):
        one = values[:, c : c + 1].contiguous()
        alone = perturbed_products(one, tangents(one, LATTICE), *given)
        for found in both:
            for name in ("gram", "inner", "cross", "own", "pull"):
                column = getattr(found, name)[:, c : c + 1]
                torch.testing.assert_close(
                    column, getattr(alone, name), rtol=1e-4, atol=2e-2, msg=name
                )


@pytest.mark.parametrize("independent", [False, True])
def test_products_are_those_of_slices(independent: bool) -> None:
    count, components = 12, 3
    rotations = clear_rotations(count, LATTICE)
    fields = torch.randn(components + 1, *(LATTICE.side,) * 3)
    both = LATTICE.from_field(fields) * LATTICE.side**1.5
    values, tangent = both[:, :components], tangents(both[:, components:], LATTICE)
    images = torch.randn(count, DISC.size, dtype=torch.complex64)
    weights, gains = torch.rand(count, DISC.size), 0.1 + torch.rand(DISC.size)
    case = values.contiguous(), tangent, images, weights, gains, rotations, LATTICE
    found = perturbed_products(*case, independent=independent)
    reference = reference_perturbed_products(*case, independent=independent)
    for name in ("gram", "inner", "cross", "own", "pull"):
        torch.testing.assert_close(
            getattr(found, name), getattr(reference, name), rtol=1e-4, atol=2e-2, msg=name
        )
    gram, inner = slice_products(
        case[0], images, weights, gains, rotations, LATTICE, independent=independent
    )
    torch.testing.assert_close(found.gram, gram, rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(found.inner, inner, rtol=1e-4, atol=1e-3)
    # and written out once more
    nearest = Interpolation.NEAREST
    slices = slice_lattice(tangent, rotations, LATTICE, nearest)
    turns = torch.einsum("nka,nba->nkb", slices[..., 1:], rotations.to(slices.dtype))
    shifts = slices[..., :1] * (-2j * torch.pi * DISC.cycles_per_pixel)
    h = torch.cat([turns, shifts], dim=-1)
    w = (weights * gains).to(h.dtype)
    own = torch.einsum("nkb,nk,nkd->nbd", h.conj(), w, h).real
    torch.testing.assert_close(pack(found.own[:, 0]), pack(own), rtol=1e-4, atol=2e-2)


def test_cropping_undoes_growing() -> None:
    smaller = FourierLattice(FourierDisc(16, 3))
    values = torch.randn(smaller.size, 2, dtype=torch.complex64) * smaller.inside[:, None]
    grown = LATTICE.grown_from(values, smaller)
    torch.testing.assert_close(LATTICE.cropped(grown, smaller), values)
