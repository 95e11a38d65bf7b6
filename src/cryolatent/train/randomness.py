"""Randomness that depends on seed and position alone, so that nothing of it needs saving."""

import numpy as np
import torch
from torch import Tensor


def epoch_order(particles: int, seed: int, epoch: int) -> Tensor:
    """The order in which an epoch visits the particles.

    Args:
        particles: Their number.
        seed: The run's seed.
        epoch: Counted from zero.

    Returns:
        A permutation.
    """
    return torch.randperm(particles, generator=seeded(seed, epoch, "order"))


def seeded(seed: int, count: int, purpose: str = "sample") -> torch.Generator:
    """A generator for one purpose at one moment, the same whenever it is asked for.

    Args:
        seed: The run's seed.
        count: Step, epoch or chunk.
        purpose: Keeps the streams apart.

    Returns:
        The generator.
    """
    entropy = [seed, count, int.from_bytes(purpose.encode(), "little")]
    state = np.random.SeedSequence(entropy).generate_state(2, np.uint32)
    return torch.Generator().manual_seed(int(state[0]) << 32 | int(state[1]))
