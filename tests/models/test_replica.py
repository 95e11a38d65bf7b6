"""Replicas: images that a model would have made, against the model's own predictions."""

from dataclasses import replace

import numpy as np
import torch

from builders import DISC, random_ctf, random_rotations, subspace_model
from cryolatent.data import Batch, Evidence
from cryolatent.models import SubspaceDecoder
from cryolatent.models.decoders.coefficients import Linear
from cryolatent.models.replica import Drawn, ReplicaImages
from cryolatent.physics import Interpolation, Poses, images_to_disc

COUNT = 6


def replica(**changes: object) -> tuple[ReplicaImages, torch.Tensor]:
    """Images of three particles of two observations, and what is expected of them."""
    model = subspace_model(Linear(2), size=3.0)
    decoder, likelihood = model.decoder, model.likelihood
    assert isinstance(decoder, SubspaceDecoder)
    decoder.interpolation = Interpolation.NEAREST
    rotations, ctf = random_rotations(COUNT), random_ctf(COUNT)
    poses = Poses(rotations, 5 * torch.randn(COUNT, 2))
    owner = torch.arange(COUNT) // 2
    weights = torch.tensor([[0.9, 0.5, -1.0], [1.1, 0.0, 2.0], [0.0, 0.0, 0.0]])
    noise = torch.linspace(1e-8, 2e-8, DISC.radius + 1)
    given = ReplicaImages(
        decoder.lattice,
        decoder.at_voxels().detach(),
        noise,
        torch.zeros_like(noise),
        Drawn(weights, torch.zeros(3), poses, owner),
        ctf,
        np.arange(COUNT),
    )
    blank = torch.zeros(COUNT, DISC.size, dtype=torch.complex64)
    evidence = Evidence(blank, poses, ctf, owner)
    batch = Batch(torch.arange(3), owner, blank, poses, ctf, evidence)
    slices = (decoder.components(poses) * weights[owner, None]).sum(-1)
    return replace(given, **changes), likelihood.predict(slices, batch).detach()


def test_images_without_noise_are_the_models_predictions() -> None:
    images, expected = replica()
    found = images_to_disc(torch.from_numpy(images.read(np.arange(COUNT))), DISC)
    assert float((found - expected).abs().max()) < 2e-3
    assert float(expected[:4].abs().max()) > 0.1
    assert float(expected[4:].abs().max()) == 0


def test_an_image_is_the_same_whenever_it_is_read() -> None:
    images, _ = replica(noise=torch.ones(DISC.radius + 1))
    every = images.read(np.arange(COUNT))
    few = images.select(np.array([4, 2]))
    # transforms of several images round differently from those of one
    assert np.abs(few.read(np.array([1, 0])) - every[[2, 4]]).max() < 1e-5
    assert not (every[4] == every[5]).any()
    assert (replace(images, seed=1).read(np.arange(2)) != every[:2]).any()
    assert images.fingerprint() != replace(images, seed=1).fingerprint()
    assert few.name(0) == "a replica, image 5"


def test_noise_and_shapeless_things_have_their_spectra() -> None:
    spectrum, noise = (
        torch.linspace(3.0, 6.0, DISC.radius + 1),
        torch.linspace(1.0, 2.0, DISC.radius + 1),
    )
    images, _ = replica(noise=noise, junk_spectrum=spectrum)
    many = 400
    drawn = Drawn(
        torch.zeros(2, 3),
        torch.tensor([0.0, 1.0]),
        images.drawn.poses[torch.zeros(2 * many).long()],
        torch.arange(2 * many) % 2,
    )
    ctf = images.ctf[torch.zeros(2 * many).long()]
    images = replace(images, drawn=drawn, ctf=ctf, rows=np.arange(2 * many))
    found = images_to_disc(torch.from_numpy(images.read(np.arange(2 * many))), DISC)
    power = found.abs().square()
    transfer = ctf[:1].evaluate(DISC.cycles_per_pixel).square()
    empty, junk = (DISC.shell_mean(power[side::2].mean(0))[1:] for side in (0, 1))
    expected = DISC.shell_mean(noise[DISC.shells] + (transfer * spectrum[DISC.shells])[0])[1:]
    assert torch.allclose(empty, noise[1:], rtol=0.06)
    assert torch.allclose(junk, expected, rtol=0.06)
