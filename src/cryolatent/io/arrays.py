"""NumPy archives, read without pickle."""

import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from cryolatent.errors import InputError


def read_arrays(
    path: str | Path, names: Iterable[str], *optional: Iterable[str]
) -> dict[str, np.ndarray]:
    """Read named arrays of an ``.npz`` archive.

    Args:
        path: The archive.
        names: Arrays that must be in it.
        optional: Groups of arrays: either all of a group are in it, or none.

    Returns:
        The arrays by name.

    Raises:
        InputError: If the file is missing, is no complete archive or lacks an array.
    """
    names, groups = tuple(names), [tuple(group) for group in optional]
    try:
        with Path(path).open("rb") as stream, np.load(stream) as data:
            for group in groups:
                names += group if set(group) & set(data.files) else ()
            return {name: data[name] for name in names}
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(
            path,
            f"no usable arrays ({error})",
            f"an .npz with {', '.join(names)}",
            "Write the file again.",
        ) from None
