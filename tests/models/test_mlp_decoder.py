import pytest
import torch

from builders import DISC, random_rotations
from cryolatent.models import MlpDecoder
from cryolatent.models.decoders import mlp
from cryolatent.physics import Poses, disc_to_images, images_to_disc

TURN_OVER = torch.diag(torch.tensor([-1.0, -1.0, 1.0]))


def decoder() -> MlpDecoder:
    amplitude = torch.tensor([0.0, 2.0, 1.8, 1.6, 1.4, 1.2])
    return MlpDecoder(DISC, 2, amplitude, width=16, layers=2)


def slices(rotations: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
    shifts = torch.zeros(len(rotations), 2)
    return MODEL.slices(z.expand(len(rotations), 2), Poses(rotations, shifts))


MODEL = decoder()
Z = torch.tensor([[0.3, -1.2]])


def test_opposite_frequencies_are_conjugate() -> None:
    rotations = torch.cat([random_rotations(20), torch.eye(3)[None]])
    torch.testing.assert_close(slices(rotations, Z), slices(TURN_OVER @ rotations, Z).conj())


def test_slices_and_volume_are_the_same_function() -> None:
    projection = MODEL.volume(Z)[0].sum(dim=0)
    torch.testing.assert_close(
        images_to_disc(projection, DISC), slices(torch.eye(3)[None], Z)[0], atol=1e-4, rtol=1e-4
    )


def test_slice_along_x_is_the_projection_along_x() -> None:
    about_y = torch.tensor([[0.0, 0.0, -1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
    image = disc_to_images(slices(about_y[None], Z), DISC)[0]
    # the image's x axis samples minus z: reflect about the centre voxel
    expected = MODEL.volume(Z)[0].sum(dim=2).T.flip(-1).roll(1, dims=-1)
    torch.testing.assert_close(image, expected, atol=1e-4, rtol=1e-4)


def test_latent_changes_the_volume() -> None:
    first, second = MODEL.volume(torch.tensor([[0.0, 0.0], [1.0, 1.0]]))
    assert (first - second).abs().max() > 1e-3


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
