"""STAR files as text: rows of the particle table are taken out without a number being rewritten."""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int

from cryolatent.errors import InputError

BEFORE_COMMENT = re.compile(r"""(?:'[^']*'|"[^"]*"|[^#'"])*""")
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

    def subset(self, rows: Int[np.ndarray, " m"], added: dict[str, list[str]]) -> str:
        """The file with some of its particles, all else as it stands.

        Args:
            rows: Particles, counted from zero, in the order wanted.
            added: Further columns, one entry for each of `rows`; a column of that name that the
                file has already is replaced.

        Returns:
            The text.
        """
        kept = [at for at, name in enumerate(self.columns) if name not in added]
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
    # bytes that are no UTF-8 (in names) come back as they were
    with Path(path).open(encoding="utf-8", errors="surrogateescape", newline="") as stream:
        lines = tuple(stream)
    tables = {}
    starts = [at for at, line in enumerate(lines) if line.strip().startswith("data_")]
    for start, stop in zip(starts, [*starts[1:], len(lines)], strict=True):
        header = _header(lines, start, stop)
        if header is not None:
            tables[lines[start].strip()[5:]] = (header, stop)
    chosen = next((tables[name] for name in ("particles", "images", "") if name in tables), None)
    for header, stop in tables.values() if chosen is None else [chosen]:
        columns = tuple(lines[at].split()[0][1:] for at in header)
        if "rlnImageName" not in columns:
            continue
        rows = [at for at in range(header.stop, stop) if _without_comment(lines[at]).strip()]
        if rows:
            return StarText(Path(path), lines, columns, header, np.array(rows))
    raise InputError(path, "no table of particles", "rows with rlnImageName", "Check the file.")


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
