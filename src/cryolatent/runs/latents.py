"""What is believed of each particle, and its file."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from jaxtyping import Float
from torch import Tensor

from cryolatent.models import Distribution
from cryolatent.models.distributions import from_columns
from cryolatent.runs.files import void, write_atomically


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
    table = pa.table(
        {"id": latents.ids.tolist()} | {name: c.numpy() for name, c in columns.items()}
    )
    write_atomically(path, lambda partial: void(pq.write_table(table, partial)))


def read_latents(path: Path) -> Latents:
    """Read what `write_latents` wrote.

    Args:
        path: A parquet file.

    Returns:
        One row per particle.
    """
    table = pq.read_table(path)
    columns = {
        name: torch.from_numpy(table[name].to_numpy().copy())
        for name in table.column_names
        if name != "id"
    }
    distribution = from_columns(columns)
    return Latents(
        ids=np.array(table["id"].to_pylist(), dtype=np.str_),
        distribution=distribution,
        reconstruction=columns["reconstruction"],
        kl=columns[penalty_name(distribution.is_bound)],
    )
