"""STAR tables whose rows do not fit their columns, or whose columns repeat, are refused."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from cryolatent.errors import InputError
from cryolatent.io.star_text import TOKEN, TextTable, read_text_tables

AGAIN = "Write the file again with the program that made it."


def check_table(path: Path, name: str, table: pd.DataFrame | dict) -> None:
    """Refuse a table that was read, if columns repeat or rows are shorter than its header.

    A reader pads a short row at its end, so values stand in the wrong columns. Only rows whose last
    entry is empty can have been padded, and only these are looked at again as text.

    Args:
        path: The file.
        name: What follows ``data_`` in the file.
        table: The table, or the entries of one that is no loop.

    Raises:
        InputError: Names the column, or the row.
    """
    if isinstance(table, dict):
        for text in _texts(path, name):
            _refuse_repeats(path, text)
        return
    repeated = table.columns[table.columns.duplicated()]
    if len(repeated):
        raise _repeat(path, name, str(repeated[0]))
    if table.shape[1] == 0:
        return
    last = table.iloc[:, -1]
    empty = last.isna()
    if last.dtype.kind not in "fiub":
        empty |= last.astype(object) == ""
    doubtful = np.flatnonzero(empty.to_numpy(dtype=bool))
    if not len(doubtful):
        return
    for text in _texts(path, name):
        if len(text.rows) != len(table):
            raise InputError(
                path,
                f"{len(text.rows)} lines with {len(table)} rows in data_{name}",
                "one row a line",
                AGAIN,
            )
        _refuse_uneven(path, text, doubtful.tolist())


def check_text(path: Path) -> None:
    """Say what is wrong with the tables of a file that cannot be read, if it is the tables.

    Args:
        path: The file.

    Raises:
        InputError: Names the column that repeats, or the row that is too long or too short.
    """
    for text in read_text_tables(path):
        _refuse_repeats(path, text)
        _refuse_uneven(path, text, range(len(text.rows)))


def _texts(path: Path, name: str) -> list[TextTable]:
    return [text for text in read_text_tables(path) if text.name == name]


def _refuse_repeats(path: Path, text: TextTable) -> None:
    seen: set[str] = set()
    for column in text.columns:
        if column in seen:
            raise _repeat(path, text.name, column)
        seen.add(column)


def _repeat(path: Path, name: str, column: str) -> InputError:
    return InputError(
        path,
        f"column {column} twice in data_{name}",
        "every column once",
        "Remove one of them, with its values.",
    )


def _refuse_uneven(path: Path, text: TextTable, rows: Iterable[int]) -> None:
    kind = f"data_{text.name}" if text.name == "optics" else "particle"
    for row in rows:
        entries = len(TOKEN.findall(text.rows[row]))
        if entries != len(text.columns):
            raise InputError(
                path,
                f"{entries} entries",
                f"{len(text.columns)}, one for each column",
                AGAIN,
                row=f"{kind} row {row + 1}",
            )
