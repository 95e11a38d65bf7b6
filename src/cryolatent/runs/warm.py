"""Warm starts: a finished run's latents and volumes as the beginning of another."""

from pathlib import Path
from typing import TypeGuard

import torch
from jaxtyping import Float
from torch import Tensor

from cryolatent.data import ParticleStack
from cryolatent.errors import InputError
from cryolatent.models import (
    Delta,
    DiagonalNormal,
    Distribution,
    FullNormal,
    LookupTable,
    PointTable,
    SubspaceDecoder,
)
from cryolatent.models.decoders.coefficients import Linear
from cryolatent.runs.run import Run
from cryolatent.runs.system import System, restore


@torch.no_grad()
def start_from(system: System, path: Path, stack: ParticleStack) -> None:
    """Set a table to another run's posteriors, and a linear subspace to its volumes.

    Args:
        system: Parts at their start; the table is changed in place, and the decoder if both are
            linear subspaces.
        path: A finished run with normal posteriors, such as an exact one; for a table of points
            also one of points.
        stack: The particles of the new run.

    Raises:
        InputError: If the run is not finished, is of another latent space, or lacks a particle.
    """
    run = Run.open(path)
    latents, table = run.latents(), system.posterior
    q = latents.distribution
    if not isinstance(table, LookupTable | PointTable):
        raise InputError("--pretrained", "no table", "--posterior table", "Leave it out.")
    points = isinstance(q, Delta) and isinstance(table, PointTable)
    fits = points or isinstance(q, DiagonalNormal | FullNormal)
    if not fits or q.mean.shape[1] != table.z_dim:
        raise InputError(
            path,
            f"{run.config.model.posterior} latents of {q.mean.shape[1]} dimensions",
            f"normal latents of {table.z_dim}",
            f"Give --z-dim {q.mean.shape[1]}, or another run.",
        )
    position = {name: row for row, name in enumerate(latents.ids.tolist())}
    missing = [name for name in stack.ids.tolist() if name not in position]
    if missing:
        raise InputError(
            path, f"no particle {missing[0]}", "a run on the same particles", "Give another run."
        )
    rows = torch.tensor([position[name] for name in stack.ids.tolist()])
    table.loc.copy_(q.mean[rows])
    if isinstance(table, LookupTable):
        table.log_var.copy_(_variance(q)[rows].log())
    mine, theirs = system.model.decoder, restore(run).model.decoder
    if _is_linear(mine) and _is_linear(theirs) and mine.disc.box == theirs.disc.box:
        mine.set_volumes(theirs.volumes * theirs.scale)


def _variance(q: Distribution) -> Float[Tensor, "n zdim"]:
    if isinstance(q, FullNormal):
        return q.covariance.diagonal(dim1=-2, dim2=-1)
    if isinstance(q, DiagonalNormal):
        return q.log_var.exp()
    raise TypeError(type(q))


def _is_linear(decoder: object) -> TypeGuard[SubspaceDecoder]:
    return isinstance(decoder, SubspaceDecoder) and isinstance(decoder.coefficients, Linear)
