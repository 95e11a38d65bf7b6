"""RELION STAR files, 3.0 (one table) and 3.1 (particles and optics groups)."""

import csv
import io
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import starfile

from cryolatent.errors import InputError
from cryolatent.io.star_text import (
    AGAIN,
    QUOTED,
    StarBlock,
    StarText,
    encoding_of,
    read_star_text,
)

# control characters, which no text that is read holds
MARK, SPACE, EMPTY = "\x1f", "\x1e", "\x1d"
END = f" {MARK}\n".encode()


@dataclass(frozen=True)
class StarTable:
    """The tables of a particle STAR file, unchanged, and their columns as arrays.

    Args:
        path: The file.
        particles: One row per image.
        optics: One row per optics group, or None in a RELION 3.0 file.
        general: What RELION 5 says of the file as a whole, in one row, if it does.
    """

    path: Path
    particles: pd.DataFrame
    optics: pd.DataFrame | None
    general: pd.DataFrame | None = None

    def __len__(self) -> int:
        return len(self.particles)

    def __contains__(self, column: str) -> bool:
        tables = (self.particles, self.optics, self.general)
        return any(table is not None and column in table for table in tables)

    def numbers(self, column: str, default: float | None = None) -> np.ndarray:
        """A numeric column, one value per particle, taken from its optics group if it is there.

        Args:
            column: Name with its ``rln`` prefix.
            default: Value where the file has no such column; without one, the column is required.

        Returns:
            One float per particle.

        Raises:
            InputError: If a required column is missing or a value is not a finite number.
        """
        if column not in self:
            if default is not None:
                return np.full(len(self), default)
            raise InputError(
                self.path,
                f"no column {column}",
                f"{column} for every particle",
                "Refine the particles first, or use the STAR file of a finished job.",
            )
        entries, rows = self._entries(column)
        values = np.array(pd.to_numeric(entries, errors="coerce"), dtype=float)[rows]
        bad = np.flatnonzero(~np.isfinite(values))
        if len(bad):
            raise InputError(
                self.path,
                f"{column} = {self.strings(column).iloc[bad[0]]}",
                "a finite number",
                "Remove the row or refine the particles again.",
                row=f"particle row {bad[0] + 1}",
            )
        return values

    def strings(self, column: str) -> pd.Series:
        """A column as it stands, one entry per particle.

        Args:
            column: Name with its ``rln`` prefix; it must be there.

        Returns:
            One entry per particle.

        Raises:
            InputError: If a particle names an optics group that is not defined.
        """
        entries, rows = self._entries(column)
        return entries if isinstance(rows, slice) else entries.iloc[rows].reset_index(drop=True)

    def _entries(self, column: str) -> tuple[pd.Series, np.ndarray | slice]:
        """A column of the table that has it, and its row for each particle."""
        if column in self.particles:
            return pd.Series(self.particles[column]), slice(None)
        if self.optics is None or column not in self.optics:
            return pd.Series(pd.DataFrame(self.general)[column]), np.zeros(len(self), dtype=int)
        return pd.Series(self.optics[column]), self._optics_rows

    @cached_property
    def _optics_rows(self) -> np.ndarray:
        """For each particle, the row of its optics group."""
        tables = (("data_optics", self.optics), ("particles", self.particles))
        for name, table in tables:
            if table is None or "rlnOpticsGroup" not in table:
                raise InputError(
                    self.path,
                    f"no column rlnOpticsGroup in the table of {name}",
                    "rlnOpticsGroup in data_optics and in the particles",
                    "Export the particles again.",
                )
        groups = pd.Index(pd.DataFrame(self.optics)["rlnOpticsGroup"])
        if groups.has_duplicates:
            raise InputError(
                self.path,
                "an optics group twice in data_optics",
                "each group once",
                "Remove or renumber one of them.",
            )
        rows = np.asarray(groups.get_indexer(pd.Index(self.particles["rlnOpticsGroup"])))
        bad = np.flatnonzero(rows < 0)
        if len(bad):
            raise InputError(
                self.path,
                f"optics group {self.particles['rlnOpticsGroup'].iloc[bad[0]]}",
                f"one of {sorted(groups, key=str)}",
                "Add the group to data_optics or correct the row.",
                row=f"particle row {bad[0] + 1}",
            )
        return rows


def read_star(path: str | Path) -> StarTable:
    """Read a particle STAR file.

    Args:
        path: A RELION 3.0 file or later.

    Returns:
        Its tables.

    Raises:
        InputError: If the file is missing, is not a STAR file or has no particles, a row does not
            fit the columns, a column is named twice, or RELION or starfile would read it otherwise.
    """
    return star_table(read_star_text(path))


