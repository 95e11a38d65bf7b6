"""Volumes weighted by functions of z: gradients, consistency, and the way through the lattice."""

from collections.abc import Callable

import pytest
import torch

from builders import DISC, random_rotations
from cryolatent.models import SubspaceDecoder
from cryolatent.models.decoders.coefficients import (
    CoefficientMap,
    Fourier,
    Linear,
    Network,
    Polynomial,
    Shares,
)
from cryolatent.physics import Interpolation, Poses, slice_lattice, soft_sphere

MAPS: dict[str, Callable[[], CoefficientMap]] = {
    "linear": lambda: Linear(2),
    "polynomial": lambda: Polynomial(2, degree=3),
    "fourier": lambda: Fourier(2),
    "network": lambda: Network(2, outputs=3, width=8),
    "shares": lambda: Shares(2),
}
BOTH = pytest.mark.parametrize("interpolation", list(Interpolation))
FLAT = torch.ones(DISC.radius + 1)


@pytest.fixture(params=MAPS)
def coefficients(request: pytest.FixtureRequest) -> CoefficientMap:
    return MAPS[request.param]()


def decoder_of(
    coefficients: CoefficientMap, interpolation: Interpolation = Interpolation.TRILINEAR
) -> SubspaceDecoder:
    decoder = SubspaceDecoder(DISC, coefficients, FLAT, interpolation=interpolation)
    box = DISC.box
    ball = soft_sphere(box, 1.0, 5.0, 2.0)
    decoder.set_volumes(torch.randn(coefficients.size, box, box, box) * ball)
    return decoder


def poses(count: int) -> Poses:
    return Poses(random_rotations(count), torch.zeros(count, 2))


@BOTH
def test_gradients_are_those_of_finite_differences(
    coefficients: CoefficientMap, interpolation: Interpolation
) -> None:
    decoder, where = decoder_of(coefficients, interpolation), poses(4)
    target = torch.randn(4, DISC.size, dtype=torch.complex64)

    def loss(z: torch.Tensor) -> torch.Tensor:
        return (decoder.slices(z, where) - target).abs().square().double().sum()

    z = torch.randn(4, 2, requires_grad=True)
    loss(z).backward()
    # small, because a network has kinks
    step = 1e-3
    z_way = torch.randn(4, 2)
    volume_way = torch.randn_like(decoder.volumes)
    with torch.no_grad():
        slope = (loss(z + step * z_way) - loss(z - step * z_way)) / (2 * step)
        torch.testing.assert_close((z.grad * z_way).sum().double(), slope, rtol=1e-2, atol=0.5)
        ends = []
        for sign in (1, -1):
            decoder.volumes.add_(sign * step * volume_way)
            ends.append(loss(z))
            decoder.volumes.sub_(sign * step * volume_way)
        slope = (ends[0] - ends[1]) / (2 * step)
        found = (decoder.volumes.grad * volume_way).sum().double()
        torch.testing.assert_close(found, slope, rtol=1e-2, atol=0.5)
        assert abs(slope) > 5


@BOTH
def test_slices_are_those_of_the_volume(
    coefficients: CoefficientMap, interpolation: Interpolation
) -> None:
    decoder, where, z = decoder_of(coefficients, interpolation), poses(5), torch.randn(5, 2)
    power = -1 if interpolation is Interpolation.NEAREST else 2
    values = decoder.lattice.from_volumes(decoder.volume(z), power)
    slices = slice_lattice(values, where.rotations, decoder.lattice, interpolation)
    expected = slices[torch.arange(5), :, torch.arange(5)]
    torch.testing.assert_close(decoder.slices(z, where), expected, rtol=1e-4, atol=1e-4)


def test_nearest_voxels_survive_their_volumes() -> None:
    """Expectation maximisation hands over voxels as volumes; the decoder must read them again."""
    decoder = decoder_of(Linear(2), Interpolation.NEAREST)
    lattice, ball = decoder.lattice, soft_sphere(DISC.box, 1.0, 5.0, 2.0)
    field = torch.randn(3, *(lattice.side,) * 3) * lattice.field_of(ball)
    falling = torch.exp(-0.5 * (lattice.frequency / 2.5) ** 2) * lattice.inside
    values = lattice.from_field(field) * falling[:, None]
    decoder.set_volumes(lattice.to_volumes(values, 1))
    where = poses(6)
    expected = slice_lattice(values, where.rotations, lattice, Interpolation.NEAREST)
    # what the last shell spreads beyond the box is lost
    error = (decoder.components(where) - expected).abs().square().mean().sqrt()
    assert error < 0.02 * expected.abs().square().mean().sqrt()


def test_kept_transform_follows_the_volumes() -> None:
    decoder, where, z = decoder_of(Linear(2)), poses(3), torch.randn(3, 2)
    with torch.no_grad():
        before = decoder.slices(z, where)
        assert torch.equal(decoder.slices(z, where), before)
        decoder.set_volumes(2 * decoder.volumes * decoder.scale)
        torch.testing.assert_close(decoder.slices(z, where), 2 * before)
        other = decoder_of(Linear(2))
        expected = other.slices(z, where)
        decoder.load_state_dict(other.state_dict())
        torch.testing.assert_close(decoder.slices(z, where), expected)


def test_set_volumes_are_those_of_the_unit_latents() -> None:
    decoder, volumes = decoder_of(Shares(3)), torch.randn(3, 16, 16, 16)
    decoder.set_volumes(volumes)
    torch.testing.assert_close(decoder.volume(torch.eye(3)), volumes)


def test_weights_are_those_of_their_definitions() -> None:
    z = torch.tensor([[1.0, 2.0]])
    assert Linear(2)(z).tolist() == [[1, 1, 2]]
    assert Shares(2)(z).tolist() == [[1, 2]]
    half = 0.5**0.5
    expected = torch.tensor([[1, 1, 2, half, 2 * half, 4 * half]])
    torch.testing.assert_close(Polynomial(2, degree=2)(z), expected)
    waves = Fourier(2, order=1)(z)
    # the period is 8: an eighth and a quarter of a turn
    torch.testing.assert_close(waves, torch.tensor([[1, half, 1, half, 0]]), rtol=0, atol=1e-6)
    for name, make in MAPS.items():
        assert make()(z).shape == (1, make().size), name
