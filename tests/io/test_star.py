"""STAR files of RELION 3.0 and 3.1."""

import contextlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cryolatent.data.relion import RelionFile
from cryolatent.errors import InputError
from cryolatent.io import read_star, split_image_name, write_star

RELION_30 = """
data_

loop_
_rlnImageName #1
_rlnDefocusU #2
_rlnMagnification #3
1@a.mrcs 15301.1 38168
2@a.mrcs 15303.0 38168
"""

RELION_31 = """
# version 30001

data_optics

loop_
_rlnOpticsGroup #1
_rlnOpticsGroupName #2
_rlnVoltage #3
_rlnAmplitudeContrast #4
7 opticsGroup7 300.000000 0.100000
2 opticsGroup2 200.000000 0.070000

# version 30001

data_particles

loop_
_rlnImageName #1
_rlnOpticsGroup #2
_rlnDefocusU #3
_rlnAmplitudeContrast #4
1@a.mrcs 2 10000.5 0.2
2@a.mrcs 7 11000 0.2
1@b.mrcs 2 12000 0.3
"""


def star(folder: Path, text: str):
    path = folder / "particles.star"
    path.write_text(text)
    return read_star(path)


def test_relion_30_is_one_table(tmp_path):
    table = star(tmp_path, RELION_30)
    assert len(table) == 2
    assert table.optics is None
    assert table.numbers("rlnDefocusU").tolist() == [15301.1, 15303.0]
    assert table.strings("rlnImageName").tolist() == ["1@a.mrcs", "2@a.mrcs"]


def test_optics_groups_are_merged_by_particle(tmp_path):
    table = star(tmp_path, RELION_31)
    assert table.numbers("rlnVoltage").tolist() == [200, 300, 200]
    assert table.strings("rlnOpticsGroupName").tolist() == [
        "opticsGroup2",
        "opticsGroup7",
        "opticsGroup2",
    ]


def test_particle_column_goes_before_that_of_the_optics_group(tmp_path):
    assert star(tmp_path, RELION_31).numbers("rlnAmplitudeContrast").tolist() == [0.2, 0.2, 0.3]


def test_column_is_found_in_either_table(tmp_path):
    table = star(tmp_path, RELION_31)
    assert "rlnVoltage" in table
    assert "rlnDefocusU" in table
    assert "rlnAngleRot" not in table


def test_optics_without_loop(tmp_path):
    optics = "data_optics\n\n_rlnOpticsGroup 1\n_rlnVoltage 300\n\n"
    particles = "data_particles\n\nloop_\n_rlnImageName #1\n_rlnOpticsGroup #2\n1@a.mrcs 1\n"
    assert star(tmp_path, optics + particles).numbers("rlnVoltage").tolist() == [300]


def test_missing_column_takes_the_default_or_is_an_error(tmp_path):
    table = star(tmp_path, RELION_30)
    assert table.numbers("rlnPhaseShift", 0.0).tolist() == [0, 0]
    with pytest.raises(InputError, match=r"particles\.star: found no column rlnPhaseShift"):
        table.numbers("rlnPhaseShift")


@pytest.mark.parametrize("value", ["nan", "None", "<NA>", "inf", "-inf", "x12"])
def test_value_that_is_no_finite_number_names_its_row(tmp_path, value):
    table = star(tmp_path, RELION_30.replace("15303.0", value))
    with pytest.raises(InputError, match=r"particle row 2: found rlnDefocusU = .*finite number"):
        table.numbers("rlnDefocusU")


MORE = RELION_31.replace(
    "_rlnAmplitudeContrast #4\n1@", "_rlnAmplitudeContrast #4\n_rlnLast #5\n1@"
)
LAST = {
    "number": MORE.replace("5 0.2", "5 0.2 7")
    .replace("00 0.2", "00 0.2 7")
    .replace("0.3", "0.3 7"),
    "name": MORE.replace("5 0.2", "5 0.2 x").replace("00 0.2", "00 0.2 y").replace("0.3", "0.3 z"),
}


@pytest.mark.parametrize("kind", LAST)
def test_short_row_is_refused_whatever_column_is_read(tmp_path, kind):
    assert len(star(tmp_path, LAST[kind])) == 3
    with pytest.raises(InputError, match=r"particle row 2: found 4 entries; expected 5"):
        star(tmp_path, LAST[kind].replace("2@a.mrcs 7 11000", "2@a.mrcs 11000"))


