"""Images written chunk by chunk into one file, with a journal from which the work continues."""

import errno
import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import IO

import numpy as np

from cryolatent.data.images import ImageSource
from cryolatent.data.packed import IMAGES
from cryolatent.errors import InputError
from cryolatent.io.files import remove_partial
from cryolatent.prepare.work import over_threads
from cryolatent.progress import Advance, unwatched

JOURNAL = "journal.jsonl"


def write_images(
    folder: Path,
    source: ImageSource,
    dtype: str,
    todo: Sequence[range],
    workers: int,
    progress: Advance = unwatched,
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
        remove_partial(folder)
        _end_line(folder / JOURNAL)
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
            line = f"{json.dumps([chunk.start, digest])}\n".encode()
            if os.write(journal.fileno(), line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), journal.name)
            return digest

        try:
            whole = hashlib.sha256()
            for chunk, digest in over_threads(work, todo, workers):
                whole.update(bytes.fromhex(digest))
                progress(chunk.stop)
            os.fsync(descriptor)
        except OSError as error:
            raise _named(error, folder) from None
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
    kept = {}
    for line in path.read_bytes().splitlines():
        try:
            start, digest = json.loads(line)
            kept[int(start)] = str(digest)
        except (ValueError, TypeError):
            continue  # a line that was cut short: its chunk is made again
    return kept


def _end_line(path: Path) -> None:
    """Cut off a last line without its end, which the next line would be written behind."""
    content = path.read_bytes()
    os.truncate(path, content.rfind(b"\n") + 1)


def _open(path: Path, shape: tuple[int, int, int], dtype: str) -> tuple[int, int]:
    """Open the file with its header and its room on the disk; where the images begin."""
    start = BytesIO()
    header = {"descr": np.dtype(dtype).str, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(start, header)
    first = start.tell()
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    total = first + int(np.prod(shape)) * np.dtype(dtype).itemsize
    try:
        # every time: a full disk or a crash may have left a part of it
        _write(descriptor, start.getbuffer(), 0)
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(descriptor, 0, total)
        else:
            os.ftruncate(descriptor, total)
    except OSError as error:
        os.close(descriptor)
        raise _named(error, path) from None
    return descriptor, first


def _named(error: OSError, path: Path) -> OSError:
    """The error with a path: a full disk is reported without saying what was being written."""
    if error.filename is not None:
        return error
    return OSError(error.errno, error.strerror or str(error), str(path))


def _write(descriptor: int, content: memoryview, place: int) -> None:
    while len(content):
        done = os.pwrite(descriptor, content, place)
        content, place = content[done:], place + done


def _digest(content: bytes | memoryview) -> str:
    return hashlib.sha256(content).hexdigest()
