"""What a run's posterior says of particles: their evidence as it is, changed, or simulated."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from cryolatent.data import Batch, Evidence, Source
from cryolatent.errors import NonFiniteError
from cryolatent.models.distributions import Distribution, from_columns
from cryolatent.models.drawn import drawn
from cryolatent.models.likelihood import FourierGaussian
from cryolatent.models.system import System
from cryolatent.train.memory import flushing_denormals
from cryolatent.train.randomness import seeded

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


@dataclass(frozen=True)
class Reread:
    """Particles of known latents, as a posterior reads them.

    Args:
        index: Whose poses and transfer functions they have.
        z: Their latents, drawn from the prior.
        found: What the posterior says of their images.
    """

    index: Int[Tensor, " n"]
    z: Float[Tensor, "n zdim"]
    found: Distribution


NO_POSES = "There are no particles with poses to simulate images at."
OF_TWINS = "The posterior was shown other images than the particles' own (a twin)."


def cannot_reread(system: System, stack: Source) -> str:
    """Why images cannot be simulated and read again.

    Args:
        system: With a posterior that reads images.
        stack: The particles, as the posterior is shown them.

    Returns:
        A sentence; empty if they can.
    """
    if not isinstance(system.model.likelihood, FourierGaussian):
        return NO_POSES
    return OF_TWINS if stack.twin is not None else ""


@flushing_denormals()
@torch.no_grad()
def reread(system: System, stack: Source, index: Int[Tensor, " n"], seed: int) -> Reread:
    """Draw latents from the prior, images from the model, and read those.

    Poses, transfer functions and noise levels are those of real particles; errors of the poses and
    contrasts are drawn from what the model believes of them. So latents have nothing to do with
    any of these, and a posterior that is right is calibrated.

    Args:
        system: Decoder, likelihood and posterior; nothing of them changes.
        stack: The particles.
        index: Whose images are replaced.
        seed: Fixes all draws.

    Returns:
        Latents and posteriors.

    Raises:
        TypeError: If the model draws no images (`cannot_reread`).
    """
    latents, columns = [], []
    for number, part in enumerate(index.split(BATCH)):
        generator = seeded(seed, number, "reread")
        z = system.posterior.prior_sample(len(part), generator)
        batch = drawn(system.model, stack.batch(part), z, generator)
        latents.append(z)
        columns.append(system.posterior(batch, system.model).to_columns())
    joined = {name: torch.cat([rows[name] for rows in columns]) for name in columns[0]}
    return Reread(index, torch.cat(latents), from_columns(joined))
