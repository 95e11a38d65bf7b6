"""Which coefficients a step compares: all, or fewer to save time."""

import math

import torch

from cryolatent.physics import ALL_COEFFICIENTS, CoefficientSubset, FourierDisc
from cryolatent.train.options import GradientOptions
from cryolatent.train.randomness import seeded


def subset_of_step(
    disc: FourierDisc, options: GradientOptions, seed: int, epoch: int, step: int
) -> CoefficientSubset:
    """The coefficients of a step: inside the shell that marching has reached, a random share.

    The share is drawn from seed and step, without replacement, and each coefficient stands for as
    many as make up all inside the shell: the expected likelihood is that of all.

    Args:
        disc: All coefficients.
        options: Share and marching.
        seed: Fixes the draws.
        epoch: Counted from zero.
        step: Steps made since the start.

    Returns:
        The coefficients, in the disc's order.
    """
    inside = torch.nonzero(disc.shells <= last_shell(disc.radius, options.marching, epoch))[:, 0]
    count = math.ceil(options.coefficient_fraction * len(inside))
    if count == disc.size:
        return ALL_COEFFICIENTS
    drawn = torch.randperm(len(inside), generator=seeded(seed, step, "coefficients"))[:count]
    return CoefficientSubset(inside[drawn.sort().values], len(inside) / count)


def last_shell(radius: int, marching: int, epoch: int) -> int:
    """The shell that frequency marching has reached: a quarter of all at first, growing evenly.

    Args:
        radius: Last shell of all.
        marching: Epochs until it is reached; 0 if there is no marching.
        epoch: Counted from zero.

    Returns:
        Last shell compared.
    """
    if epoch >= marching:
        return radius
    first = math.ceil(radius / 4)
    return first + (radius - first) * epoch // marching
