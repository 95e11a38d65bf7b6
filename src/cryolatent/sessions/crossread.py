"""Each half of the particles, read under a model of the other half."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int

from cryolatent.config.owners import belonging
from cryolatent.config.training import TrainConfig
from cryolatent.data import FilteredImages, ParticleStack
from cryolatent.models.prediction import Foretelling
from cryolatent.models.system import System
from cryolatent.runs.run import Run
from cryolatent.sessions.crossfit import NAMES
from cryolatent.sessions.systems import restore
from cryolatent.sessions.training import opened, trained
from cryolatent.sessions.unseen import at_levels
from cryolatent.train import Watch
from cryolatent.train.inference import infer

AT_ONCE = 256


@dataclass(frozen=True)
class Half:
    """Models of one half of the particles, and who may be read with them.

    Args:
        rows: Particles of the other half.
        own: The particles that the models were made of.
        other: Those of the other half, at the models' noise levels.
        system: A model of as many dimensions as this half supports.
        one: A model of one volume.
    """

    rows: Int[np.ndarray, " m"]
    own: ParticleStack
    other: ParticleStack
    system: System
    one: System

    @property
    def dimensions(self) -> int:
        """That this half supports."""
        return self.system.posterior.z_dim


@dataclass(frozen=True)
class HalfRead:
    """Particles of one half, as the other half's model sees them.

    Args:
        rows: Which particles.
        latents: Means of their latents, of as many dimensions as the other half supports.
        gain: How much better that model foretells unseen coefficients of them than a model of one
            volume of the same half does, in nats; zeros where it has no dimensions.
    """

    rows: Int[np.ndarray, " m"]
    latents: Float[np.ndarray, "m d"]
    gain: Float[np.ndarray, " m"]

    @property
    def dimensions(self) -> int:
        """Of the other half's model."""
        return self.latents.shape[1]


def half_models(
    stack: ParticleStack,
    config: TrainConfig,
    folder: Path,
    *,
    watch: Callable[[str], Watch] = lambda name: Watch(),
) -> tuple[Half, Half]:
    """Train exact models on each half of the particles; those that are finished are kept.

    Args:
        stack: All particles.
        config: Options of a run of them, which give how they are read.
        folder: Where the halves' runs belong.
        watch: Told of the progress of each training, by name.

    Returns:
        Both halves.

    Raises:
        InputError: If a folder holds a run of other particles or options, or something else.
    """
    first, second = stack.split(config.session.seed)
    halves = (first, second), (second, first)
    options, found = doubting(config), []
    alone = options.changed(posterior="categorical", states=1)
    for name, (own, other) in zip(NAMES, halves, strict=True):
        part = stack.select(own)

        def made(what: str, path: Path, options: TrainConfig, part: ParticleStack = part) -> Run:
            return trained(opened(path, options, part), path, options, part, watch(what))

        run = made(f"{name}: subspace", folder / name, options)
        system = one = restore(run)
        if system.posterior.z_dim:
            one = restore(made(f"{name}: one volume", folder / f"{name}-one", alone))
        shown = [at_levels(run, particles) for particles in (part, stack.select(other))]
        found.append(Half(other.numpy(), shown[0], shown[1], system, one))
    return found[0], found[1]


def cross_read(
    halves: tuple[Half, Half],
    seed: int = 0,
    *,
    watch: Callable[[str], Watch] = lambda name: Watch(),
) -> tuple[HalfRead, HalfRead]:
    """Read each half with the other half's models: nothing of a particle has entered them.

    Args:
        halves: The models.
        seed: Fixes samples.
        watch: Told of the progress of each reading, by name.

    Returns:
        Both halves.
    """
    read = []
    for name, half in zip(NAMES, halves, strict=True):
        latents = infer(half.system, half.other, seed, watch(f"{name}: the other half"))
        means = latents.distribution.mean.numpy().astype(float)
        gain = np.zeros(len(half.rows))
        if half.dimensions:
            gain = _scores(half.system, half.other) - _scores(half.one, half.other)
        read.append(HalfRead(half.rows, means, gain))
    return read[0], read[1]


def doubting(config: TrainConfig) -> TrainConfig:
    """Options of an exact run of the same particles that doubts all of their inputs.

    Args:
        config: Any run's.

    Returns:
        How particles are read, and nothing of what the run itself believed or tried.
    """
    reading = config.data.model_dump(exclude_none=True)
    session = {"seed": config.session.seed, "device": config.session.device}
    return TrainConfig.of(belonging(reading | session | {"posterior": "exact"}))


def _scores(system: System, stack: ParticleStack) -> Float[np.ndarray, " n"]:
    foretelling = Foretelling(system)
    parts = torch.arange(len(stack)).split(AT_ONCE)
    images = (FilteredImages.read(stack, rows, foretelling.disc) for rows in parts)
    return torch.cat([foretelling.score(part) for part in images]).numpy()
