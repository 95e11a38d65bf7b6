"""Whether there are enough particles, seen from enough sides, to say anything."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from cryolatent.data.stack import ParticleStack

FEW = 500
"""Particles below which it is said that they are few."""

DIRECTIONS, SAMPLE = 400, 4000
NEAR = 0.05
"""A view fills the directions whose cosine with its axis is at most this."""

UNSEEN = 0.02
"""Share of directions that may be unseen without a word."""


def too_little(stack: ParticleStack) -> list[str]:
    """Say what a stack lacks.

    Args:
        stack: The particles.

    Returns:
        One sentence for each thing; none if nothing is amiss.
    """
    said = []
    if len(stack) < FEW:
        said.append(
            f"{len(stack)} particles are few: below about {FEW} the numbers of states and "
            "dimensions, and latents too, say more of the noise than of the molecule"
        )
    unseen = unseen_directions(stack.poses.rotations)
    if unseen > UNSEEN:
        said.append(
            f"the views leave {100 * unseen:.0f} % of all directions of Fourier space without "
            "data: maps are smeared along the missing ones, and differences there cannot be seen"
        )
    return said


def unseen_directions(rotations: Float[Tensor, "n 3 3"]) -> float:
    """The share of directions in Fourier space that no view's plane comes near.

    Args:
        rotations: Rotations of the images.

    Returns:
        0 if every direction is seen.
    """
    axes = rotations[:: max(1, len(rotations) // SAMPLE), 2].double()
    # points spread evenly over the half sphere, along a spiral
    number = np.arange(DIRECTIONS) + 0.5
    z, angle = 1 - number / DIRECTIONS, np.pi * (1 + 5**0.5) * number
    flat = np.sqrt(1 - z**2)
    spiral = torch.from_numpy(np.stack([flat * np.cos(angle), flat * np.sin(angle), z], axis=1))
    nearest = (spiral @ axes.T).abs().amin(1)
    return float((nearest > NEAR).double().mean())
