"""Stacks whose headers contradict the particle file, and masks, in every command."""

import mrcfile
import numpy as np
import pytest

from builders import small_stack
from cryolatent.cli.main import run
from cryolatent.data import open_particles
from cryolatent.errors import InputWarning
from cryolatent.io import write_volume
from cryolatent.prepare.opening import open_mixed

SMALL = ["--posterior", "encoder", "--epochs", "1", "--encoder-width", "8", "--encoder-layers", "1"]
SMALL += ["--decoder-width", "8", "--decoder-layers", "1"]

EXACT = ["--posterior", "exact", "--z-dim", "1"]


@pytest.fixture
def star(tmp_path):
    return small_stack(tmp_path / "data").source


def stamp(star, size: float) -> None:
    with mrcfile.mmap(star.with_suffix(".mrcs"), "r+") as mrc:
        mrc.voxel_size = size


@pytest.mark.parametrize("size", [36, 9, 18.3, 1.5, 0.9])
@pytest.mark.parametrize("reader", [open_particles, open_mixed])
def test_a_header_that_contradicts_the_file_is_said_with_both_sizes(star, size, reader):
    stamp(star, size)
    with pytest.warns(InputWarning, match=rf"pixels of 18 Å, but the header of .* says {size:g} Å"):
        reader(star)


@pytest.mark.parametrize("size", [18, 18.1, 17.9, 0, 1])
@pytest.mark.parametrize("reader", [open_particles, open_mixed])
def test_a_header_that_agrees_or_does_not_say_is_silent(star, size, reader):
    stamp(star, size)
    reader(star)


def test_pixels_of_one_are_meant_where_the_file_says_less(star):
    star.write_text(star.read_text().replace("\t18.000000\t", "\t0.5\t"))
    stamp(star, 1)
    with pytest.warns(InputWarning, match=r"pixels of 0.5 Å, but the header of .* says 1 Å"):
        open_mixed(star)


COMMANDS = ["train", "backproject", "prepare", "volumes", "infer", "analyze", "export"]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_says_it(star, tmp_path, capsys, command):
    stamp(star, 36)
    out, made = str(tmp_path / "out"), str(tmp_path / "run")
    tokens = {
        "train": [str(star), "-o", out, *SMALL],
        "backproject": [str(star), "-o", out],
        "prepare": [str(star), "-o", out, "--no-invert-contrast"],
        "volumes": [made, "-o", out, "--clusters", "1", "--effective-particles", "30"],
        "infer": [made, str(star), "-o", out],
        "analyze": [made, "--clusters", "1"],
        "export": [made, "-o", f"{out}.star"],
    }
    if made in tokens[command]:
        posterior = EXACT if command == "analyze" else SMALL
        assert run(["train", str(star), "-o", made, *posterior]) == 0
        capsys.readouterr()
    assert run([command, *tokens[command]]) == 0
    said = capsys.readouterr().out
    assert said.count("warning: ") == said.count("pixels of 18 Å, but the header of") == 1
    assert "says 36 Å" in said.split("wrote")[0]


@pytest.mark.parametrize(("box", "pixel"), [(16, 1.0), (16, 36.0), (14, 18.0), (32, 9.0)])
def test_a_mask_that_does_not_fit_is_refused_alike(star, tmp_path, capsys, box, pixel):
    write_volume(tmp_path / "mask.mrc", np.ones((box,) * 3), pixel)
    answers = []
    for command, more in (("train", EXACT), ("backproject", [])):
        mask = ["--mask", str(tmp_path / "mask.mrc"), *more]
        assert run([command, str(star), "-o", str(tmp_path / command), *mask]) == 2
        error = capsys.readouterr().err.strip().splitlines()[-1]
        answers.append(error)
    assert answers[0] == answers[1]
    assert "mask.mrc: found a" in answers[0]
