"""Rows of a STAR file taken out as they stand: no number is written anew."""

import numpy as np
from jaxtyping import Int

from cryolatent.io.star_text import StarText

EARLIER = "cryolatent"  # begins the names of columns that an export adds


def column_text(text: StarText, name: str, rows: Int[np.ndarray, " m"]) -> list[str]:
    """What stands in a column of the particles, as text.

    Args:
        text: The file.
        name: Of the column.
        rows: Particles, counted from zero.

    Returns:
        One entry for each of `rows`.
    """
    block = text.particles
    at = block.columns.index(name)
    return [text.tokens(line)[at].decode("latin-1") for line in block.rows[rows].tolist()]


def subset(text: StarText, rows: Int[np.ndarray, " m"], added: dict[str, list[str]]) -> bytes:
    """A file with some of its particles, all else as it stands.

    Comments between rows are left out: RELION takes none there.

    Args:
        text: The file.
        rows: Particles, counted from zero, in the order wanted.
        added: Further columns, one entry for each of `rows`; a column of that name that the file
            has already is replaced, and those of an earlier export are left out.

    Returns:
        The file's content.
    """
    block, lines = text.particles, text.lines
    kept = [
        at
        for at, name in enumerate(block.columns)
        if name not in added and not name.startswith(EARLIER)
    ]
    whole = len(kept) == len(block.columns)
    names = [block.columns[at] for at in kept] + list(added)
    numbered = [f"_{name} #{at + 1}".encode() for at, name in enumerate(names)]
    above = [*lines[: block.header.stop if whole else block.header.start]]
    above += numbered[len(kept) if whole else 0 :]
    particles = []
    for line, *extra in zip(block.rows[rows].tolist(), *added.values(), strict=True):
        own = text.tokens(line)
        # with nothing behind them even the spaces between the entries can stay
        stays = whole and lines[line].rstrip().endswith(own[-1])
        begin = lines[line].rstrip() if stays else b" ".join(own[at] for at in kept)
        particles.append(b" ".join([begin, *(value.encode("latin-1") for value in extra)]))
    last = int(block.rows[-1]) + 1
    while last < len(lines) and lines[last].lstrip().startswith(b"#"):
        last += 1
    gap = [b""] if last < len(lines) and lines[last].strip() else []
    between = lines[block.header.stop : block.rows[0]]
    return text.end.join([*above, *between, *particles, *gap, *lines[last:]])
