"""STAR files by their lines: read as RELION and the package starfile read them, or refused.

RELION takes a file line by line: one row a line, and the first empty line ends a table. What it and
starfile take differently has no one meaning, so the line is refused by its number. Where starfile
alone is at fault (it cuts names at ``#`` and turns ``'`` into ``"``), RELION's reading holds.
"""

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Int

from cryolatent.errors import InputError

NAME = b"data_"
IMAGES = "rlnImageName"
PRINTABLE = bytes([9, 10, *range(32, 127), *range(128, 256)])
# a comment; a value in quotes, which end before a space; a quote that does not; any other value
TOKEN = re.compile(
    rb"""(?<![^ \t])(?:(?P<comment>\#.*)|(?P<quote>["']).*?(?P=quote)(?![^ \t])"""
    rb"""|(?P<open>["'].*)|[^ \t]+)"""
)
QUOTED = re.compile(rb"""(?:^|[ \t])[#"']""")
ENCODINGS = {
    b"\x1f\x8b": ("a file compressed by gzip", "Unpack it with gunzip."),
    b"\xff\xfe": ("text in UTF-16", "Save it as UTF-8."),
    b"\xfe\xff": ("text in UTF-16", "Save it as UTF-8."),
}
AGAIN = "Write the file again with the program that made it."


@dataclass(frozen=True)
class StarBlock:
    """A table of a STAR file.

    Args:
        name: What follows ``data_``.
        columns: Names of its columns.
        header: Lines that name them; comments and empty lines may be among them.
        rows: Lines of the rows; those of the pairs where the table is no loop.
        is_loop: Whether it has one row a line, rather than one name with its value.
    """

    name: str
    columns: tuple[str, ...]
    header: range
    rows: Int[np.ndarray, " n"]
    is_loop: bool

    def place(self, row: int) -> str:
        """Where a row stands, for messages.

        Args:
            row: Which, counted from zero.

        Returns:
            Its line and its number, both counted from one.
        """
        kind = "data_optics" if self.name == "optics" else "particle"
        return f"line {self.rows[row] + 1}, {kind} row {row + 1}"


