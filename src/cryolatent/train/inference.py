"""Reading the posterior of every particle."""

import torch
from torch import Tensor

from cryolatent.data import Source
from cryolatent.errors import NonFiniteError
from cryolatent.models.beliefs import Beliefs
from cryolatent.models.distributions import from_columns
from cryolatent.models.latents import Latents
from cryolatent.models.system import System
from cryolatent.physics.devices import on_device
from cryolatent.train.memory import flushing_denormals
from cryolatent.train.progress import Watch
from cryolatent.train.randomness import seeded

BATCH = 64


@flushing_denormals()
@torch.no_grad()
def infer(
    system: System,
    stack: Source,
    seed: int,
    watch: Watch | None = None,
    *,
    samples: int = 1,
) -> Latents:
    """Read the posterior of every particle, and its evidence or a lower bound of it.

    Args:
        system: Trained parts.
        stack: The particles, as in training.
        seed: Fixes the posterior samples.
        watch: Told of the progress.
        samples: Number of posterior samples that the reconstruction term is a mean of.

    Returns:
        One row per particle.

    Raises:
        NonFiniteError: If something of a particle is not finite.
    """
    watch = watch or Watch()
    watch.stage("reading latents", len(stack))
    columns: list[dict[str, Tensor]] = []
    beliefs: list[Beliefs] = []
    for number, index in enumerate(torch.arange(len(stack)).split(BATCH)):
        batch = on_device(stack.batch(index), system.device)
        generator = seeded(seed, number, "evaluation")
        found = system.posterior.read(batch, system.model, generator, samples)
        parts = {"reconstruction": found.reconstruction, "kl": found.kl}
        if found.evidence is not None:
            parts["evidence"] = found.evidence
        if found.beliefs is not None:
            beliefs.append(found.beliefs)
        columns.append(found.posterior.to_columns() | parts)
        watch.advance(int(index[-1]) + 1)
    joined = {name: torch.cat([part[name] for part in columns]).cpu() for name in columns[0]}
    for name, column in joined.items():
        bad = torch.nonzero(~column.isfinite())
        if len(bad):
            particle = stack.ids[int(bad[0, 0])]
            raise NonFiniteError(f"the posterior of particle {particle}: {name} is not finite.")
    distribution = from_columns(joined)
    evidence = joined.get("evidence")
    known = Beliefs.together(beliefs) if beliefs else None
    return Latents(stack.ids, distribution, joined["reconstruction"], joined["kl"], evidence, known)
