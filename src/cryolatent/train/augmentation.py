"""Random moves of what the posterior sees, so that an encoder learns to see past them."""

from dataclasses import replace

import torch

from cryolatent.data import Batch
from cryolatent.data.moves import rotate_particle, shift_particle
from cryolatent.physics import FourierDisc

SHIFT_SHARE = 0.03
"""Largest displacement along x and y, as a share of the box."""


def augment(batch: Batch, disc: FourierDisc, generator: torch.Generator) -> Batch:
    """Turn each observation of the evidence by any angle and displace it by a few pixels.

    Poses and transfer functions of the evidence are moved along; the likelihood's images are not
    touched.

    Args:
        batch: The particles.
        disc: The evidence's coefficients.
        generator: Source of randomness.

    Returns:
        The same particles, seen otherwise.
    """
    turn, right, down = torch.rand(3, len(batch.owner), generator=generator)
    evidence = rotate_particle(batch.evidence, disc, 360 * turn)
    pixels = SHIFT_SHARE * disc.box * (2 * torch.stack([right, down], dim=-1) - 1)
    return replace(batch, evidence=shift_particle(evidence, disc, pixels))
