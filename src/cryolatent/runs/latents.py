"""What is believed of each particle, and its file."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from jaxtyping import Float
from torch import Tensor

from cryolatent.io.files import void, write_atomically
from cryolatent.models import Distribution
from cryolatent.models.distributions import from_columns


@dataclass(frozen=True)
class Rows:
    """What a table believed of each particle before its training.

    Args:
        ids: Particle names.
        distribution: Distribution of each particle's latent.
    """

    ids: np.ndarray
    distribution: Distribution


@dataclass(frozen=True)
class Latents:
    """What a finished run believes of each particle.

    Args:
        ids: Particle names.
        distribution: Distribution of each particle's latent.
        reconstruction: Negative log likelihood of posterior samples, in nats.
        kl: Divergence from the prior, in nats; of points minus the log density of the prior.
    """

    ids: np.ndarray
    distribution: Distribution
    reconstruction: Float[Tensor, " n"]
    kl: Float[Tensor, " n"]

    @property
    def elbo(self) -> Float[Tensor, " n"] | None:
        """Evidence lower bound of each particle, in nats; None for points, which bound nothing."""
        return -(self.reconstruction + self.kl) if self.distribution.is_bound else None

    @property
    def log_joint(self) -> Float[Tensor, " n"] | None:
        """Log joint density ``log p(x, z)`` of each particle and its point, in nats."""
        return None if self.distribution.is_bound else -(self.reconstruction + self.kl)


def penalty_name(is_bound: bool) -> str:
    """What files call the term that a distribution adds to the reconstruction.

    Args:
        is_bound: Whether it is a divergence (`Distribution.is_bound`).

    Returns:
        Name of a column and of a log entry's key.
    """
    return "kl" if is_bound else "negative_log_prior"


def write_latents(path: Path, latents: Latents) -> None:
    """Write latents as parquet, atomically.

    Args:
        path: Where the file belongs.
        latents: One row per particle.
    """
    columns = latents.distribution.to_columns()
    columns["reconstruction"] = latents.reconstruction
    columns[penalty_name(latents.distribution.is_bound)] = latents.kl
    _write_columns(path, latents.ids, columns)


def read_latents(path: Path) -> Latents:
    """Read what `write_latents` wrote.

    Args:
        path: A parquet file.

    Returns:
        One row per particle.
    """
    ids, columns = _read_columns(path)
    distribution = from_columns(columns)
    penalty = columns[penalty_name(distribution.is_bound)]
    return Latents(ids, distribution, columns["reconstruction"], penalty)


def write_rows(path: Path, rows: Rows) -> None:
    """Write rows as parquet, atomically.

    Args:
        path: Where the file belongs.
        rows: One per particle.
    """
    _write_columns(path, rows.ids, rows.distribution.to_columns())


def read_rows(path: Path) -> Rows:
    """Read what `write_rows` wrote.

    Args:
        path: A parquet file.

    Returns:
        One row per particle.
    """
    ids, columns = _read_columns(path)
    return Rows(ids, from_columns(columns))


def _write_columns(path: Path, ids: np.ndarray, columns: dict[str, Tensor]) -> None:
    table = pa.table({"id": ids.tolist()} | {name: c.numpy() for name, c in columns.items()})
    write_atomically(path, lambda partial: void(pq.write_table(table, partial)))


def _read_columns(path: Path) -> tuple[np.ndarray, dict[str, Tensor]]:
    """Names, and the other columns."""
    table = pq.read_table(path)
    columns = {
        name: torch.from_numpy(table[name].to_numpy().copy())
        for name in table.column_names
        if name != "id"
    }
    return np.array(table["id"].to_pylist(), dtype=np.str_), columns
