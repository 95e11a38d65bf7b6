"""STAR files as text: rows of the particle table are taken out without a number being rewritten."""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int

from cryolatent.errors import InputError

BEFORE_COMMENT = re.compile(r"""(?:'[^']*'|"[^"]*"|[^#'"])*""")
EARLIER = "cryolatent"  # begins the names of columns that an export adds
TOKEN = re.compile(r"""'[^']*'|"[^"]*"|\S+""")


@dataclass(frozen=True)
class StarText:
    """The lines of a particle STAR file, and which of them are particles.

    Args:
        path: The file.
        lines: All lines with their ends.
        columns: Names of the particle table's columns.
        header: Lines that name them.
        rows: Lines that hold the particles.
    """

    path: Path
    lines: tuple[str, ...]
    columns: tuple[str, ...]
    header: range
    rows: Int[np.ndarray, " n"]

    def __len__(self) -> int:
        return len(self.rows)

    def column(self, name: str, rows: Int[np.ndarray, " m"]) -> list[str]:
        """What stands in a column, as text.

        Args:
            name: Of the column.
            rows: Particles, counted from zero.

        Returns:
            One entry for each of `rows`.
        """
        at = self.columns.index(name)
        lines = (_without_comment(self.lines[row]) for row in self.rows[rows].tolist())
        return [TOKEN.findall(line)[at] for line in lines]

    def subset(self, rows: Int[np.ndarray, " m"], added: dict[str, list[str]]) -> str:
        """The file with some of its particles, all else as it stands.

        Args:
            rows: Particles, counted from zero, in the order wanted.
            added: Further columns, one entry for each of `rows`; a column of that name that the
                file has already is replaced, and those of an earlier export are left out.

        Returns:
            The text.
        """
        kept = [
            at
            for at, name in enumerate(self.columns)
            if name not in added and not name.startswith(EARLIER)
        ]
        untouched = len(kept) == len(self.columns)
        end = "\r\n" if self.lines[self.header[0]].endswith("\r\n") else "\n"
        names = [self.columns[at] for at in kept] + list(added)
        first = len(kept) if untouched else 0
        header = list(self.lines[self.header.start : self.header.stop]) if untouched else []
        header += [f"_{name} #{at + 1}{end}" for at, name in enumerate(names) if at >= first]
        particles = []
        for row, *extra in zip(self.rows[rows].tolist(), *added.values(), strict=True):
            line = _without_comment(self.lines[row])
            if not untouched:
                tokens = TOKEN.findall(line)
                line = " ".join(tokens[at] for at in kept)
            particles.append(" ".join([line.rstrip(), *extra]) + end)
        own = set(self.rows.tolist())
        after = [at for at in range(self.header.stop, len(self.lines)) if at not in own]
        before_rows = [self.lines[at] for at in after if at < self.rows[0]]
        behind = [self.lines[at] for at in after if at > self.rows[0]]
        above = self.lines[: self.header.start]
        return "".join([*above, *header, *before_rows, *particles, *behind])


def read_star_text(path: str | Path) -> StarText:
    """Read a particle STAR file as text.

    Args:
        path: A file that `read_star` reads.

    Returns:
        Its lines.

    Raises:
        InputError: If no table of particles is found.
    """
    lines = _lines(path)
    tables = _loops(lines)
    chosen = next((tables[name] for name in ("particles", "images", "") if name in tables), None)
    for loop in tables.values() if chosen is None else [chosen]:
        if "rlnImageName" not in loop.columns:
            continue
        rows = loop.rows(lines)
        if rows:
            return StarText(Path(path), lines, loop.columns, loop.header, np.array(rows))
    raise InputError(path, "no table of particles", "rows with rlnImageName", "Check the file.")


@dataclass(frozen=True)
class TextTable:
    """A table of a STAR file as text.

    Args:
        name: What follows ``data_``.
        columns: Names of the columns; they may repeat.
        rows: The lines of the rows, without comments; empty where the table is no loop.
    """

    name: str
    columns: tuple[str, ...]
    rows: tuple[str, ...]


def read_text_tables(path: str | Path) -> list[TextTable]:
    """Read every table of a STAR file as text.

    Args:
        path: The file.

    Returns:
        The tables in their order; of several of one name the last.
    """
    lines = _lines(path)
    found = {}
    for name, (start, stop) in _blocks(lines).items():
        header = _header(lines, start, stop)
        if header is None:
            entries = [line.split() for line in lines[start + 1 : stop]]
            columns = tuple(e[0][1:] for e in entries if e and e[0].startswith("_"))
            found[name] = TextTable(name, columns, ())
        else:
            loop = _Loop(header, stop, _columns(lines, header))
            rows = tuple(_without_comment(lines[at]) for at in loop.rows(lines))
            found[name] = TextTable(name, loop.columns, rows)
    return list(found.values())


@dataclass(frozen=True)
class _Loop:
    """A table with one row a line: the lines that name its columns, and where it ends."""

    header: range
    stop: int
    columns: tuple[str, ...]

    def rows(self, lines: tuple[str, ...]) -> list[int]:
        inside = range(self.header.stop, self.stop)
        return [at for at in inside if _without_comment(lines[at]).strip()]


def _lines(path: str | Path) -> tuple[str, ...]:
    # bytes that are no UTF-8 (in names) come back as they were
    with Path(path).open(encoding="utf-8", errors="surrogateescape", newline="") as stream:
        return tuple(stream)


def _blocks(lines: tuple[str, ...]) -> dict[str, tuple[int, int]]:
    starts = [at for at, line in enumerate(lines) if line.strip().startswith("data_")]
    ends = zip(starts, [*starts[1:], len(lines)], strict=True)
    return {lines[start].strip()[5:]: (start, stop) for start, stop in ends}


def _loops(lines: tuple[str, ...]) -> dict[str, _Loop]:
    loops = {}
    for name, (start, stop) in _blocks(lines).items():
        header = _header(lines, start, stop)
        if header is not None:
            loops[name] = _Loop(header, stop, _columns(lines, header))
    return loops


def _columns(lines: tuple[str, ...], header: range) -> tuple[str, ...]:
    return tuple(lines[at].split()[0][1:] for at in header)


def _header(lines: tuple[str, ...], start: int, stop: int) -> range | None:
    """The lines that name a loop's columns."""
    first = start + 1
    while first < stop and not lines[first].strip().startswith(("loop_", "_")):
        first += 1
    if first == stop or lines[first].strip().startswith("_"):
        return None
    last = first + 1
    while last < stop and lines[last].strip().startswith("_"):
        last += 1
    return range(first + 1, last) if last > first + 1 else None


def _without_comment(line: str) -> str:
    if "#" not in line:
        return line
    found = BEFORE_COMMENT.match(line)
    return found.group() if found else line
