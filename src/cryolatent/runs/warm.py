"""Starts: of a table, and of volumes, perhaps from a finished run."""

from pathlib import Path
from typing import TypeGuard

import torch
from jaxtyping import Float
from torch import Tensor

from cryolatent.data import Source
from cryolatent.errors import InputError
from cryolatent.models import (
    Decoder,
    Delta,
    DiagonalNormal,
    Distribution,
    FullNormal,
    LookupTable,
    PointTable,
    SubspaceDecoder,
)
from cryolatent.models.decoders.coefficients import Linear
from cryolatent.runs.config import TrainConfig
from cryolatent.runs.latents import Latents, Rows
from cryolatent.runs.run import Run
from cryolatent.runs.system import System, restore

RANDOM_LOC = (-0.05, 1.494)
RANDOM_LOG_VAR = (-5.47, 0.715)
CLUSTERS = 8
CLUSTER_WIDTH = 0.1
"""Standard deviation of a cluster over that of the latents that its centre was drawn from."""


@torch.no_grad()
def start(system: System, config: TrainConfig, stack: Source) -> Rows | None:
    """Set a table to its start, and a linear subspace to the volumes of an exact run.

    The volumes of other runs are left: whether frozen latents make a decoder heterogeneous can only
    be seen with one that begins afresh.

    Args:
        system: Parts as they were assembled, which are changed in place.
        config: Resolved options.
        stack: The particles of the new run.

    Returns:
        The table's start, if there is a table.

    Raises:
        InputError: If the run of ``pretrained`` is not finished, is of another latent space, or
            lacks a particle; or if it is given for a posterior without a table.
    """
    options, table = config.model, system.posterior
    other = None
    if options.pretrained is not None:
        if not isinstance(table, LookupTable | PointTable):
            raise InputError("--pretrained", "no table", "--posterior table", "Leave it out.")
        run = Run.open(options.pretrained)
        other = _latents(run, table)
        if isinstance(other.distribution, FullNormal):
            _take_volumes(system.model.decoder, restore(run).model.decoder)
    if not isinstance(table, LookupTable | PointTable):
        return None
    generator = torch.Generator().manual_seed(config.optimisation.seed + 1)
    if options.table_start == "random":
        like, spread = other and _rows(other), options.table_spread
        table.set_rows(random_rows(len(stack), table.z_dim, like, generator, spread))
    elif options.table_start == "random-clusters":
        table.set_rows(clustered_rows(len(stack), table.z_dim, other and _rows(other), generator))
    elif other is not None and options.table_start in ("pretrained", "permuted"):
        rows = _matched(other, stack, Path(options.pretrained or ""))
        if options.table_start == "permuted":
            rows = rows[torch.randperm(len(rows), generator=generator)]
        found = _rows(other)
        table.set_rows(DiagonalNormal(found.loc[rows], found.log_var[rows]))
    if options.table_log_var is not None and isinstance(table, LookupTable):
        table.log_var.fill_(options.table_log_var)
    return Rows(stack.ids, _held(table))


def random_rows(
    count: int,
    z_dim: int,
    like: DiagonalNormal | None,
    generator: torch.Generator,
    spread: float | None = None,
) -> DiagonalNormal:
    """Draw rows from normal distributions.

    Args:
        count: Number of rows.
        z_dim: Number of latent dimensions.
        like: Rows whose means and log variances give mean and standard deviation per dimension;
            without them the numbers of the report's code.
        generator: Source of randomness.
        spread: Standard deviation of the means about zero, instead of the above.

    Returns:
        The rows.
    """
    loc, log_var = torch.empty(count, z_dim), torch.empty(count, z_dim)
    if like is None:
        loc.normal_(*RANDOM_LOC, generator=generator)
        log_var.normal_(*RANDOM_LOG_VAR, generator=generator)
    else:
        for drawn, found in ((loc, like.loc), (log_var, like.log_var)):
            width, centre = torch.std_mean(found, dim=0, correction=0)
            drawn.normal_(generator=generator).mul_(width).add_(centre)
    if spread is not None:
        loc.normal_(0.0, spread, generator=generator)
    return DiagonalNormal(loc, log_var)


def clustered_rows(
    count: int, z_dim: int, like: DiagonalNormal | None, generator: torch.Generator
) -> DiagonalNormal:
    """Put rows at random into a few narrow clusters.

    Args:
        count: Number of rows.
        z_dim: Number of latent dimensions.
        like: Rows from which the centres are drawn, and whose mean log variances the rows have;
            without them centres are standard normal.
        generator: Source of randomness.

    Returns:
        The rows.
    """
    if like is None:
        centres = torch.randn(CLUSTERS, z_dim, generator=generator)
        spread, log_var = torch.ones(z_dim), torch.full((z_dim,), RANDOM_LOG_VAR[0])
    else:
        chosen = torch.randperm(len(like.loc), generator=generator)[:CLUSTERS]
        centres, spread = like.loc[chosen], like.loc.std(dim=0, correction=0)
        log_var = like.log_var.mean(0)
    cluster = torch.randint(len(centres), (count,), generator=generator)
    offsets = torch.randn(count, z_dim, generator=generator)
    loc = centres[cluster] + CLUSTER_WIDTH * spread * offsets
    return DiagonalNormal(loc, log_var.expand(count, z_dim).clone())


def _latents(run: Run, table: LookupTable | PointTable) -> Latents:
    latents = run.latents()
    q = latents.distribution
    points = isinstance(q, Delta) and isinstance(table, PointTable)
    fits = points or isinstance(q, DiagonalNormal | FullNormal)
    if not fits or q.mean.shape[1] != table.z_dim:
        raise InputError(
            run.path,
            f"{run.config.model.posterior} latents of {q.mean.shape[1]} dimensions",
            f"normal latents of {table.z_dim}",
            f"Give --z-dim {q.mean.shape[1]}, or another run.",
        )
    return latents


def _matched(latents: Latents, stack: Source, path: Path) -> Tensor:
    """The other run's row of each particle, by its name."""
    position = {name: row for row, name in enumerate(latents.ids.tolist())}
    missing = [name for name in stack.ids.tolist() if name not in position]
    if missing:
        raise InputError(
            path, f"no particle {missing[0]}", "a run on the same particles", "Give another run."
        )
    return torch.tensor([position[name] for name in stack.ids.tolist()])


def _rows(latents: Latents) -> DiagonalNormal:
    q = latents.distribution
    if isinstance(q, Delta):
        # for a table of points, which takes the means alone
        return DiagonalNormal(q.point, torch.zeros_like(q.point))
    return DiagonalNormal(q.mean, _variance(q).log())


def _held(table: LookupTable | PointTable) -> Distribution:
    if isinstance(table, PointTable):
        return Delta(table.loc.detach())
    return DiagonalNormal(table.loc.detach(), table.log_var.detach())


def _variance(q: Distribution) -> Float[Tensor, "n zdim"]:
    if isinstance(q, FullNormal):
        return q.covariance.diagonal(dim1=-2, dim2=-1)
    if isinstance(q, DiagonalNormal):
        return q.log_var.exp()
    raise TypeError(type(q))


def _take_volumes(mine: Decoder, theirs: Decoder) -> None:
    if _is_linear(mine) and _is_linear(theirs) and mine.disc.box == theirs.disc.box:
        mine.set_volumes(theirs.volumes * theirs.scale)


def _is_linear(decoder: object) -> TypeGuard[SubspaceDecoder]:
    return isinstance(decoder, SubspaceDecoder) and isinstance(decoder.coefficients, Linear)
