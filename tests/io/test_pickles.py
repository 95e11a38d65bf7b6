"""The reader of foreign pickles builds arrays and runs nothing."""

import contextlib
import os
import pickle
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cryolatent.errors import InputError
from cryolatent.io import read_pickles

RAN = []


def runs() -> None:
    RAN.append("this must not run")


class Attack:
    """A pickle that makes a folder, or calls a function of this process, when it is loaded."""

    def __init__(self, function, *arguments) -> None:
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def write(path: Path, *values: object, protocol: int = 4) -> Path:
    with path.open("wb") as stream:
        for value in values:
            pickle.dump(value, stream, protocol=protocol)
    return path


ARRAYS = [
    np.arange(6.0).reshape(2, 3),
    np.arange(6, dtype="<f4").reshape(2, 3),
    np.arange(6, dtype=">f4").reshape(2, 3),
    np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    np.arange(24.0).reshape(2, 3, 4)[:, ::2],
    np.array([True, False]),
    np.array([], dtype=np.int64),
    np.array(3.5),
    np.arange(3, dtype=np.uint16),
]


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("array", ARRAYS, ids=lambda a: f"{a.dtype.str}{a.shape}")
def test_arrays_come_back(tmp_path, array, protocol):
    (found,) = read_pickles(write(tmp_path / "a.pkl", array, protocol=protocol), "arrays")
    assert found.dtype == array.dtype.newbyteorder("=") or found.dtype == array.dtype
    np.testing.assert_array_equal(found, array)


@pytest.mark.parametrize("protocol", range(6))
def test_tuples_lists_numbers_and_consecutive_pickles(tmp_path, protocol):
    a, b = ARRAYS[:2]
    path = write(tmp_path / "a.pkl", (a, b), [1, 2], a, np.float32(2.5), protocol=protocol)
    pair, numbers, third, scalar = read_pickles(path, "arrays")
    assert isinstance(pair, tuple)
    np.testing.assert_array_equal(pair[1], b)
    assert numbers == [1, 2]
    np.testing.assert_array_equal(third, a)
    assert scalar == 2.5


def attacks(folder: Path) -> dict[str, object]:
    made = str(folder / "made")
    return {
        "system": Attack(os.system, f"mkdir {made}"),
        "mkdir": Attack(os.mkdir, made),
        "own function": Attack(runs),
        "eval": Attack(eval, f"__import__('os').mkdir({made!r})"),
        "inside an array": np.array([Attack(os.mkdir, made)], dtype=object),
        "inside a tuple": (np.zeros(2), Attack(os.mkdir, made)),
        "getattr": Attack(getattr, "text", "upper"),
        "numpy's file reader": Attack(np.fromfile, __file__),
        "a harmless class": OrderedDict(a=1),
        "object array": np.array([1, "a"], dtype=object),
        "text array": np.array(["a", "b"]),
        "records": np.zeros(2, dtype=[("a", "f4"), ("b", "i4")]),
        "dictionary": {"a": 1},
        "nested": [[np.zeros(2)]],
        "set": {1, 2},
        "text": "text",
    }


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
@pytest.mark.parametrize("name", attacks(Path()))
def test_anything_else_is_refused_and_nothing_runs(tmp_path, name, protocol):
    path = write(tmp_path / "a.pkl", attacks(tmp_path)[name], protocol=protocol)
    with pytest.raises(InputError, match=r"a\.pkl: found no pickle of arrays .*nothing was run"):
        read_pickles(path, "arrays")
    assert RAN == []
    assert [file.name for file in tmp_path.iterdir()] == ["a.pkl"]


def test_the_attacks_would_run_if_they_were_let(tmp_path):
    with write(tmp_path / "a.pkl", Attack(os.mkdir, str(tmp_path / "made"))).open("rb") as stream:
        pickle.load(stream)
    assert (tmp_path / "made").is_dir()


def test_a_second_pickle_is_checked_too(tmp_path):
    path = write(tmp_path / "z.pkl", np.zeros(3), Attack(os.mkdir, str(tmp_path / "made")))
    with pytest.raises(InputError, match="nothing was run"):
        read_pickles(path, "arrays")
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    ("content", "found"),
    [(b"", "an empty file"), (b"some text\n", "no pickle"), (bytes(range(256)), "no pickle")],
)
def test_other_files_are_refused(tmp_path, content, found):
    path = tmp_path / "a.pkl"
    path.write_bytes(content)
    with pytest.raises(InputError, match=found):
        read_pickles(path, "arrays")


def test_missing_file_and_folder_are_refused(tmp_path):
    for path, found in ((tmp_path / "none.pkl", "no such file"), (tmp_path, "a folder")):
        with pytest.raises(InputError, match=found):
            read_pickles(path, "arrays")


@given(st.data())
@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_damaged_pickles_are_refused_or_read(tmp_path, data):
    content = bytearray(pickle.dumps((ARRAYS[0], ARRAYS[6]), protocol=data.draw(st.integers(0, 5))))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "a.pkl"
    path.write_bytes(content[: data.draw(st.integers(1, len(content)))])
    with contextlib.suppress(InputError):
        read_pickles(path, "arrays")
