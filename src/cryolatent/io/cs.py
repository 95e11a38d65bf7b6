"""cryoSPARC's ``.cs`` tables: NumPy arrays of records, read without pickle."""

from pathlib import Path

import numpy as np

from cryolatent.errors import InputError
from cryolatent.io.compressed import refuse_compressed

EARLIER = "cryolatent/"  # begins the names of fields that an export adds
NEWER, NUMPY = b"\x94CSDAT", b"\x93NUMPY"
HEADER_BYTES = 1_000_000
"""Longest list of fields: a classification into hundreds of classes has some 100 kB."""


def read_cs(path: str | Path) -> np.ndarray:
    """Read a ``.cs`` file.

    Args:
        path: A file of records with a field ``uid``.

    Returns:
        One record per particle.

    Raises:
        InputError: If the file is missing, is no ``.cs`` file, or is empty.
    """
    path = Path(path)
    if not path.is_file():
        found = "a folder" if path.is_dir() else "no such file"
        raise InputError(path, found, "a cryoSPARC .cs file", "Check the name.")
    refuse_compressed(path, "a cryoSPARC .cs file as it is")
    try:
        with path.open("rb") as stream:
            if stream.read(len(NEWER)) == NEWER:
                raise InputError(
                    path,
                    "the compressed .cs format of cryosparc-tools",
                    "the NumPy format of cryoSPARC's jobs",
                    "Save it with Dataset.save(path, format=1), or give the job's own file.",
                )
            stream.seek(0)
            if stream.read(len(NUMPY)) != NUMPY:
                raise ValueError("it does not begin as NumPy's files do")
            stream.seek(0)
            table = np.load(stream, allow_pickle=False, max_header_size=HEADER_BYTES)
    except InputError:
        raise
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(
            path, f"no records ({reason})", "a cryoSPARC .cs file", "Export the particles again."
        ) from None
    names = None if not isinstance(table, np.ndarray) else table.dtype.names
    if names is None or table.ndim != 1 or "uid" not in names or table["uid"].ndim != 1:
        raise InputError(
            path, "no records with a field uid", "a cryoSPARC .cs file", "Give a job's particles."
        )
    if len(table) == 0:
        raise InputError(path, "no particles", "at least one record", "Check the selection.")
    return table


def write_cs(
    path: str | Path,
    records: np.ndarray,
    added: dict[str, np.ndarray] | None = None,
) -> None:
    """Write a ``.cs`` file.

    Args:
        path: Where to write; an existing file is replaced.
        records: One record per particle.
        added: Further fields, one entry for each record; a field of that name is replaced, and
            those of an earlier export are left out.
    """
    added = added or {}
    names = records.dtype.names or ()
    kept = [name for name in names if name not in added and not name.startswith(EARLIER)]
    fields = [(name, records.dtype[name]) for name in kept]
    fields += [(name, values.dtype, values.shape[1:]) for name, values in added.items()]
    table = np.zeros(len(records), dtype=fields)
    for name in kept:
        table[name] = records[name]
    for name, values in added.items():
        table[name] = values
    with Path(path).open("wb") as stream:
        np.save(stream, table, allow_pickle=False)
