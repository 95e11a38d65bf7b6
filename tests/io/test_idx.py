"""IDX files: what is read, and what is refused."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryolatent.errors import InputError
from cryolatent.io import read_idx


def idx(values: np.ndarray, code: int = 8) -> bytes:
    head = bytes([0, 0, code, values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape)
    return head + values.astype(np.uint8).tobytes()


@given(st.lists(st.integers(1, 5), min_size=1, max_size=4), st.booleans())
def test_array_survives(tmp_path_factory, shape: list[int], packed: bool) -> None:
    values = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    path = tmp_path_factory.mktemp("idx") / "file"
    path.write_bytes(gzip.compress(idx(values)) if packed else idx(values))
    assert np.array_equal(read_idx(path), values)


WHOLE = idx(np.arange(12).reshape(3, 4))


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "begins with nothing"),
        (b"PK\x03\x04", "begins with 50 4b 03 04"),
        (idx(np.arange(3), code=13), "begins with 00 00 0d 01"),
        (WHOLE[:9], "header that is cut short"),
        (WHOLE[:-1], "11 bytes of data for 3 x 4 values"),
        (WHOLE + b"x", "13 bytes of data for 3 x 4 values"),
        (gzip.compress(WHOLE, mtime=0)[:-9], "no readable file"),
    ],
)
def test_other_content_is_refused(tmp_path: Path, content: bytes, found: str) -> None:
    path = tmp_path / "digits"
    path.write_bytes(content)
    with pytest.raises(InputError, match=f"digits.*{found}"):
        read_idx(path)


def test_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no readable file"):
        read_idx(tmp_path / "none")