@dataclass(frozen=True)
class StarText:
    """The lines of a STAR file.

    Args:
        path: The file.
        lines: All its lines, without their ends.
        end: What ends a line.
        starts: Lines that begin tables.
    """

    path: Path
    lines: tuple[bytes, ...]
    end: bytes
    starts: tuple[int, ...]

    @cached_property
    def names(self) -> tuple[str, ...]:
        """What follows ``data_``, for each table."""
        return tuple(_text(self.lines[start].strip()[len(NAME) :]) for start in self.starts)

    @cached_property
    def particles(self) -> StarBlock:
        """The one table of images.

        Raises:
            InputError: If there is none or are several, or a line of it has no one meaning.
        """
        found = [at for at in range(len(self.starts)) if IMAGES in self._columns_of(at)]
        if not found:
            raise InputError(
                self.path,
                f"tables {sorted(self.names) or 'none'} without {IMAGES}",
                "a table of particles",
                "Give the STAR file of the particles, not of micrographs or a job.",
            )
        first = self.names[found[0]]
        rivals = found + [at for at in self._called("particles") if at not in found]
        if len(rivals) > 1:
            tables = " and ".join(self._table(at) for at in rivals)
            raise InputError(
                self.path,
                f"several tables of particles, {tables}",
                "one; RELION reads the first and others read the last",
                "Put all rows in one table, or each table in a file of its own.",
            )
        block = self.block(first)
        if block is None or not len(block.rows) or not block.is_loop:
            raise InputError(self.path, "no particles", "at least one row", "Check the selection.")
        return block

    def block(self, name: str) -> StarBlock | None:
        """The table of a name.

        Args:
            name: What follows ``data_``.

        Returns:
            The table; None if there is none.

        Raises:
            InputError: If there are several, or a line of it has no one meaning.
        """
        found = self._called(name)
        if not found:
            return None
        if len(found) > 1:
            raise InputError(
                self.path,
                f"data_{name} twice, {' and '.join(self._table(at) for at in found)}",
                "every table once; RELION reads the first and others read the last",
                "Remove or rename one of them.",
            )
        self._refuse_hidden(name, self.starts[found[0]])
        return self._block(found[0])

    def tokens(self, line: int) -> list[bytes]:
        """What stands in a line, quotes included and comments left out.

        Args:
            line: Which, counted from zero.

        Returns:
            One entry for each value.

        Raises:
            InputError: If a quote is not closed, or several spaces follow each other in quotes.
        """
        found = [token for token in TOKEN.finditer(self.lines[line]) if not token["comment"]]
        if any(token["open"] for token in found):
            raise self.refusal(line, "a quote that is not closed", "its end, before a space")
        tokens = [token.group() for token in found]
        if any(b"  " in token or b"\t" in token for token in tokens):
            raise self.refusal(
                line, "two spaces or a tab in quotes", "one space; RELION makes one of them"
            )
        return tokens

    def refusal(self, line: int, found: str, expected: str, way_out: str = AGAIN) -> InputError:
        """What is wrong with a line.

        Args:
            line: Which, counted from zero.
            found: What is there.
            expected: What should be there.
            way_out: What can be done.

        Returns:
            The error.
        """
        return InputError(self.path, found, expected, way_out, row=f"line {line + 1}")

    def _called(self, name: str) -> list[int]:
        return [at for at, other in enumerate(self.names) if other == name]

    def _table(self, at: int) -> str:
        return f"data_{self.names[at]} in line {self.starts[at] + 1}"

    def _stop(self, at: int) -> int:
        return [*self.starts, len(self.lines)][at + 1]

    def _columns_of(self, at: int) -> set[str]:
        """Names that a table may have, before it is looked at closely."""
        names = set()
        for line in self.lines[self.starts[at] + 1 : self._stop(at)]:
            words = line.split()
            if words and words[0].startswith(b"_"):
                names.add(_text(words[0][1:]))
            elif names and words and not words[0].startswith(b"#"):
                break
        return names

    def _refuse_hidden(self, name: str, start: int) -> None:
        """RELION begins a table at any line in which ``data_`` stands before its name."""
        for line in range(start):
            _, begin, behind = self.lines[line].partition(NAME)
            if begin and _text(behind.strip(b" ")) == name:
                raise self.refusal(
                    line,
                    f"data_{name} beside other text",
                    "the table's name alone; RELION begins the table here",
                    "Reword the line.",
                )

    def _block(self, at: int) -> StarBlock:
        start, stop = self.starts[at], self._stop(at)
        line = start + 1
        while line < stop and self._is_void(line):
            line += 1
        if line == stop:
            return StarBlock(self.names[at], (), range(line, line), np.zeros(0, int), is_loop=True)
        if self.lines[line].startswith(b"_"):
            return self._pairs(at, line)
        words = self.lines[line].split()
        if words[0] != b"loop_" or (len(words) > 1 and not words[1].startswith(b"#")):
            raise self.refusal(line, _shown(self.lines[line]), "loop_, or a name at its beginning")
        return self._loop(at, line + 1)

    def _pairs(self, at: int, first: int) -> StarBlock:
        lines = [line for line in range(first, self._stop(at)) if not self._is_void(line)]
        columns = []
        for line in lines:
            tokens = self.tokens(line)
            if len(tokens) != 2 or not tokens[0].startswith(b"_"):
                raise self.refusal(line, _shown(self.lines[line]), "a name and its value")
            columns.append(_text(tokens[0][1:]))
        header = range(first, self._stop(at))
        rows = np.array(lines)
        return self._checked(StarBlock(self.names[at], tuple(columns), header, rows, is_loop=False))

    def _loop(self, at: int, first: int) -> StarBlock:
        line, stop, header, columns = first, self._stop(at), range(first, first), []
        while line < stop:
            words = self.lines[line].split()
            if words and words[0].startswith(b"_"):
                columns.append(self._column(line, words))
                header = range(first, line + 1)
            elif words and not words[0].startswith(b"#"):
                break
            line += 1
        if line < stop and self.lines[line].lstrip().startswith(b";"):
            raise self.refusal(line, "a row that begins with ;", "no text over several lines")
        rows = self._rows(line, stop, len(columns))
        return self._checked(StarBlock(self.names[at], tuple(columns), header, rows, is_loop=True))

    def _column(self, line: int, words: list[bytes]) -> str:
        if b"#" in words[0] or (len(words) > 1 and not words[1].startswith(b"#")):
            raise self.refusal(
                line,
                _shown(self.lines[line]),
                "one column's name, a space and its number after #",
                "If it is a row, put its value in quotes.",
            )
        return _text(words[0][1:])

    def _rows(self, first: int, stop: int, columns: int) -> Int[np.ndarray, " n"]:
        rows, line = [], first
        while line < stop and (text := self.lines[line].lstrip()):
            if not text.startswith(b"#"):
                rows.append(line)
            line += 1
        behind = next((at for at in range(line, stop) if not self._is_void(at)), None)
        if behind is not None:
            raise self.refusal(
                behind,
                f"{_shown(self.lines[behind])} behind the empty line {line + 1}",
                "rows without empty lines between them; RELION stops at the first",
                "Remove the empty line.",
            )
        if columns <= 2 and rows and (len(rows) < line - first or line == stop < len(self.lines)):
            raise self.refusal(
                rows[-1],
                "a comment or the next table right beside the rows",
                "an empty line; RELION takes what is there for a row",
                "Put an empty line behind the rows.",
            )
        return np.array(rows, dtype=int)

    def _checked(self, block: StarBlock) -> StarBlock:
        twice = [name for at, name in enumerate(block.columns) if name in block.columns[:at]]
        if twice:
            raise InputError(
                self.path,
                f"column {twice[0]} twice in data_{block.name}",
                "every column once",
                "Remove one of them, with its values.",
            )
        return block

    def _is_void(self, line: int) -> bool:
        text = self.lines[line].lstrip()
        return not text or text.startswith(b"#")


