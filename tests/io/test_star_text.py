"""Rows of a STAR file taken out as text."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cryolatent.errors import InputError
from cryolatent.io import read_star, read_star_text

STAR = """# version 30001
data_optics

loop_
_rlnOpticsGroup #1
_rlnVoltage #2
1 300.000000

# version 30001

data_particles

loop_
_rlnImageName #1
_rlnAngleRot #2
_rlnOpticsGroup #3
000001@a.mrcs   1.50000000   1
# a remark
000002@a.mrcs  -0.1e-3       1 # trailing
'000003@a b#c.mrcs'  +3.1        1

data_other
loop_
_rlnImageName #1
x
"""


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "particles.star"
    path.write_bytes(text.encode())
    return path


def test_rows_are_the_text_that_they_were(tmp_path: Path) -> None:
    text = read_star_text(written(tmp_path, STAR))
    assert len(text) == 3
    got = text.subset(np.array([0, 2]), {"cryolatentMean0": ["0.5", "-1"]})
    lines = got.splitlines()
    assert lines[:12] == STAR.splitlines()[:12]
    assert "_cryolatentMean0 #4" in lines
    assert "000001@a.mrcs   1.50000000   1 0.5" in lines
    assert "'000003@a b#c.mrcs'  +3.1        1 -1" in lines
    assert not any("000002" in line for line in lines)
    assert got.endswith("data_other\nloop_\n_rlnImageName #1\nx\n")


def test_a_remark_behind_a_row_does_not_swallow_what_is_added(tmp_path: Path) -> None:
    path = written(tmp_path, STAR)
    path.write_text(read_star_text(path).subset(np.array([1]), {"new": ["7"]}))
    assert read_star(path).particles["new"].tolist() == [7]


def test_a_column_that_is_there_is_replaced_and_the_others_numbered_anew(tmp_path: Path) -> None:
    text = read_star_text(written(tmp_path, STAR))
    got = text.subset(np.arange(3), {"rlnAngleRot": ["7", "8", "9"]})
    lines = got.splitlines()
    assert lines[13:16] == ["_rlnImageName #1", "_rlnOpticsGroup #2", "_rlnAngleRot #3"]
    assert "'000003@a b#c.mrcs' 1 9" in lines
    assert got.count("_rlnAngleRot") == 1


def test_foreign_bytes_and_line_ends_come_back(tmp_path: Path) -> None:
    path = tmp_path / "particles.star"
    path.write_bytes(b"data_\r\nloop_\r\n_rlnImageName #1\r\n_x #2\r\n1@\xff.mrcs 2\r\n")
    got = read_star_text(path).subset(np.array([0]), {"y": ["3"]})
    assert got.encode("utf-8", "surrogateescape") == (
        b"data_\r\nloop_\r\n_rlnImageName #1\r\n_x #2\r\n_y #3\r\n1@\xff.mrcs 2 3\r\n"
    )


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=2, max_size=6), st.data()
)
def test_any_rows_in_any_order(tmp_path_factory, values: list[float], data: st.DataObject) -> None:
    rows = [f"{k + 1}@a.mrcs {value!r}" for k, value in enumerate(values)]
    path = tmp_path_factory.mktemp("star") / "a.star"
    path.write_text("\n".join(["data_", "", "loop_", "_rlnImageName", "_v", *rows, "", ""]))
    order = data.draw(st.permutations(range(len(values))))
    path.write_text(read_star_text(path).subset(np.array(order), {}))
    assert [line for line in path.read_text().splitlines() if "@" in line] == [
        rows[k] for k in order
    ]


def test_a_file_without_particles_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, "data_optics\n\nloop_\n_rlnOpticsGroup\n1\n")
    with pytest.raises(InputError, match="no table of particles"):
        read_star_text(path)
