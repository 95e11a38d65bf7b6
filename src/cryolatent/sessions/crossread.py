"""Each half of the particles, read under a model of the other half."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int

from cryolatent.config.training import TrainConfig, belonging
from cryolatent.data import FilteredImages, ParticleStack
from cryolatent.models.prediction import Foretelling
from cryolatent.models.system import System
from cryolatent.sessions.crossfit import NAMES
from cryolatent.sessions.systems import restore
from cryolatent.sessions.training import opened, trained
from cryolatent.sessions.unseen import at_levels
from cryolatent.train import Watch
from cryolatent.train.inference import infer

AT_ONCE = 256


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


def cross_read(
    stack: ParticleStack,
    config: TrainConfig,
    folder: Path,
    *,
    watch: Callable[[str], Watch] = lambda name: Watch(),
) -> tuple[HalfRead, HalfRead]:
    """Train an exact model on each half of the particles, and read the other half with it.

    Nothing of a particle has entered the model that reads it. Halves that are finished are kept.

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
    read = []
    for name, (own, other) in zip(NAMES, halves, strict=True):
        options, part = doubting(config), stack.select(own)
        path = folder / name
        run = opened(path, options, part)
        run = trained(run, path, options, part, watch(f"{name}: subspace"))
        shown = at_levels(run, stack.select(other))
        system = restore(run)
        latents = infer(system, shown, config.session.seed, watch(f"{name}: the other half"))
        means = latents.distribution.mean.numpy().astype(float)
        gain = np.zeros(len(other))
        if means.shape[1]:
            alone = options.changed(posterior="categorical", states=1)
            path = folder / f"{name}-one"
            single = opened(path, alone, part)
            single = trained(single, path, alone, part, watch(f"{name}: one volume"))
            gain = _scores(system, shown) - _scores(restore(single), shown)
        read.append(HalfRead(other.numpy(), means, gain))
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
