"""Images written chunk by chunk into one file, with a journal from which the work continues."""

import fcntl
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np

from cryolatent.data.images import ImageSource
from cryolatent.data.packed.reading import IMAGES
from cryolatent.data.packed.work import in_threads
from cryolatent.errors import InputError

JOURNAL = "journal.jsonl"


def write_images(
    folder: Path,
    source: ImageSource,
    dtype: str,
    todo: Sequence[range],
    workers: int,
    progress: Callable[[int], None] = lambda done: None,
) -> str:
    """Write all images to ``images.npy``; chunks that the journal names are kept if unchanged.

    Args:
        folder: Where to write.
        source: The images.
        dtype: ``float16`` or ``float32``.
        todo: Consecutive chunks, the same in every attempt.
        workers: Number of threads.
        progress: Called with the number of images done.

    Returns:
        SHA-256 of the chunks' SHA-256, in order.

    Raises:
        InputError: If another process packs into the folder now.
    """
    with _locked(folder / JOURNAL) as journal:
        kept = _read(folder / JOURNAL)
        descriptor, first = _open(folder / IMAGES, (len(source), source.box, source.box), dtype)
        size = source.box**2 * np.dtype(dtype).itemsize

        def work(chunk: range) -> str:
            place, length = first + chunk.start * size, len(chunk) * size
            if (
                chunk.start in kept
                and _digest(os.pread(descriptor, length, place)) == (kept[chunk.start])
            ):
                return kept[chunk.start]
            images = source.read(np.arange(chunk.start, chunk.stop)).astype(dtype, copy=False)
            content = np.ascontiguousarray(images).data.cast("B")
            _write(descriptor, content, place)
            digest = _digest(content)
            # one short append: lines of several threads do not mix
            os.write(journal.fileno(), f"{json.dumps([chunk.start, digest])}\n".encode())
            return digest

        try:
            whole = hashlib.sha256()
            for chunk, digest in in_threads(work, todo, workers):
                whole.update(bytes.fromhex(digest))
                progress(chunk.stop)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    return whole.hexdigest()


@contextmanager
def _locked(path: Path) -> Iterator[IO[bytes]]:
    with path.open("ab") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise InputError(
                path.parent, "another process packing into it", "one at a time", "Wait or stop it."
            ) from None
        yield stream


def _read(path: Path) -> dict[int, str]:
    text = path.read_text()
    # a last line without its end was cut short
    return dict(json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines())


def _open(path: Path, shape: tuple[int, int, int], dtype: str) -> tuple[int, int]:
    """Open the file with its header and its room on the disk; where the images begin."""
    if not path.exists():
        with path.open("wb") as stream:
            header = {"descr": np.dtype(dtype).str, "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(stream, header)
    with path.open("rb") as stream:
        np.lib.format.read_magic(stream)
        np.lib.format.read_array_header_1_0(stream)
        first = stream.tell()
    descriptor = os.open(path, os.O_RDWR)
    total = first + int(np.prod(shape)) * np.dtype(dtype).itemsize
    try:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(descriptor, 0, total)
        else:
            os.ftruncate(descriptor, total)
    except OSError as error:
        os.close(descriptor)
        raise OSError(error.errno, error.strerror, str(path)) from None
    return descriptor, first


def _write(descriptor: int, content: memoryview, place: int) -> None:
    while len(content):
        done = os.pwrite(descriptor, content, place)
        content, place = content[done:], place + done


def _digest(content: bytes | memoryview) -> str:
    return hashlib.sha256(content).hexdigest()
