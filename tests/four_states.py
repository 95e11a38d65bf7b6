"""Four states, or one, under wrong poses, and models of halves that know the mean volume."""

from dataclasses import dataclass
from math import radians
from pathlib import Path

import numpy as np
import torch

from cryolatent.data import ParticleStack, open_particles
from cryolatent.models import ExactGaussian, FourierGaussian, GenerativeModel, SubspaceDecoder
from cryolatent.models.decoders.coefficients import Linear
from cryolatent.models.nuisances import Nuisances, PoseErrors
from cryolatent.models.system import System
from cryolatent.physics import Interpolation
from cryolatent.sessions.crossread import Half
from cryolatent.simulate.config import SimulateConfig
from cryolatent.simulate.stack import simulate
from cryolatent.simulate.truth import Truth


@dataclass(frozen=True)
class Four:
    """Four states under wrong poses, and halves that know the mean volume."""

    stack: ParticleStack
    truth: Truth
    z: np.ndarray
    halves: tuple[Half, Half]


def made(folder: Path, known: float = 1.0, **options: object) -> Four:
    """`known` is the share of its amplitude that halves know of the mean volume."""
    usual = {"particles": 500, "box": 24, "pixel_size": 12.0, "seed": 7, "angle_error": 3.0}
    config = SimulateConfig.model_validate(usual | options)
    truth = simulate(config, folder)
    stack = open_particles(folder / "particles.star")
    disc, z = stack.disc, np.eye(len(truth.volumes))[truth.state]
    mean = torch.einsum("k,kzyx->zyx", torch.from_numpy(z.mean(0)).float(), truth.volumes)
    flat, noise = torch.ones(disc.radius + 1), truth.noise_spectrum[: disc.radius + 1].clone()
    noise[0] = noise[1]
    decoder = SubspaceDecoder(disc, Linear(0), flat, interpolation=Interpolation.NEAREST)
    decoder.set_volumes(known * mean[None])
    width = radians(config.angle_error)
    doubt = Nuisances(PoseErrors(width, width, 1e-3))
    model = GenerativeModel(decoder, FourierGaussian(disc, noise, flat, doubt))
    one = System(model, ExactGaussian(0))
    first, second = stack.split(0)
    halves = [
        Half(other.numpy(), stack.select(own), stack.select(other), one, one)
        for own, other in ((first, second), (second, first))
    ]
    return Four(stack, truth, z, (halves[0], halves[1]))
