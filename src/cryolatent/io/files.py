"""Writing files so that a reader sees the old one or the new one, never half of one."""

import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor


def write_atomically(path: Path, write: Callable[[Path], None]) -> None:
    """Write a file beside its place, flush it to disk, and move it there.

    Args:
        path: Where the file belongs.
        write: Writes it to the path that it is given.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        write(partial)
        # some writers make files that only their owner can read
        umask = os.umask(0)
        os.umask(umask)
        partial.chmod(0o666 & ~umask)
        _flush(partial)
        partial.replace(path)
        _flush(path.parent)
    except OSError as error:
        if error.filename is not None:
            raise
        # a full disk is reported without saying what was being written
        raise OSError(error.errno, error.strerror or str(error), str(path)) from None
    finally:
        partial.unlink(missing_ok=True)


def remove_partial(folder: Path) -> None:
    """Remove what `write_atomically` of a killed process left behind.

    Args:
        folder: Which nobody else writes into now.
    """
    for file in folder.glob(".*.partial"):
        file.unlink(missing_ok=True)


def save_tensors(tensors: dict[str, Tensor], path: Path) -> None:
    """Write tensors in the safetensors format.

    Args:
        tensors: Contiguous tensors by name.
        path: Where to write; an existing file is replaced.

    Raises:
        OSError: If the file cannot be written.
    """
    try:
        save_file(tensors, path)
    except SafetensorError as error:
        # the system's own number stands in its words alone
        code = re.search(r"os error (\d+)", str(error))
        if code is None:
            raise OSError(None, str(error), str(path)) from None
        raise OSError(int(code[1]), os.strerror(int(code[1]))) from None


def write_text_atomically(path: Path, text: str) -> None:
    """Write text with `write_atomically`.

    Args:
        path: Where the file belongs.
        text: Its content.
    """
    write_atomically(path, lambda partial: void(partial.write_text(text)))


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Fill a folder beside its place and move it there when it is complete.

    Args:
        path: Where the folder belongs; nothing or an empty folder is there, which may be the
            working directory.

    Yields:
        The folder to fill; it is removed if filling it fails.
    """
    path = path.absolute()
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.mkdir(parents=True)
        yield partial
        if path.exists():
            for entry in partial.iterdir():
                entry.replace(path / entry.name)
        else:
            partial.replace(path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def void(_: object) -> None:
    """Discard a value."""