def test_short_row_of_optics_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"data_optics row 2: found 3 entries; expected 4"):
        star(tmp_path, RELION_31.replace("opticsGroup2 200.000000", "opticsGroup2"))


@pytest.mark.parametrize("row", [1, 2])
def test_long_row_is_refused_by_its_number(tmp_path, row):
    text = RELION_30.replace(f"{row}@a.mrcs", f"{row}@a.mrcs 5")
    with pytest.raises(InputError, match=rf"particle row {row}: found 4 entries; expected 3"):
        star(tmp_path, text)


def test_empty_last_entry_is_no_short_row(tmp_path):
    text = RELION_30.replace("15301.1 38168", '15301.1 ""').replace("15303.0 38168", "15303.0 nan")
    table = star(tmp_path, text + "# a comment\n\n")
    assert table.numbers("rlnDefocusU").tolist() == [15301.1, 15303.0]


def test_corrected_file_is_read_anew(tmp_path):
    with pytest.raises(InputError):
        star(tmp_path, RELION_30.replace("2@a.mrcs", "2@a.mrcs 5"))
    assert len(star(tmp_path, RELION_30)) == 2


REPEATED = {
    "particles": RELION_31.replace("_rlnAmplitudeContrast #4\n1@", "_rlnDefocusU #4\n1@"),
    "optics": RELION_31.replace("_rlnAmplitudeContrast #4\n7", "_rlnVoltage #4\n7"),
    "no loop": "data_optics\n\n_rlnOpticsGroup 1\n_rlnVoltage 300\n_rlnVoltage 200\n" + RELION_30,
    "all empty": RELION_30.replace("Magnification", "DefocusU")
    .replace("15301.1 38168", "nan nan")
    .replace("15303.0 38168", "nan nan"),
}


@pytest.mark.parametrize("text", REPEATED.values(), ids=REPEATED)
def test_repeated_column_is_refused_by_its_name(tmp_path, text):
    with pytest.raises(InputError, match=r"column rln(DefocusU|Voltage) twice in data_"):
        star(tmp_path, text)


BROKEN_OPTICS = {
    "group not defined": RELION_31.replace("2@a.mrcs 7", "2@a.mrcs 5"),
    "optics without group": RELION_31.replace("_rlnOpticsGroup #1\n", "_rlnOther #1\n", 1),
    "particles without group": RELION_31.replace("_rlnOpticsGroup #2", "_rlnOther #2"),
}


@pytest.mark.parametrize("text", BROKEN_OPTICS.values(), ids=BROKEN_OPTICS)
def test_broken_optics_groups_are_errors(tmp_path, text):
    with pytest.raises(InputError, match=r"OpticsGroup|optics group"):
        star(tmp_path, text).numbers("rlnVoltage")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", "tables none"),
        ("this is prose\nof two lines\n", "tables none"),
        ("data_micrographs\n\nloop_\n_rlnMicrographName #1\na.mrc\n", "without rlnImageName"),
        ("data_\n\nloop_\n_rlnImageName #1\n_rlnAngleRot #2\n", "no particles"),
    ],
)
def test_file_without_particles_is_an_error(tmp_path, text, found):
    with pytest.raises(InputError, match=found):
        star(tmp_path, text)


def test_binary_file_is_an_error(tmp_path):
    (tmp_path / "binary.star").write_bytes(bytes(range(256)) * 8)
    with pytest.raises(InputError):
        read_star(tmp_path / "binary.star")


@given(
    st.lists(
        st.tuples(st.floats(-1e5, 1e5), st.integers(1, 99), st.text("ab/_. -é", min_size=1)),
        min_size=1,
        max_size=5,
    )
)
@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@pytest.mark.parametrize("version", ["3.0", "3.1"])
def test_what_is_written_is_read(tmp_path, version, rows):
    defocus, index, names = zip(*rows, strict=True)
    images = [
        f"{i}@{' '.join(name.split()) or 'x'}.mrcs" for i, name in zip(index, names, strict=True)
    ]
    particles = pd.DataFrame({"rlnImageName": images, "rlnDefocusU": defocus, "rlnOpticsGroup": 3})
    optics = pd.DataFrame({"rlnOpticsGroup": [3], "rlnVoltage": [300.0]})
    write_star(tmp_path / "a.star", particles, optics if version == "3.1" else None)
    table = read_star(tmp_path / "a.star")
    assert table.strings("rlnImageName").tolist() == images
    np.testing.assert_allclose(table.numbers("rlnDefocusU"), defocus, rtol=0, atol=0.51e-6)
    assert table.numbers("rlnVoltage", 0.0).tolist() == [300.0 * (version == "3.1")] * len(rows)


