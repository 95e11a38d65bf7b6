"""cryoDRGN's pickles, by a reader that can build NumPy arrays and nothing else.

A pickle is a program. Here its requests for NumPy's constructors are answered by recorders that
keep what they are given, every other request is refused before anything is called, and arrays are
made from the recorded bytes at the end: no code that the file names ever runs.
"""

import pickle
import re
from io import BytesIO
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from cryolatent.errors import InputError

PLAIN_DTYPE = re.compile(r"[biuf][1248]|b1|f16")
FORTRAN = 3
DEPTH = 4
"""How many dictionaries deep settings may lie."""


class _Dtype:
    """Records the request for a plain numeric dtype."""

    def __init__(self, name: str, *_: object) -> None:
        if not isinstance(name, str) or not PLAIN_DTYPE.fullmatch(name.lstrip("<>|=")):
            raise pickle.UnpicklingError(f"the dtype {name!r:.40}")
        self.name, self.swapped = name, name.startswith(">")

    def __setstate__(self, state: Any) -> None:
        self.swapped = state[1] == ">"

    def build(self) -> np.dtype:
        return np.dtype(self.name.lstrip("<>|=")).newbyteorder(">" if self.swapped else "<")


class _Array:
    """Records the parts of an array: shape, dtype, order of the axes, bytes."""

    parts: tuple[Any, ...] | None = None

    def __init__(self, *_: object) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, fortran, content = state
        self.parts = shape, dtype, bool(fortran), content

    def build(self) -> np.ndarray:
        if self.parts is None:
            raise pickle.UnpicklingError("an array without content")
        shape, dtype, fortran, content = self.parts
        if not isinstance(dtype, _Dtype) or not isinstance(content, bytes | bytearray):
            raise pickle.UnpicklingError("an array of objects")
        values = np.frombuffer(content, dtype.build())
        if not all(isinstance(side, int) and side >= 0 for side in shape):
            raise pickle.UnpicklingError("an array without shape")
        if prod(shape) != values.size:
            raise pickle.UnpicklingError(f"an array of {values.size} numbers and shape {shape}")
        return values.reshape(shape, order="F" if fortran else "C").copy()


class _Buffer(_Array):
    """An array as pickle's protocol 5 writes it."""

    def __init__(self, content: Any, dtype: Any, shape: Any, order: Any, *_: object) -> None:
        self.parts = shape, dtype, order == "F", bytes(content)


class _Scalar(_Array):
    """A NumPy number."""

    def __init__(self, dtype: Any, content: Any) -> None:
        self.parts = (), dtype, False, content


class _Bytes(_Array):
    """Bytes as protocols below 3 write them: text in Latin-1."""

    def __new__(cls, text: str = "", encoding: str = "latin1") -> Any:
        if encoding not in ("latin1", "latin-1"):
            raise pickle.UnpicklingError(f"text in {encoding!r:.20}")
        return text.encode("latin-1")


_ALLOWED = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
    ("_codecs", "encode"): _Bytes,
    ("__builtin__", "bytes"): _Bytes,
}
for _module in ("numpy.core", "numpy._core"):
    _ALLOWED[f"{_module}.multiarray", "_reconstruct"] = _Array
    _ALLOWED[f"{_module}.multiarray", "scalar"] = _Scalar
    _ALLOWED[f"{_module}.numeric", "_frombuffer"] = _Buffer


class _ArraysOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"a request for {module}.{name}")
        return _ALLOWED[module, name]


def read_pickles(path: str | Path, what: str, *, settings: bool = False) -> list[Any]:
    """Read the arrays of one or several consecutive pickles.

    Args:
        path: The file.
        what: What it should be, for messages.
        settings: Whether dictionaries and texts, within each other, are read too.

    Returns:
        For each pickle an array, or a tuple or list of arrays and numbers.

    Raises:
        InputError: If the file is missing, is damaged, or asks for anything but arrays.
    """
    path = Path(path)
    if not path.is_file():
        found = "a folder" if path.is_dir() else "no such file"
        raise InputError(path, found, what, "Check the name.")
    found = []
    try:
        stream = BytesIO(path.read_bytes())
        while stream.tell() < len(stream.getbuffer()):
            found.append(_built(_ArraysOnly(stream).load(), -DEPTH if settings else 0))
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(
            path,
            f"no pickle of arrays ({reason})",
            f"{what}; nothing else is read, and nothing was run",
            "Write the arrays again with pickle.dump, from a source that you trust.",
        ) from None
    if not found:
        raise InputError(path, "an empty file", what, "Write it again.")
    return found


def _built(value: Any, depth: int = 0) -> Any:
    match value:
        case _Array():
            return value.build()
        case tuple() | list() if depth <= 0:
            return type(value)(_built(part, depth + 1) for part in value)
        case dict() if depth < 0:
            return {str(name): _built(part, depth + 1) for name, part in value.items()}
        case str() if depth < 0:
            return value
        case bool() | int() | float() | None:
            return value
    raise pickle.UnpicklingError(f"{type(value).__name__} where an array belongs")


def read_weights(path: str | Path) -> dict[str, Any]:
    """Read what `torch.save` wrote: tensors, numbers, texts and dictionaries of them.

    Args:
        path: The file.

    Returns:
        Its content.

    Raises:
        InputError: If it is missing, is damaged, or asks for anything else.
    """
    import torch

    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        asked = re.search(r"GLOBAL (\S+)", str(error))
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(
            path,
            f"no weights ({f'a request for {asked[1]}' if asked else reason})",
            "tensors by name; nothing else is read, and nothing was run",
            "Save the tensors again, from a source that you trust.",
        ) from None
    if not isinstance(found, dict):
        raise InputError(path, f"a {type(found).__name__}", "tensors by name", "Check the name.")
    return found
