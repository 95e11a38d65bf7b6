import torch

from builders import DISC, random_rotations
from cryolatent.models import MlpDecoder
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
