"""Tables of any program with one row per particle, as columns by name."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from cryolatent.errors import InputError
from cryolatent.io.cs import read_cs
from cryolatent.io.pickles import read_pickles
from cryolatent.io.star import read_star

Columns = dict[str, np.ndarray]


def read_columns(path: str | Path) -> Columns:
    """Read a table by its ending: .csv, .tsv, .parquet, .star, .cs, .npy, .npz or cryoDRGN's .pkl.

    Args:
        path: The file.

    Returns:
        One array per column, in the file's order. Columns of arrays without names are ``0``, ``1``
        ...; those of named ones ``name_0`` ...; those of a ``z.pkl`` are ``mean_0`` ... and
        ``log_var_0`` ...

    Raises:
        InputError: If the file is missing, cannot be read, has no rows or none of these endings.
    """
    path = Path(path)
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        known = ", ".join(READERS)
        raise InputError(path, f"a name that ends in {path.suffix!r}", known, "Convert the table.")
    if not path.is_file():
        raise InputError(path, "no such file", "a table of latents", "Check the name.")
    try:
        columns = reader(path)
    except InputError:
        raise
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(
            path, f"no table ({reason})", "one row per particle", "Write it again."
        ) from None
    lengths = {len(values) for values in columns.values()}
    if len(lengths) != 1 or 0 in lengths:
        found = f"columns of {sorted(lengths)} rows" if columns else "no columns"
        raise InputError(path, found, "one row per particle", "Write the table again.")
    return columns


def _text(separator: str) -> Callable[[Path], Columns]:
    def read(path: Path) -> Columns:
        import pandas as pd

        frame = pd.read_csv(path, sep=separator)
        return {str(name): frame[name].to_numpy() for name in frame.columns}

    return read


def _parquet(path: Path) -> Columns:
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    return {name: table[name].to_numpy() for name in table.column_names}


def _star(path: Path) -> Columns:
    frame = read_star(path).particles
    return {str(name): frame[name].to_numpy() for name in frame.columns}


def _cs(path: Path) -> Columns:
    records = read_cs(path)
    return _split({name: records[name] for name in records.dtype.names or ()})


def _npy(path: Path) -> Columns:
    values = np.load(path, allow_pickle=False)
    return _split({"": values[:, None] if values.ndim == 1 else values})


def _npz(path: Path) -> Columns:
    with np.load(path, allow_pickle=False) as archive:
        return _split({name: archive[name] for name in archive.files})


def _pickle(path: Path) -> Columns:
    # cryoDRGN writes means and, of a variational posterior, log variances one after the other
    parts = read_pickles(path, "z.pkl: one or two arrays of latents")
    names = ("mean", "log_var") if len(parts) < 3 else map(str, range(len(parts)))
    arrays = dict(zip(names, parts, strict=False))
    if not all(isinstance(values, np.ndarray) and values.ndim == 2 for values in arrays.values()):
        raise ValueError("no arrays with a row per particle and a column per dimension")
    return _split(arrays)


def _split(arrays: Columns) -> Columns:
    """One column of each component."""
    columns: Columns = {}
    for name, values in arrays.items():
        if values.ndim == 1:
            columns[name] = values
        elif values.ndim == 2:
            prefix = f"{name}_" if name else ""
            columns |= {f"{prefix}{at}": column for at, column in enumerate(values.T)}
    return columns


READERS: dict[str, Callable[[Path], Columns]] = {
    ".csv": _text(","),
    ".tsv": _text("\t"),
    ".parquet": _parquet,
    ".star": _star,
    ".cs": _cs,
    ".npy": _npy,
    ".npz": _npz,
    ".pkl": _pickle,
}
