"""IDX files, the form in which MNIST is distributed."""

import gzip
import struct
import zlib
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from cryolatent.errors import InputError

UNSIGNED_BYTES = 8
GZIP = b"\x1f\x8b"


def read_idx(path: str | Path) -> UInt8[np.ndarray, "..."]:
    """Read an IDX file of unsigned bytes, compressed by gzip or not.

    Args:
        path: The file.

    Returns:
        An array of as many dimensions as the file says.

    Raises:
        InputError: If the file is missing, no IDX file of bytes, or shorter or longer than it says.

    Source:
        LeCun, Cortes and Burges, The MNIST database, http://yann.lecun.com/exdb/mnist.
    """
    content = _content(Path(path))
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] != UNSIGNED_BYTES:
        raise _unusable(path, f"a file that begins with {content[:4].hex(' ') or 'nothing'}")
    dimensions = content[3]
    begin = 4 + 4 * dimensions
    if dimensions == 0 or len(content) < begin:
        raise _unusable(path, "a header that is cut short")
    shape = struct.unpack(f">{dimensions}I", content[4:begin])
    expected = int(np.prod(shape, dtype=object))
    if len(content) - begin != expected:
        sizes = " x ".join(map(str, shape))
        raise _unusable(path, f"{len(content) - begin} bytes of data for {sizes} values")
    return np.frombuffer(content, np.uint8, offset=begin).reshape(shape)


def _content(path: Path) -> bytes:
    try:
        content = path.read_bytes()
        return gzip.decompress(content) if content[:2] == GZIP else content
    except (OSError, EOFError, zlib.error) as error:
        raise _unusable(path, f"no readable file ({error})") from None


def _unusable(path: str | Path, found: str) -> InputError:
    return InputError(
        path, found, "an IDX file of unsigned bytes, gzipped or not", "Download the file again."
    )
