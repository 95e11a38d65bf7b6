"""Two models of one data set, each of one half of the particles and of nothing else.

Whatever enters a half-map must not know of the other half: refined poses, contrasts,
responsibilities, noise and masks made by one model of all particles would correlate the halves'
noise. So the halves are trained apart, from the recorded poses on, and their states are matched
afterwards.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from cryolatent.config.training import TrainConfig
from cryolatent.data import ParticleStack
from cryolatent.physics import fourier_shell_correlation
from cryolatent.runs.run import Run
from cryolatent.sessions.systems import restore
from cryolatent.sessions.training import opened, trained
from cryolatent.train import Watch

NAMES = ("half1", "half2")


@dataclass(frozen=True)
class CrossFit:
    """States of two halves, matched.

    Args:
        runs: The halves' runs.
        halves: Particles of each.
        orders: For each half's run, which of its states stands where below.
        volumes: The states' volumes of both, in one order.
        populations: Shares of each half's particles.
        fsc: Correlation of the states' volumes, by shell.
    """

    runs: tuple[Run, Run]
    halves: tuple[Int[Tensor, " a"], Int[Tensor, " b"]]
    orders: tuple[Int[Tensor, " k"], Int[Tensor, " k"]]
    volumes: Float[Tensor, "2 k z y x"]
    populations: Float[Tensor, "2 k"]
    fsc: Float[Tensor, "k shells"]


def cross_fit(
    stack: ParticleStack,
    config: TrainConfig,
    states: int,
    folder: Path,
    *,
    watch: Callable[[str], Watch] = lambda name: Watch(),
) -> CrossFit:
    """Train on each half of the particles, and correlate the states.

    A half that is finished already is kept; one that was interrupted goes on.

    Args:
        stack: All particles.
        config: Options of a run; of its posterior only the prior's are kept.
        states: Number of states of each half.
        folder: Where the halves' runs belong.
        watch: Told of each half's progress.

    Returns:
        Matched states.

    Raises:
        InputError: If a folder holds a run of other particles or options, or something else.
    """
    options = config.changed(posterior="categorical", states=states)
    runs, halves = [], stack.split(config.session.seed)
    for name, half in zip(NAMES, halves, strict=True):
        part, path = stack.select(half), folder / name
        runs.append(trained(opened(path, options, part), path, options, part, watch(name)))
    found = [_states(run) for run in runs]
    order = matched(found[0][0], found[1][0])
    volumes = torch.stack([found[0][0], found[1][0][order]])
    populations = torch.stack([found[0][1], found[1][1][order]])
    curves = [fourier_shell_correlation(*pair) for pair in zip(*volumes, strict=True)]
    orders = torch.arange(len(order)), order
    return CrossFit((runs[0], runs[1]), halves, orders, volumes, populations, torch.stack(curves))


def matched(first: Float[Tensor, "k z y x"], second: Float[Tensor, "k z y x"]) -> Int[Tensor, " k"]:
    """Which state of the second half is which of the first.

    Args:
        first: Volumes.
        second: As many of the other half.

    Returns:
        Positions in `second` that make the sum of correlations largest; of each half's volumes
        the mean is taken off.
    """
    from scipy.optimize import linear_sum_assignment

    if len(first) == 1:
        return torch.zeros(1, dtype=torch.long)
    rows = [(v - v.mean(0)).flatten(1).double() for v in (first, second)]
    unit = [row / row.norm(dim=1, keepdim=True).clamp(min=1e-30) for row in rows]
    score = (unit[0] @ unit[1].T).numpy()
    return torch.from_numpy(np.asarray(linear_sum_assignment(-score)[1])).long()


@torch.no_grad()
def _states(run: Run) -> tuple[Float[Tensor, "k z y x"], Float[Tensor, " k"]]:
    shares = run.latents().distribution.mean.mean(0)
    return restore(run).model.decoder.volume(torch.eye(len(shares))), shares
