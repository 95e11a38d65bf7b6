"""RELION STAR files, 3.0 (one table) and 3.1 (particles and optics groups)."""

import linecache
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import starfile

from cryolatent.errors import InputError
from cryolatent.io.star_rows import check_table, check_text


@dataclass(frozen=True)
class StarTable:
    """The tables of a particle STAR file, unchanged, and their columns as arrays.

    Args:
        path: The file.
        particles: One row per image.
        optics: One row per optics group, or None in a RELION 3.0 file.
    """

    path: Path
    particles: pd.DataFrame
    optics: pd.DataFrame | None

    def __len__(self) -> int:
        return len(self.particles)

    def __contains__(self, column: str) -> bool:
        return column in self.particles or (self.optics is not None and column in self.optics)

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
        if column in self.particles or self.optics is None:
            return pd.Series(self.particles[column]), slice(None)
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
        path: A RELION 3.0 or 3.1 file.

    Returns:
        Its tables.

    Raises:
        InputError: If the file is missing, is not a STAR file or has no particles, a row does not
            fit the columns, or a column is named twice.
    """
    path = Path(path)
    if not path.is_file():
        found = "a folder" if path.is_dir() else "no such file"
        raise InputError(path, found, "a particle STAR file", "Check the name.")
    try:
        blocks: dict[str, Any] = starfile.read(path, always_dict=True)  # pyright: ignore
    except Exception as error:
        check_text(path)
        raise InputError(
            path,
            f"text that cannot be parsed ({_first_line(error)})",
            "a STAR file",
            "Export the particles again.",
        ) from None
    finally:
        # the reader's own cache would hold the old text of a file that is corrected
        linecache.clearcache()
    name = next(
        (name for name in ("particles", "images", "") if name in blocks),
        next((name for name, block in blocks.items() if "rlnImageName" in block), None),
    )
    particles = None if name is None else blocks[name]
    if not isinstance(particles, pd.DataFrame) or "rlnImageName" not in particles:
        raise InputError(
            path,
            f"tables {sorted(blocks) or 'none'} without rlnImageName",
            "a table of particles",
            "Give the STAR file of the particles, not of micrographs or a job.",
        )
    if len(particles) == 0:
        raise InputError(path, "no particles", "at least one row", "Check the selection.")
    check_table(path, name or "", particles)
    optics = blocks.get("optics")
    if optics is not None:
        check_table(path, "optics", optics)
    if isinstance(optics, dict):
        optics = pd.DataFrame([optics])
    return StarTable(path, particles.reset_index(drop=True), optics)


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


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
