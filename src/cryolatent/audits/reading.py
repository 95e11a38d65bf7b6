"""Posterior means of a run's particles, with their evidence as it is or changed."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from cryolatent.data import Batch, Evidence, Source
from cryolatent.errors import NonFiniteError
from cryolatent.models.system import System

BATCH = 64
MOST = 2000
LABELLED = 10


def chosen_particles(count: int, seed: int) -> Int[Tensor, " n"]:
    """Particles to look at where all would be too many.

    Args:
        count: Number of particles.
        seed: Fixes the choice.

    Returns:
        The first ten, which the report numbers, and others at random, ascending; at most 2,000.
    """
    if count <= MOST:
        return torch.arange(count)
    generator = torch.Generator().manual_seed(seed)
    others = torch.randperm(count - LABELLED, generator=generator)[: MOST - LABELLED] + LABELLED
    return torch.cat([torch.arange(LABELLED), others.sort().values])


@torch.no_grad()
def posterior_means(
    system: System,
    stack: Source,
    index: Int[Tensor, " n"],
    change: Callable[[Evidence], Evidence],
) -> tuple[Float[np.ndarray, "n zdim"], Float[np.ndarray, "n zdim"]]:
    """Read the posterior from the evidence, and from the evidence changed.

    Args:
        system: Decoder, likelihood and posterior.
        stack: The particles.
        index: Those to read.
        change: Maps evidence to other evidence.

    Returns:
        Means before and after.

    Raises:
        NonFiniteError: If a mean is not finite.
    """
    rows = []
    for part in index.split(BATCH):
        batch = stack.batch(part)
        changed = replace(batch, evidence=change(batch.evidence))
        means = [system.posterior(each, system.model).mean for each in (batch, changed)]
        rows.append(torch.stack(means))
    both = torch.cat(rows, dim=1)
    bad = torch.nonzero(~both.isfinite().all(dim=0).all(dim=-1))
    if len(bad):
        name = stack.ids[int(index[int(bad[0, 0])])]
        raise NonFiniteError(f"the posterior of particle {name} is not finite.")
    before, after = both.double().numpy()
    return before, after


@torch.no_grad()
def reads_images(system: System, batch: Batch) -> bool:
    """Whether a posterior looks at the images that it is shown.

    Args:
        system: Decoder, likelihood and posterior.
        batch: Some particles.

    Returns:
        False if the negated images give the very same means.
    """
    negated = replace(batch.evidence, images=-batch.evidence.images)
    shown = (batch, replace(batch, evidence=negated))
    before, after = (system.posterior(each, system.model).mean for each in shown)
    return not torch.equal(before, after)