@given(st.integers(1, 10**7), st.text("abc/_.-@", min_size=1))
@settings(deadline=None)
def test_image_names_split_at_the_first_at(number, file):
    assert split_image_name(f"{number:06d}@{file}") == (number - 1, file)


def test_image_name_without_number_is_the_first_image():
    assert split_image_name("a/b.mrc") == (0, "a/b.mrc")


@pytest.mark.parametrize("name", ["0@a.mrcs", "-1@a.mrcs", "x@a.mrcs", "@a.mrcs", "1.5@a.mrcs"])
def test_image_name_without_positive_number_is_refused(name):
    with pytest.raises(ValueError, match=r".+"):
        split_image_name(name)


COLUMNS = "AngleRot AngleTilt AnglePsi OriginXAngst OriginYAngst DefocusU DefocusV DefocusAngle"
COLUMNS += " Voltage SphericalAberration ImagePixelSize RandomSubset OddZernike BeamTiltX"
COMPLETE = RELION_31.replace(
    "_rlnDefocusU #3\n",
    "".join(f"_rln{name} #{at + 3}\n" for at, name in enumerate(COLUMNS.split())),
)
for defocus in ("10000.5", "11000", "12000"):
    row = f"10 20 30 1.5 -1.5 {defocus} 9000 45 300 2.7 1.5 2 [0,0,0.1] 0.2"
    COMPLETE = COMPLETE.replace(f" {defocus} 0.", f" {row} 0.")

TOKENS = st.one_of(
    st.sampled_from(["data_", "data_optics", "data_particles", "loop_", "_rlnImageName #1"]),
    st.sampled_from(["_rlnDefocusU #2", "_rlnOpticsGroup #3", "_rlnVoltage #2", "#", "\n", "\n\n"]),
    st.sampled_from(["1@a.mrcs 5 1", "1 300", "nan", '"', "'", "_", ";", "<NA>", "stop_", "\x00"]),
    st.sampled_from(
        ["_rlnImageName #2", "_rlnDefocusU #3", "_rlnVoltage #2", "_rlnRandomSubset #1"]
    ),
    st.text(max_size=8),
)


def check_text(folder: Path, content: bytes) -> None:
    path = folder / "a.star"
    path.write_bytes(content)
    with contextlib.suppress(InputError):
        table = read_star(path)
        for column in ("rlnDefocusU", "rlnVoltage", "rlnImageName"):
            with contextlib.suppress(InputError):
                assert len(table.numbers(column)) == len(table)
    with contextlib.suppress(InputError):
        file = RelionFile(path)
        for read in (
            lambda: file.names.ids,
            file.poses,
            file.ctf,
            file.phases,
            lambda: file.half_set,
            lambda: file.ids,
        ):
            with contextlib.suppress(InputError):
                read()


def changed(data: st.DataObject) -> bytes:
    """Tokens in any order, or a valid file with some bytes changed, cut out or cut off."""
    if data.draw(st.booleans()):
        separator = data.draw(st.sampled_from([" ", "\n"]))
        return separator.join(data.draw(st.lists(TOKENS, max_size=20))).encode("utf-8", "replace")
    content = bytearray(data.draw(st.sampled_from([RELION_31, COMPLETE])).encode())
    for _ in range(data.draw(st.integers(0, 5))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place : place + data.draw(st.integers(0, 12))] = data.draw(st.binary(max_size=4))
    return bytes(content)


QUIET = {
    "deadline": None,
    "suppress_health_check": [HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
}


def test_the_complete_file_is_read_whole(tmp_path):
    (tmp_path / "a.star").write_text(COMPLETE)
    file = RelionFile(tmp_path / "a.star")
    assert [len(part) for part in (file.poses(), file.ctf(), file.phases(), file.half_set)] == [
        3
    ] * 4


@given(st.data())
@settings(max_examples=500, **QUIET)
def test_changed_text_is_read_or_refused(tmp_path, data):
    check_text(tmp_path, changed(data))


@pytest.mark.thorough
@given(st.data())
@settings(max_examples=20_000, **QUIET)
def test_much_changed_text_is_read_or_refused(tmp_path, data):
    check_text(tmp_path, changed(data))
