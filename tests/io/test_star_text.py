"""Rows of a STAR file taken out as text."""

import gzip
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cryolatent.errors import InputError
from cryolatent.io import read_star, read_star_text, subset

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
_rlnMicrographName #1
x
"""


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "particles.star"
    path.write_bytes(text.encode())
    return path


def test_rows_are_the_text_that_they_were(tmp_path: Path) -> None:
    text = read_star_text(written(tmp_path, STAR))
    assert len(text.particles.rows) == 3
    got = subset(text, np.array([0, 2]), {"cryolatentMean0": ["0.5", "-1"]}).decode()
    lines = got.splitlines()
    assert lines[:12] == STAR.splitlines()[:12]
    assert "_cryolatentMean0 #4" in lines
    assert "000001@a.mrcs   1.50000000   1 0.5" in lines
    assert "'000003@a b#c.mrcs'  +3.1        1 -1" in lines
    assert not any("000002" in line for line in lines)
    assert "# a remark" not in lines
    assert got.endswith("\n\ndata_other\nloop_\n_rlnMicrographName #1\nx\n")


def test_a_remark_behind_a_row_does_not_swallow_what_is_added(tmp_path: Path) -> None:
    path = written(tmp_path, STAR)
    path.write_bytes(subset(read_star_text(path), np.array([1]), {"new": ["7"]}))
    assert read_star(path).particles["new"].tolist() == [7]


def test_a_column_that_is_there_is_replaced_and_the_others_numbered_anew(tmp_path: Path) -> None:
    text = read_star_text(written(tmp_path, STAR))
    got = subset(text, np.arange(3), {"rlnAngleRot": ["7", "8", "9"]}).decode()
    lines = got.splitlines()
    assert lines[13:16] == ["_rlnImageName #1", "_rlnOpticsGroup #2", "_rlnAngleRot #3"]
    assert "'000003@a b#c.mrcs' 1 9" in lines
    assert got.count("_rlnAngleRot") == 1


def test_foreign_bytes_and_line_ends_come_back(tmp_path: Path) -> None:
    path = tmp_path / "particles.star"
    path.write_bytes(b"data_\r\nloop_\r\n_rlnImageName #1\r\n_x #2\r\n1@\xff.mrcs 2\r\n")
    assert subset(read_star_text(path), np.array([0]), {"y": ["3"]}) == (
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
    path.write_bytes(subset(read_star_text(path), np.array(order), {}))
    assert [line for line in path.read_text().splitlines() if "@" in line] == [
        rows[k] for k in order
    ]


def test_a_file_without_particles_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, "data_optics\n\nloop_\n_rlnOpticsGroup\n1\n")
    with pytest.raises(InputError, match="without rlnImageName"):
        _ = read_star_text(path).particles


TWO = "data_\n\nloop_\n_rlnImageName #1\n_rlnGroup #2\n1@a.mrcs 1\n2@a.mrcs 2\n\n"
PARTICLES = STAR.partition("# version 30001\n\n")[2].partition("data_other")[0]
NO_ONE_MEANING = {
    "two tables": (
        STAR.replace("data_other", PARTICLES),
        "data_particles in line 11 and data_part",
    ),
    "two names": (
        STAR.replace("_rlnMicrographName #1\nx", "_rlnImageName\nx"),
        "and data_other in",
    ),
    "no images": (
        STAR.replace("_rlnMic", "_rlnImageName #2\n_rlnMic"),
        "several tables of particles",
    ),
    "two optics": (STAR.replace("data_other", "data_optics"), "data_optics twice, .* line 2 and"),
    "row like a table": (TWO.replace("2@a.mrcs", "data_x/2.mrcs"), "line 7: found data_x/2.mrcs 2"),
    "text behind a name": (STAR.replace("_particles", "_particles # x"), "line 11: .*a name alone"),
    "name in a comment": ("# of data_particles\n" + STAR, "line 1: found data_particles beside"),
    "column without #": (STAR.replace("Rot #2", "Rot 2"), "line 15: found _rlnAngleRot 2"),
    "column before #": (STAR.replace("Rot #2", "Rot#2"), "line 15: found _rlnAngleRot#2"),
    "row behind an empty line": (STAR.replace("# a remark", ""), "line 19: .* behind the empty"),
    "open quote": (STAR.replace("000001@", "'1@"), "line 17: found a quote that is not closed"),
    "spaces in quotes": (STAR.replace("a b#c", "a  b#c"), "line 20: found two spaces or a tab"),
    "text over lines": (TWO.replace("1@a", ";1@a"), "line 6: found a row that begins with ;"),
    "comment in two columns": (
        TWO.replace("2@a", "# x\n2@a"),
        "line 8: found a comment or the next",
    ),
    "table behind two columns": (TWO[:-1] + "data_b\n", "line 7: found a comment or the next"),
    "control character": (STAR.replace("remark", "re\fmark"), "line 18: found the control charact"),
    "UTF-16": ("\ufeff" + STAR, "found text in UTF-16"),
    "indented pair": ("data_optics\n\n _rlnA 1\n\n" + TWO, "line 3: found _rlnA 1; expected loop_"),
    "pair of three": ("data_optics\n\n_rlnA 1 2\n\n" + TWO, "line 3: found _rlnA 1 2; expected a"),
    "empty optics": ("data_optics\n\nloop_\n_rlnA #1\n\n" + TWO, "found no row in data_optics"),
}


@pytest.mark.parametrize("what", NO_ONE_MEANING)
def test_what_readers_take_differently_is_refused_by_its_line(tmp_path: Path, what: str) -> None:
    text, found = NO_ONE_MEANING[what]
    path = tmp_path / "a.star"
    path.write_bytes(text.encode("utf-16" if what == "UTF-16" else "utf-8"))
    with pytest.raises(InputError, match=found) as error:
        read_star(path)
    assert str(path) in str(error.value)


NAMES = ["1@batch#3/a.mrcs", "2@o'brien/a.mrcs", '3@a"b.mrcs', "4@data_1/a.mrcs", "5@[a],b;.mrcs"]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_names_and_lines_of_all_kinds_are_read(tmp_path: Path, end: str, mark: bytes) -> None:
    header = ["# of 2026", "data_", "# gr\xf6\xdfe", "loop_", "_rlnImageName #1", "# angles", ""]
    header += ["_rlnAngleRot", "\t_rlnTomoParticleName\t#3", "_rlnFlag #4"]
    rows = [f" {name}\t{at}.5 00{at} True # x" for at, name in enumerate(NAMES)]
    rows.append("'6@a \"b\" # c.mrcs' \"-1e1\" '' False")
    content = end.join([*header, *rows[:2], "# between", *rows[2:]])
    (tmp_path / "a.star").write_bytes(mark + content.encode("latin-1"))
    table = read_star(tmp_path / "a.star")
    assert table.strings("rlnImageName").tolist() == [*NAMES, '6@a "b" # c.mrcs']
    assert table.numbers("rlnAngleRot").tolist() == [0.5, 1.5, 2.5, 3.5, 4.5, -10]
    assert table.strings("rlnTomoParticleName").tolist() == ["000", "001", "002", "003", "004", ""]
    with pytest.raises(InputError, match=r"rlnFlag = True; expected a finite number"):
        table.numbers("rlnFlag")


def test_particles_are_where_the_images_are(tmp_path: Path) -> None:
    first = "data_\n\nloop_\n_rlnMicrographName #1\na.mrc\n\n"
    path = written(tmp_path, first + STAR.replace("data_particles", "data_selected"))
    assert len(read_star(path)) == 3
    assert read_star(path).numbers("rlnVoltage").tolist() == [300] * 3


def test_a_compressed_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.star").write_bytes(gzip.compress(STAR.encode()))
    with pytest.raises(InputError, match=r"a\.star: found a file compressed by gzip.*gunzip"):
        read_star(tmp_path / "a.star")
