import pytest
import torch

from builders import DISC, FLAT, random_rotations, small_config
from cryolatent.data.source import Geometry
from cryolatent.models import Decoder, HartleyDecoder, MlpDecoder
from cryolatent.models.decoders import mlp
from cryolatent.models.decoders.encodings import Coordinates, GaussianEncoding, GeometricEncoding
from cryolatent.models.layers import PlainMlp
from cryolatent.models.registry import DECODERS
from cryolatent.models.setting import Setting
from cryolatent.physics import Poses, disc_to_images, images_to_disc

TURN_OVER = torch.diag(torch.tensor([-1.0, -1.0, 1.0]))


AMPLITUDE = torch.tensor([0.0, 2.0, 1.8, 1.6, 1.4, 1.2])
Z = torch.tensor([[0.3, -1.2]])
MODELS = {
    "fourier": lambda **options: MlpDecoder(DISC, 2, AMPLITUDE, width=16, layers=2, **options),
    "hartley": lambda **options: HartleyDecoder(DISC, 2, AMPLITUDE, width=16, layers=2, **options),
}
VARIANTS = {
    "as it is": dict,
    "gaussian": lambda: {"encoding": GaussianEncoding(DISC.box, 0)},
    "coordinates": lambda: {"encoding": Coordinates(DISC.box)},
    "plain": lambda: {"hidden": PlainMlp},
}


def decoder() -> MlpDecoder:
    return MlpDecoder(DISC, 2, AMPLITUDE, width=16, layers=2)


