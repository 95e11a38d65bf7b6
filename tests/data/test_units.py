"""Optics in wrong units, and dark particles, in every command and of every kind of file."""

import mrcfile
import numpy as np
import pytest

from builders import small_stack
from cryolatent.cli.main import run
from cryolatent.data import Tables, open_particles, open_star
from cryolatent.errors import InputError
from cryolatent.prepare.opening import open_mixed

EXACT = ["--posterior", "exact", "--z-dim", "1"]
WRONG = {
    "volts": ({"rlnVoltage": 300_000.0}, "a voltage of 300000 kV; .* volts"),
    "megavolts": ({"rlnVoltage": 0.3}, "a voltage of 0.3 kV"),
    "Cs in Å": ({"rlnSphericalAberration": 2.7e7}, "a spherical aberration of 2.7e[+]07 mm"),
    "Cs in µm": ({"rlnSphericalAberration": 2700.0}, "a spherical aberration of 2700 mm"),
    "pixel in pm": ({"rlnImagePixelSize": 2500.0}, "a pixel size of 2500 Å"),
    "defocus in µm": ({"rlnDefocusU": 1.5, "rlnDefocusV": 1.4}, "a median defocus of 1.45 Å"),
    "overfocus in µm": ({"rlnDefocusU": -1.5, "rlnDefocusV": -1.4}, "a median defocus of 1.45 Å"),
    "defocus in pm": ({"rlnDefocusU": 1.5e6, "rlnDefocusV": 1.4e6}, "a median defocus of 1.45e[+]"),
}


@pytest.mark.parametrize("reader", [open_star, open_mixed])
@pytest.mark.parametrize("what", WRONG)
def test_optics_in_another_unit_are_refused(files, what, reader):
    columns, found = WRONG[what]
    for table in (files.optics, files.particles):
        for column, value in columns.items():
            if column in table:
                table[column] = value
    with pytest.raises(InputError, match=found):
        reader(files.write())


@pytest.mark.parametrize("row", [[8, 2.5, 1.5, 1.4, 0, 300, 2.7], [8, 2.5, 1e4, 1e4, 0, 3e5, 2.7]])
def test_tables_of_cryodrgn_are_looked_at_alike(files, tmp_path, row):
    np.array([[*row, 0.1, 0]] * 4).dump(tmp_path / "ctf.pkl")
    with pytest.raises(InputError, match=r"ctf\.pkl.*found a (median defocus|voltage)"):
        open_particles(files.write(), tables=Tables(ctf=tmp_path / "ctf.pkl"))


def test_usual_optics_are_accepted(files):
    optics = {"rlnVoltage": [100.0, 1000.0], "rlnSphericalAberration": [0.001, -0.01]}
    files.optics = files.optics.assign(**optics)
    files.particles.loc[0, ["rlnDefocusU", "rlnDefocusV"]] = 1.5  # one bad fit is no wrong unit
    assert len(open_star(files.write())) == 4
    files.particles[["rlnDefocusU", "rlnDefocusV"]] = 0.0
    assert len(open_star(files.write())) == 4


@pytest.mark.parametrize("command", ["train", "backproject", "volumes"])
def test_dark_particles_are_said_by_every_command(tmp_path, capsys, command):
    star = small_stack(tmp_path / "data", particles=80, only=("mature",)).source
    with mrcfile.mmap(star.with_suffix(".mrcs"), "r+") as mrc:
        mrc.data[:] *= -1
    out, made = str(tmp_path / "out"), str(tmp_path / "run")
    tokens = {
        "train": [str(star), "-o", out, *EXACT],
        "backproject": [str(star), "-o", out],
        "volumes": [made, "-o", out, "--clusters", "1", "--effective-particles", "40"],
    }
    if command == "volumes":
        assert run(["train", str(star), "-o", made, *EXACT]) == 0
        capsys.readouterr()
    assert run([command, *tokens[command]]) == 0
    error = capsys.readouterr().out
    assert "particles look dark (phase-flipped centres are" in error
    assert "Give --invert-contrast" in error


def test_bright_particles_are_not(tmp_path, capsys):
    star = small_stack(tmp_path / "data", particles=80, only=("mature",)).source
    assert run(["backproject", str(star), "-o", str(tmp_path / "map")]) == 0
    assert "look dark" not in capsys.readouterr().out
    inverted = ["backproject", str(star), "-o", str(tmp_path / "dark"), "--invert-contrast"]
    assert run(inverted) == 0
    assert "leave it out if it was given" in capsys.readouterr().out
