"""Writing files so that a reader sees the old one or the new one, never half of one."""

import os
from collections.abc import Callable
from pathlib import Path


def write_atomically(path: Path, write: Callable[[Path], None]) -> None:
    """Write a file beside its place, flush it to disk, and move it there.

    Args:
        path: Where the file belongs.
        write: Writes it to the path that it is given.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    try:
        write(partial)
        with partial.open("rb") as stream:
            os.fsync(stream.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_text_atomically(path: Path, text: str) -> None:
    """Write text with `write_atomically`.

    Args:
        path: Where the file belongs.
        text: Its content.
    """
    write_atomically(path, lambda partial: void(partial.write_text(text)))


def void(_: object) -> None:
    """Discard a value."""
