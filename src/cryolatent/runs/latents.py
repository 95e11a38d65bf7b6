"""The files of what is believed of each particle."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from jaxtyping import Int
from torch import Tensor

from cryolatent.errors import InputError
from cryolatent.io.files import void, write_atomically
from cryolatent.models.beliefs import Beliefs
from cryolatent.models.distributions import from_columns
from cryolatent.models.latents import Latents, Rows, penalty_name


def write_latents(path: Path, latents: Latents) -> None:
    """Write latents as parquet, atomically.

    Args:
        path: Where the file belongs.
        latents: One row per particle.
    """
    columns = latents.distribution.to_columns()
    if latents.reconstruction is not None:
        columns["reconstruction"] = latents.reconstruction
    columns[penalty_name(latents.distribution.is_bound)] = latents.kl
    if latents.evidence is not None:
        columns["evidence"] = latents.evidence
    observed: dict[str, Tensor] = {}
    counts = None
    if latents.beliefs is not None:
        own, observed = latents.beliefs.to_columns()
        columns, counts = columns | own, latents.beliefs.observations
    _write_columns(path, latents.ids, columns, observed, counts)


def read_latents(path: Path) -> Latents:
    """Read what `write_latents` wrote.

    Args:
        path: A parquet file.

    Returns:
        One row per particle.
    """
    ids, columns, counts = _read_columns(path)
    distribution = from_columns(columns)
    beliefs = Beliefs.from_columns(columns, counts) if "is_particle" in columns else None
    penalty = columns[penalty_name(distribution.is_bound)]
    evidence = columns.get("evidence")
    return Latents(ids, distribution, columns.get("reconstruction"), penalty, evidence, beliefs)


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
    ids, columns, _ = _read_columns(path)
    return Rows(ids, from_columns(columns))


def damaged(path: Path, error: Exception) -> InputError:
    """What is to be said of a run's file that cannot be read.

    Args:
        path: The file.
        error: What its reader said.

    Returns:
        The error.
    """
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    way_out = "Copy the run again from where it is whole, or train it again."
    return InputError(path, f"a damaged file ({reason})", "what training wrote", way_out)


def _write_columns(
    path: Path,
    ids: np.ndarray,
    columns: dict[str, Tensor],
    observed: dict[str, Tensor] | None = None,
    counts: Int[Tensor, " n"] | None = None,
) -> None:
    """Columns of particles, and of their observations: lists where a particle has several."""
    table: dict[str, Any] = {"id": ids.tolist()}
    table |= {name: column.numpy() for name, column in columns.items()}
    several = counts if counts is not None and bool((counts != 1).any()) else None
    for name, column in (observed or {}).items():
        table[name] = column.numpy() if several is None else _lists(column, several)
    whole = pa.table(table)
    write_atomically(
        path, lambda partial: void(pq.write_table(whole, partial, write_page_checksum=True))
    )


def _lists(column: Tensor, counts: Tensor) -> pa.ListArray:
    offsets = np.concatenate([[0], counts.numpy().cumsum()]).astype(np.int32)
    return pa.ListArray.from_arrays(offsets, column.numpy())


def _read_columns(path: Path) -> tuple[np.ndarray, dict[str, Tensor], Int[Tensor, " n"]]:
    """Names, the other columns, and how many observations each particle has."""
    try:
        table = pq.read_table(path, page_checksum_verification=True)
    except (OSError, pa.ArrowException) as error:
        raise damaged(path, error) from None
    counts = torch.ones(len(table), dtype=torch.int64)
    columns = {}
    for name in table.column_names:
        if name == "id":
            continue
        column = table[name].combine_chunks()
        if pa.types.is_list(column.type):
            lengths = column.value_lengths().to_numpy(zero_copy_only=False)
            counts, column = torch.from_numpy(lengths.astype(np.int64)), column.flatten()
        columns[name] = torch.from_numpy(column.to_numpy(zero_copy_only=False).copy())
    return np.array(table["id"].to_pylist(), dtype=np.str_), columns, counts