def star_table(text: StarText) -> StarTable:
    """The tables of a STAR file whose text is read already.

    Args:
        text: The file.

    Returns:
        Its tables.

    Raises:
        InputError: As `read_star`.
    """
    particles = _frame(text, text.particles)
    optics, general = (text.block(name) for name in ("optics", "general"))
    if optics is not None and not len(optics.rows):
        raise InputError(text.path, "no row in data_optics", "one or more", "Remove the table.")
    return StarTable(
        text.path,
        particles,
        None if optics is None else _frame(text, optics),
        None if general is None else _frame(text, general),
    )


def _frame(text: StarText, block: StarBlock) -> pd.DataFrame:
    """A table's rows: numbers where all of a column are, else text as it stands, without quotes."""
    lines = [text.lines[line] for line in block.rows.tolist()]
    if not block.is_loop:
        lines = [b" ".join(text.tokens(line)[1] for line in block.rows.tolist())]
    joined = END.join(lines) + END
    marked = any(mark in joined for mark in b"#'\"")
    if marked:
        joined = END.join(_unquoted(text, block, lines)) + END
    types: Any = dict.fromkeys([c for c in block.columns if c.endswith("Name")] + [MARK], str)
    try:
        frame = pd.read_csv(
            io.BytesIO(joined),
            sep=r"\s+",
            header=None,
            names=[*block.columns, MARK],
            dtype=types,
            quoting=csv.QUOTE_NONE,
            na_filter=False,
            low_memory=False,
            encoding=encoding_of(joined),
        )
    except pd.errors.ParserError:
        raise _uneven(text, block) from None
    # a short row has the mark of its end too early; a long first row is taken for an index
    if not isinstance(frame.index, pd.RangeIndex) or not (frame.pop(MARK) == MARK).all():
        raise _uneven(text, block)
    frame = frame.astype(dict.fromkeys(frame.select_dtypes(bool), str))
    return frame.replace({SPACE: " ", EMPTY: ""}, regex=True) if marked else frame


def _unquoted(text: StarText, block: StarBlock, lines: list[bytes]) -> list[bytes]:
    """Rows without comments and quotes, what a space was in quotes being a mark."""
    found = list(lines)
    for at, line in enumerate(lines):
        if not QUOTED.search(line):
            continue
        tokens = text.tokens(int(block.rows[at])) if block.is_loop else line.split()
        found[at] = b" ".join(map(_value, tokens))
    return found


def _value(token: bytes) -> bytes:
    if token[:1] not in (b"'", b'"'):
        return token
    return token[1:-1].replace(b" ", SPACE.encode()) or EMPTY.encode()


def _uneven(text: StarText, block: StarBlock) -> InputError:
    columns = len(block.columns)
    entries = (len(text.tokens(line)) for line in block.rows.tolist())
    row, count = next((at, n) for at, n in enumerate(entries) if n != columns)
    return InputError(
        text.path,
        f"{count} entries",
        f"{columns}, one for each column",
        AGAIN,
        row=block.place(row),
    )


def write_star(path: str | Path, particles: pd.DataFrame, optics: pd.DataFrame | None) -> None:
    """Write a particle STAR file.

    Args:
        path: Where to write; an existing file is replaced.
        particles: One row per image.
        optics: One row per optics group; None writes a RELION 3.0 file.
    """
    blocks: dict[str, Any] = {} if optics is None else {"optics": optics}
    # starfile's first line holds the time; equal tables must give equal bytes.
    _, tables = starfile.to_string(blocks | {"particles": particles}).split("\n", 1)
    Path(path).write_text("# Written by cryolatent\n" + tables)


def split_image_name(name: str) -> tuple[int, str]:
    """Split RELION's ``12@folder/stack.mrcs`` into a zero-based index and a file.

    Args:
        name: An rlnImageName; without ``@`` it is the first image of the file.

    Returns:
        Index and file name.

    Raises:
        ValueError: If what stands before ``@`` is not a positive whole number.

    Examples:
        >>> split_image_name("000012@Extract/a.mrcs")
        (11, 'Extract/a.mrcs')
    """
    number, at, file = name.partition("@")
    if not at:
        return 0, name
    if int(number) < 1:
        raise ValueError(f"{number} in {name}")
    return int(number) - 1, file


def split_image_names(names: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Split many image names as `split_image_name` does.

    Args:
        names: One rlnImageName per particle.

    Returns:
        Zero-based index, or -1 where a name is malformed, and file name of each.
    """
    index = np.zeros(len(names), dtype=np.int64)
    files = names.tolist()
    for row, name in enumerate(files):
        try:
            index[row], files[row] = split_image_name(name)
        except (ValueError, OverflowError):
            index[row] = -1
    return index, np.array(files, dtype=object)
