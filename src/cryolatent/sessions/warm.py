"""Starts: of a table, and of volumes, perhaps from a finished run."""

from pathlib import Path

import torch
from torch import Tensor

from cryolatent.config.training import TrainConfig
from cryolatent.data import Source
from cryolatent.errors import InputError
from cryolatent.models import DiagonalNormal, Distribution, Posterior
from cryolatent.models.latents import Latents, Rows
from cryolatent.models.system import System
from cryolatent.runs.inputs import nuisances_of
from cryolatent.runs.run import Run
from cryolatent.sessions.systems import restore
from cryolatent.train.em.corrections import Corrections

RANDOM_LOC = (-0.05, 1.494)
RANDOM_LOG_VAR = (-5.47, 0.715)
CLUSTERS = 8
CLUSTER_WIDTH = 0.1
"""Standard deviation of a cluster over that of the latents that its centre was drawn from."""


@torch.no_grad()
def start(system: System, config: TrainConfig, stack: Source) -> Rows | None:
    """Set rows to their start, and a linear subspace to the volumes of an exact run.

    The volumes of other runs are left: whether frozen latents make a decoder heterogeneous can only
    be seen with one that begins afresh.

    Args:
        system: Parts as they were assembled, which are changed in place.
        config: Resolved options.
        stack: The particles of the new run.

    Returns:
        The rows' start, if there are rows.

    Raises:
        InputError: If the run of ``pretrained`` is not finished, is of another latent space, or
            lacks a particle.
    """
    options, posterior = config.posterior.row_options, system.posterior
    if options is None or not posterior.has_rows:
        return None
    other, like = None, None
    if options.pretrained is not None:
        run = Run.open(options.pretrained)
        other = run.latents()
        like = _usable(run, other.distribution, posterior)
        theirs = restore(run)
        if theirs.posterior.is_closed_form:
            system.model.decoder.take_volumes(theirs.model.decoder)
    generator = torch.Generator().manual_seed(config.session.seed + 1)
    count, z_dim = len(stack), posterior.z_dim
    if options.table_start == "random":
        posterior.set_rows(random_rows(count, z_dim, like, generator, options.table_spread))
    elif options.table_start == "random-clusters":
        posterior.set_rows(clustered_rows(count, z_dim, like, generator))
    elif other is not None and like is not None and options.table_start != "zero":
        rows = _matched(other, stack, Path(options.pretrained or ""))
        if options.table_start == "permuted":
            rows = rows[torch.randperm(len(rows), generator=generator)]
        posterior.set_rows(like.at(rows))
    log_var = getattr(options, "table_log_var", None)
    if log_var is not None:
        now = posterior.rows()
        if now is not None:
            narrow = now.as_diagonal()
            posterior.set_rows(DiagonalNormal(narrow.loc, torch.full_like(narrow.loc, log_var)))
    begun = posterior.rows()
    return None if begun is None else Rows(stack.ids, begun)


def begun_poses(config: TrainConfig, stack: Source) -> dict[str, Tensor]:
    """What a search knows of poses when it begins from those of a finished run.

    Fewer shells than that run looked at say nothing new, so poses stay until the last.

    Args:
        config: Resolved options.
        stack: The particles of the new run.

    Returns:
        Tensors of a checkpoint; none if no run is named.

    Raises:
        InputError: If the run is of another file, or doubted something else.
    """
    path = getattr(config.method, "poses_from", None)
    if path is None:
        return {}
    run = Run.open(path)
    run.check_input(stack)
    beliefs, nuisances = run.latents().beliefs, nuisances_of(run)
    mine, theirs = (
        [getattr(method, name, None) for name in ("pose_search", "trust")]
        for method in (config.method, run.config.method)
    )
    if beliefs is None or nuisances is None or mine != theirs:
        raise InputError(
            path,
            "a run that doubted something else",
            "the same `pose_search` and `trust`, and poses that are doubted",
            "Give another run, or its options.",
        )
    shells = min(run.manifest.shells, stack.geometry.shells)
    corrections, placing = Corrections.of(beliefs, shells, probability=nuisances.lost)
    tensors = {f"corrections.{name}": t for name, t in corrections.to_tensors().items()}
    tensors |= {f"search.{name}": t for name, t in nuisances.to_tensors(shells).items()}
    return tensors | {f"placing.{name}": t for name, t in vars(placing).items()}


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


def _usable(run: Run, q: Distribution, posterior: Posterior) -> DiagonalNormal:
    """Another run's latents as rows to start from."""
    fits = q.mean.shape[1] == posterior.z_dim and (q.is_bound or not posterior.is_bound)
    if not fits or q.is_discrete:
        raise InputError(
            run.path,
            f"{run.config.posterior.kind} latents of {q.mean.shape[1]} dimensions",
            f"normal latents of {posterior.z_dim}",
            f"Give `z_dim` {q.mean.shape[1]}, or another run.",
        )
    return q.as_diagonal()


def _matched(latents: Latents, stack: Source, path: Path) -> Tensor:
    """The other run's row of each particle, by its name."""
    position = {name: row for row, name in enumerate(latents.ids.tolist())}
    missing = [name for name in stack.ids.tolist() if name not in position]
    if missing:
        raise InputError(
            path, f"no particle {missing[0]}", "a run on the same particles", "Give another run."
        )
    return torch.tensor([position[name] for name in stack.ids.tolist()])