def read_star_text(path: str | Path) -> StarText:
    """Read a STAR file as text.

    Args:
        path: A file of RELION 3.0 or later.

    Returns:
        Its lines.

    Raises:
        InputError: If there is no such file, it is no text of 8-bit characters, or something stands
            behind a table's name.
    """
    path = Path(path)
    if not path.is_file():
        found = "a folder" if path.is_dir() else "no such file"
        raise InputError(path, found, "a particle STAR file", "Check the name.")
    raw = path.read_bytes()
    for begin, (found, way_out) in ENCODINGS.items():
        if raw.startswith(begin):
            raise InputError(path, found, "a STAR file as plain text", way_out)
    raw = raw.removeprefix(b"\xef\xbb\xbf")
    end = next((mark for mark in (b"\r\n", b"\n", b"\r") if mark in raw), b"\n")
    lines = tuple((raw if end == b"\n" else raw.replace(end, b"\n")).split(b"\n"))
    odd = raw.replace(end, b"\n").translate(None, PRINTABLE)
    starts = [at for at, line in enumerate(lines) if line.lstrip().startswith(NAME)]
    text = StarText(path, lines, end, tuple(starts))
    if odd:
        line = next(at for at, line in enumerate(lines) if odd[:1] in line)
        raise text.refusal(line, f"the control character {odd[0]}", "text", AGAIN)
    for start in starts:
        if len(lines[start].split()) > 1 or lines[start].strip(b" ") != lines[start].strip():
            raise text.refusal(
                start,
                f"{_shown(lines[start])}, which begins like a table",
                "data_ and a name alone",
                "If it is a row, put its first value in quotes.",
            )
    return text


def encoding_of(raw: bytes) -> str:
    """How bytes are to be read: text that is no UTF-8 is taken for Latin-1.

    Args:
        raw: Text.

    Returns:
        The encoding's name.
    """
    try:
        raw.decode()
    except UnicodeDecodeError:
        return "latin-1"
    return "utf-8"


def _text(raw: bytes) -> str:
    return raw.decode(encoding_of(raw))


def _shown(line: bytes) -> str:
    text = _text(line.strip())
    return text if len(text) < 40 else f"{text[:37]}..."