@pytest.fixture(params=MODELS)
def output(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(params=VARIANTS)
def model(output: str, request: pytest.FixtureRequest) -> Decoder:
    return MODELS[output](**VARIANTS[request.param]())


def slices(model: Decoder, rotations: torch.Tensor) -> torch.Tensor:
    shifts = torch.zeros(len(rotations), 2)
    return model.slices(Z.expand(len(rotations), 2), Poses(rotations, shifts))


def test_opposite_frequencies_are_conjugate(model: Decoder) -> None:
    rotations = torch.cat([random_rotations(20), torch.eye(3)[None]])
    torch.testing.assert_close(
        slices(model, rotations), slices(model, TURN_OVER @ rotations).conj()
    )


def test_slices_and_volume_are_the_same_function(model: Decoder) -> None:
    projection = model.volume(Z)[0].sum(dim=0)
    expected = slices(model, torch.eye(3)[None])[0]
    assert expected.abs().max() > 0.01
    torch.testing.assert_close(images_to_disc(projection, DISC), expected, atol=1e-4, rtol=1e-4)


def test_slice_along_x_is_the_projection_along_x(model: Decoder) -> None:
    about_y = torch.tensor([[0.0, 0.0, -1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
    image = disc_to_images(slices(model, about_y[None]), DISC)[0]
    # the image's x axis samples minus z: reflect about the centre voxel
    expected = model.volume(Z)[0].sum(dim=2).T.flip(-1).roll(1, dims=-1)
    torch.testing.assert_close(image, expected, atol=1e-4, rtol=1e-4)


def test_latent_changes_the_volume(model: Decoder) -> None:
    first, second = model.volume(torch.tensor([[0.0, 0.0], [1.0, 1.0]]))
    assert (first - second).abs().max() > 1e-3


def blob(points: torch.Tensor) -> torch.Tensor:
    """The transform of a Gaussian blob at voxel (1, -2, 3) of the centre."""
    moved = points @ torch.tensor([1.0, -2.0, 3.0]) * (-2 * torch.pi / DISC.box)
    return torch.polar(torch.exp(-points.square().sum(-1) / 20), moved)


def test_known_transform_passes_through_either_output(
    output: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def evaluate(points: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        value = blob(points)
        return (
            torch.view_as_real(value)
            if output == "fourier"
            else (value.real - value.imag)[..., None]
        )

    model = MODELS[output]()
    monkeypatch.setattr(model, "_evaluate", evaluate)
    rotations = random_rotations(5)
    expected = AMPLITUDE[DISC.shells] * blob(DISC.coordinates @ rotations[:, :2])
    torch.testing.assert_close(slices(model, rotations), expected)
    z, y, x = torch.unravel_index(model.volume(Z)[0].argmax(), (16, 16, 16))
    assert (int(x) - 8, int(y) - 8, int(z) - 8) == (1, -2, 3)


def test_hartley_network_is_asked_on_both_sides() -> None:
    """Any function of k gives a real volume, also one that no half-space was told."""
    model = MODELS["hartley"]()
    model._evaluate = lambda points, z: points.sum(-1, keepdim=True) ** 3 + 2
    values = slices(model, torch.eye(3)[None])[0]
    odd = DISC.coordinates.sum(-1) ** 3
    expected = AMPLITUDE[DISC.shells] * torch.complex(torch.full_like(odd, 2.0), -odd)
    torch.testing.assert_close(values, expected)


def test_random_features_are_normal_fixed_by_the_seed_and_saved() -> None:
    first, again, other = (GaussianEncoding(64, seed) for seed in (1, 1, 2))
    assert torch.equal(first.frequencies, again.frequencies)
    assert not torch.equal(first.frequencies, other.frequencies)
    assert float(first.frequencies.std()) == pytest.approx(0.25, rel=0.15)
    points = torch.randn(7, 3)
    phases = points @ first.frequencies.T
    torch.testing.assert_close(first(points), torch.cat([phases.sin(), phases.cos()], -1))
    assert first(points).shape[1] == first.size == GeometricEncoding(64).size
    other.load_state_dict(first.state_dict())
    assert torch.equal(other(points), first(points))


def test_coordinates_reach_one_at_nyquist() -> None:
    assert Coordinates(16)(torch.tensor([[8.0, -8.0, 2.0]])).tolist() == [[1.0, -1.0, 0.25]]


def test_plain_layers_add_nothing() -> None:
    network = PlainMlp(5, 3)
    x = expected = torch.randn(4, 5)
    for layer in network:
        expected = torch.relu(expected @ layer.weight.T + layer.bias)
    torch.testing.assert_close(network(x), expected)
    with torch.no_grad():
        network[0].weight.zero_()
        network[0].bias.zero_()
    assert torch.equal(network[0](x), torch.zeros(4, 5))


@pytest.mark.parametrize(
    ("options", "kind", "encoding", "hidden"),
    [
        ({}, MlpDecoder, "GeometricEncoding", "ResidualMlp"),
        ({"decoder_encoding": "gaussian"}, MlpDecoder, "GaussianEncoding", "ResidualMlp"),
        ({"decoder_encoding": "none"}, MlpDecoder, "Coordinates", "ResidualMlp"),
        ({"decoder_residual": False}, MlpDecoder, "GeometricEncoding", "PlainMlp"),
        ({"decoder_output": "hartley"}, HartleyDecoder, "GeometricEncoding", "ResidualMlp"),
    ],
)
def test_options_choose_the_network(options: dict, kind: type, encoding: str, hidden: str) -> None:
    setting = Setting(Geometry(DISC.box, DISC.radius), 3, 2, statistics=FLAT)
    made = DECODERS.build(small_config("table", **options).decoder, setting)
    assert type(made) is kind
    assert (type(made.encode).__name__, type(made.hidden).__name__) == (encoding, hidden)


def plainly(model: MlpDecoder, points: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
    """The network as its formula says it."""
    box = model.disc.box
    steps = torch.arange(box // 2) / (box // 2 - 1)
    phases = points[..., None] * torch.pi * (2 / box) ** steps
    encoded = torch.cat([phases.sin().flatten(-2), phases.cos().flatten(-2)], dim=-1)
    x = torch.relu(model.from_point(encoded) + model.from_latent(z)[:, None])
    for layer in model.hidden.layers:
        x = torch.relu(x + x @ layer.weight.T + layer.bias)
    return model.output(x)


def gradients(model: MlpDecoder, values: torch.Tensor, z: torch.Tensor) -> list[torch.Tensor]:
    weights = torch.linspace(-1, 1, values.numel()).reshape(values.shape)
    return list(torch.autograd.grad((weights * values).sum(), [z, *model.parameters()]))


@pytest.mark.parametrize("points_at_once", [1, 100, 2048])
def test_network_and_its_gradient_are_those_of_the_formula(
    points_at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mlp, "POINTS_AT_ONCE", points_at_once)
    model, points = decoder(), 8 * torch.rand(5, 40, 3) - 4
    z = torch.randn(5, 2, requires_grad=True)
    values, expected = model._evaluate(points, z), plainly(model, points, z)
    torch.testing.assert_close(values, expected, atol=1e-5, rtol=1e-5)
    pairs = zip(gradients(model, values, z), gradients(model, expected, z), strict=True)
    for found, wanted in pairs:
        torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)


def test_half_precision_comes_close_and_leaves_weights_alone() -> None:
    exact, half = decoder(), decoder()
    half.load_state_dict(exact.state_dict())
    half.precision = torch.bfloat16
    points, z = 8 * torch.rand(5, 40, 3) - 4, torch.randn(5, 2, requires_grad=True)
    found, wanted = half._evaluate(points, z), exact._evaluate(points, z)
    assert found.dtype == torch.float32
    assert 0 < (found - wanted).norm() / wanted.norm() < 0.02
    for a, b in zip(gradients(half, found, z), gradients(exact, wanted, z), strict=True):
        assert a.dtype == torch.float32
        assert (a - b).norm() / b.norm() < 0.1
