"""The files of what is believed of each particle."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from cryolatent.io.files import void, write_atomically
from cryolatent.models.distributions import from_columns
from cryolatent.models.latents import Latents, Rows, penalty_name


def write_latents(path: Path, latents: Latents) -> None:
    """Write latents as parquet, atomically.

    Args:
        path: Where the file belongs.
        latents: One row per particle.
    """
    columns = latents.distribution.to_columns()
    columns["reconstruction"] = latents.reconstruction
    columns[penalty_name(latents.distribution.is_bound)] = latents.kl
    if latents.evidence is not None:
        columns["evidence"] = latents.evidence
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
    evidence = columns.get("evidence")
    return Latents(ids, distribution, columns["reconstruction"], penalty, evidence)


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
