"""Broken input through the command line: code 2, one line, nothing written."""

import bz2
import errno
import gzip
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from builders import small_stack
from command_options import strange_options
from cryolatent.cli.main import run
from cryolatent.data import open_particles, open_star
from cryolatent.io import new_stack
from cryolatent.prepare.opening import open_mixed
from cryolatent.prepare.packing import Packing, pack

COUNT, BOX, HEADER = 100, 8, 1024
SMALL = ["--posterior", "encoder", "--epochs", "1", "--encoder-width", "8"]
SMALL += ["--decoder-width", "8", "--decoder-layers", "1"]
COLUMNS = "ImageName AngleRot AngleTilt AnglePsi DefocusU DefocusV Voltage SphericalAberration"
COLUMNS += " AmplitudeContrast PixelSize"


@dataclass
class Project:
    """A STAR file and a cryoDRGN project of the same 100 images, to be broken."""

    folder: Path
    options: list[str] = field(default_factory=list)
    particles: str = "particles.star"
    output: str = "run"

    @property
    def star(self) -> Path:
        return self.folder / "particles.star"

    @property
    def stack(self) -> Path:
        return self.folder / "images.mrcs"

    def replace(self, old: str, new: str) -> None:
        text = self.star.read_text()
        assert old in text
        self.star.write_text(text.replace(old, new, 1))

    def pixels(self) -> np.ndarray:
        return np.memmap(self.stack, "<f4", "r+", HEADER, (COUNT, BOX, BOX))

    def header(self, word: int, value: int) -> None:
        np.memmap(self.stack, "<i4", "r+", 0, (256,))[word] = value

    def dump(self, name: str, value: object) -> str:
        (self.folder / name).write_bytes(pickle.dumps(value))
        return name

    def cryodrgn(self, **options: str) -> None:
        given = {"poses": "poses.pkl", "ctf": "ctf.pkl"} | options
        self.particles = "images.mrcs"
        self.options = [part for name, path in given.items() for part in (f"--{name}", path)]


def make(folder: Path) -> Project:
    rng = np.random.default_rng(0)
    project = Project(folder)
    with new_stack(project.stack, (COUNT, BOX, BOX), 4.0) as images:
        images[:] = rng.normal(size=(COUNT, BOX, BOX))
    lines = ["data_", "", "loop_"]
    lines += [f"_rln{name} #{place + 1}" for place, name in enumerate(COLUMNS.split())]
    for row in range(COUNT):
        angles = " ".join(f"{angle:.3f}" for angle in rng.uniform(1, 179, 3))
        lines.append(f"{row + 1:06d}@images.mrcs {angles} 15000.5 14900.5 300 2.7 0.1 4.0")
    project.star.write_text("\n".join(lines) + "\n")
    stack = open_star(project.star)
    rotations = stack.poses.rotations.numpy()
    project.dump("poses.pkl", (rotations, np.zeros((COUNT, 2))))
    row = [BOX, 4.0, 15000.5, 14900.5, 0, 300, 2.7, 0.1, 0]
    project.dump("ctf.pkl", np.tile(np.array(row), (COUNT, 1)))
    return project


CASES: dict[str, tuple[Callable[[Project], None], tuple[str, ...]]] = {}


def case(*parts: str) -> Callable:
    """Register a way to break the project, and what the message must say."""

    def register(break_it: Callable) -> Callable:
        CASES[break_it.__name__.replace("_", " ")] = (break_it, parts)
        return break_it

    return register


@case("particles.star: found no such file", "expected a particle STAR file")
def missing_file(p):
    p.star.unlink()


@case("particles.star: found a folder")
def folder_in_place_of_a_file(p):
    p.star.unlink()
    p.star.mkdir()


@case("particles.star, particle row 1: found no image stack at", "images.mrcs", "--datadir")
def missing_stack(p):
    p.stack.unlink()


@case("particles.star, line 15, particle row 2: found 9 entries", "10, one for each column")
def ragged_row(p):
    text = p.star.read_text().splitlines()
    at = next(i for i, line in enumerate(text) if line.startswith("000002@"))
    text[at] = text[at].rsplit(" ", 1)[0]
    p.star.write_text("\n".join(text))


@case("particles.star, line 15, particle row 2: found 13 entries", "10, one for each column")
def row_too_long(p):
    p.replace("000002@images.mrcs", "1 2 3 000002@images.mrcs")


@case("particles.star: found several tables of particles, data_ in line 1 and data_b in line")
def two_tables(p):
    p.star.write_text(p.star.read_text() + "\ndata_b\n\nloop_\n_rlnImageName\n1@images.mrcs\n")


@case("particles.star, line 17: found 000003@images.mrcs", "behind the empty line 16")
def empty_line_between_rows(p):
    p.replace("\n000003@", "\n\n000003@")


@case("particles.star: found column rlnAnglePsi twice in data_")
def column_named_twice(p):
    p.replace("_rlnAngleTilt", "_rlnAnglePsi")


@case("particles.star, particle row 1: found a box of 16 pixels stated", "8, as in", "images.mrcs")
def box_that_is_not_the_stacks(p):
    p.replace("_rlnAmplitudeContrast", "_rlnImageSize")
    p.star.write_text(p.star.read_text().replace(" 2.7 0.1 ", " 2.7 16 "))


@case("particles.star, particle row 4: found a particle 16.0 Å from the centre", "less than half")
def particle_beyond_its_image(p):
    p.replace("_rlnPixelSize #10\n", "_rlnPixelSize #10\n_rlnOriginXAngst #11\n")
    p.star.write_text(p.star.read_text().replace(" 0.1 4.0\n", " 0.1 4.0 0\n"))
    row = p.star.read_text().split("000004@images.mrcs ")[1].split("\n")[0]
    p.replace(row, row.removesuffix("0") + "-16")


@case("poses.pkl, row 5: found a displacement of [0.0, -3.0]", "fractions of the box, below 0.5")
def displacements_in_pixels(p):
    shifts = np.zeros((COUNT, 2))
    shifts[4, 1] = -3
    p.dump("poses.pkl", (np.tile(np.eye(3), (COUNT, 1, 1)), shifts))
    p.cryodrgn()


@case("particles.star: found no column rlnAngleTilt", "for every particle")
def star_without_poses(p):
    p.replace("_rlnAngleTilt", "_rlnOther")


@case("particles.star: found no column rlnDefocusU")
def star_without_ctf(p):
    p.replace("_rlnDefocusU", "_rlnOther")


@case("particles.star, particle row 1: found optics group 7", "one of [1]")
def unknown_optics_group(p):
    optics = "data_optics\n\nloop_\n_rlnOpticsGroup #1\n_rlnVoltage #2\n1 300\n\ndata_particles\n"
    text = p.star.read_text().replace("data_\n", optics)
    text = text.replace("_rlnVoltage #7", "_rlnOpticsGroup #7").replace(" 300 2.7", " 7 2.7")
    p.star.write_text(text)


@case("images.mrcs: found no readable MRC data", "a complete MRC file")
def truncated_header(p):
    p.stack.write_bytes(p.stack.read_bytes()[:500])


@case("images.mrcs: found no readable MRC data")
def truncated_body(p):
    p.stack.write_bytes(p.stack.read_bytes()[:-300])


@case("images.mrcs: found no readable MRC data", "26624 bytes; 20224 for the header's 75 x 8 x 8")
def header_that_contradicts_the_size(p):
    p.header(2, 75)


@case("images.mrcs.gz: found a file compressed by gzip", "Unpack it with gunzip")
def compressed_stack(p):
    (p.folder / "images.mrcs.gz").write_bytes(gzip.compress(p.stack.read_bytes()))
    p.star.write_text(p.star.read_text().replace("images.mrcs", "images.mrcs.gz"))


@case("images.mrcs: found a file compressed by bzip2", "Unpack it with bunzip2")
def compressed_stack_with_a_name_of_its_own(p):
    p.stack.write_bytes(bz2.compress(p.stack.read_bytes()))


@case("images.mrcs.gz: found a file compressed by gzip", "a particle file as it is")
def compressed_stack_given(p):
    p.particles = "images.mrcs.gz"
    (p.folder / p.particles).write_bytes(gzip.compress(p.stack.read_bytes()))


@case("particles.star.gz: found a file compressed by gzip", "Unpack it with gunzip")
def compressed_star(p):
    p.particles = "particles.star.gz"
    (p.folder / p.particles).write_bytes(gzip.compress(p.star.read_bytes()))


@case("particles.star: found text in UTF-16", "Save it as UTF-8")
def star_in_utf_16(p):
    p.star.write_text(p.star.read_text(), encoding="utf-16")


@case("stacks.txt: found no text in UTF-8", "save it as UTF-8")
def list_of_stacks_in_utf_16(p):
    p.particles = "stacks.txt"
    (p.folder / p.particles).write_text("images.mrcs", encoding="utf-16")


@case("particles.cs: found a file compressed by gzip", "Unpack it with gunzip")
def compressed_cs(p):
    p.particles = "particles.cs"
    (p.folder / p.particles).write_bytes(gzip.compress(b"records"))


@case("particles.csg: found a list of the files of a group (.csg)", "Give the .cs file that it")
def group_of_cryosparc(p):
    p.particles = "particles.csg"
    (p.folder / p.particles).write_text("results:\n  alignments3D:\n    metafile: '>a.cs'\n")


@case("images.mrcs", "7 x 7 pixels", "one even size", "with cryolatent prepare")
def odd_box(p):
    with new_stack(p.stack, (COUNT, 7, 7), 4.0) as images:
        images[:] = 1


@case("images.mrcs", "6 x 8 pixels", "one even size", "Extract the particles anew in square boxes")
def images_that_are_not_square(p):
    p.header(1, 6)
    p.stack.write_bytes(p.stack.read_bytes()[: 1024 + COUNT * 6 * 8 * 4])


@case("other.mrcs, named in", "images of 10 x 10 pixels", "the first stack, images.mrcs, has 8 x 8")
def two_boxes(p):
    with new_stack(p.folder / "other.mrcs", (COUNT, 10, 10), 4.0) as images:
        images[:] = 1
    p.replace("000002@images.mrcs", "000002@other.mrcs")


@case("found pixel sizes of 4.0000 Å (particle row 1) and 5.0000 Å (particle row 3)")
def two_pixel_sizes(p):
    row = p.star.read_text().split("000003@images.mrcs ")[1].split("\n")[0]
    p.replace(row, row.removesuffix("4.0") + "5.0")


def packed_folder(p: Project) -> Path:
    p.particles = "packed"
    opened = open_mixed(p.star)
    return pack(opened, p.folder / "packed", Packing(contrast_known=True), workers=1).folder


@case("packed: found an unfinished packing", "Give the same cryolatent prepare command again")
def unfinished_packed_folder(p):
    folder = packed_folder(p)
    (folder / "manifest.json").rename(folder / "preparing.json")


@case("packed: found unreadable files")
def packed_folder_without_pixels(p):
    (packed_folder(p) / "images.npy").write_bytes(b"")


@case("packed: found another particles.parquet than", "SHA-256")
def packed_folder_of_another_index(p):
    index = packed_folder(p) / "particles.parquet"
    table = pq.read_table(index)
    pq.write_table(table.append_column("more", table["id"]), index)


@case("packed: found a folder without manifest.json")
def folder_of_something_else(p):
    (p.folder / "packed").mkdir()
    p.particles = "packed"


@case("particles.star: found no particles")
def zero_particles(p):
    text = p.star.read_text()
    p.star.write_text(text[: text.index("000001@")])


@case("poses.pkl: found rotations of shape (60, 3, 3)", "shape (100, 3, 3)")
def sixty_poses(p):
    p.dump("poses.pkl", (np.tile(np.eye(3), (60, 1, 1)), np.zeros((60, 2))))
    p.cryodrgn()


@case("ctf.pkl: found CTFs of shape (200, 9)", "shape (100, 9)")
def two_hundred_ctfs(p):
    p.dump("ctf.pkl", np.ones((200, 9)))
    p.cryodrgn()


@case("images.mrcs, image 31", "particle row 31", "pixels that are not finite")
def nan_image(p):
    p.pixels()[30] = np.nan


@case("images.mrcs, image 5", "pixels that are not finite")
def infinite_pixel(p):
    p.pixels()[4, 3, 2] = np.inf


@case("images.mrcs, image 1", "all pixels are equal")
def all_zero_stack(p):
    p.pixels()[:] = 0


@case("poses.pkl, row 3: found rotations that are not finite")
def nan_pose(p):
    rotations = np.tile(np.eye(3), (COUNT, 1, 1))
    rotations[2, 1, 1] = np.nan
    p.dump("poses.pkl", (rotations, np.zeros((COUNT, 2))))
    p.cryodrgn()


@case("particles.star, particle row 2: found rlnAnglePsi = nan")
def nan_angle(p):
    row = p.star.read_text().split("000002@images.mrcs ")[1].split("\n")[0].split(" ")
    p.replace(" ".join(row), " ".join([*row[:2], "nan", *row[3:]]))


@case("poses.pkl, row 4: found a pose that is no rotation", "determinant +1")
def reflection(p):
    rotations = np.tile(np.eye(3), (COUNT, 1, 1))
    rotations[3, 2, 2] = -1
    p.dump("poses.pkl", (rotations, np.zeros((COUNT, 2))))
    p.cryodrgn()


@case("ind.pkl, entry 2: found particle -3", "from 0 to 99")
def negative_index(p):
    p.cryodrgn(ind=p.dump("ind.pkl", np.array([5, -3])))


@case("ind.pkl, entry 1: found particle 100", "from 0 to 99")
def index_out_of_range(p):
    p.cryodrgn(ind=p.dump("ind.pkl", np.array([100])))


@case("ind.pkl, entry 3: found particle 5 twice")
def repeated_index(p):
    p.cryodrgn(ind=p.dump("ind.pkl", np.array([5, 1, 5])))


@case("ind.pkl: found a mask of true and false", "flatnonzero")
def boolean_mask(p):
    p.cryodrgn(ind=p.dump("ind.pkl", np.ones(COUNT, dtype=bool)))


@case("images.mrcs: found no readable MRC data")
def text_as_stack(p):
    p.stack.write_text("1 2 3\n" * 999)


@case("poses.pkl: found no pickle of arrays")
def text_as_pickle(p):
    (p.folder / "poses.pkl").write_text("1 2 3\n")
    p.cryodrgn()


@case("particles.cs: found no records")
def text_as_cs(p):
    (p.folder / "particles.cs").write_text("1 2 3\n")
    p.particles = "particles.cs"


@case("particles.star, line 1: found the control character")
def binary_as_star(p):
    p.star.write_bytes(p.stack.read_bytes())


class Attack:
    def __reduce__(self):
        return os.mkdir, ("made",)


@case("poses.pkl: found no pickle of arrays (a request for posix.mkdir)", "nothing was run")
def pickle_that_runs_code(p):
    p.dump("poses.pkl", (Attack(), Attack()))
    p.cryodrgn()


@case("images.mrcs: found images without transfer functions", "--ctf")
def images_alone(p):
    p.particles = "images.mrcs"


@case("run: found other files", "a new or empty folder")
def output_that_is_taken(p):
    (p.folder / "run").write_text("")


@case("Not a directory", "Check permissions and free space")
def output_below_a_file(p):
    p.output = "images.mrcs/run"


@case("--shells", "4 shells asked for")
def too_many_shells(p):
    p.options = ["--shells", "4"]


@pytest.mark.parametrize("name", CASES)
def test_broken_input_is_one_helpful_line(name, tmp_path, monkeypatch, capsys):
    project = make(tmp_path)
    break_it, parts = CASES[name]
    break_it(project)
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    tokens = ["train", project.particles, "-o", project.output, *project.options, *SMALL]
    assert run(tokens) == 2
    error = capsys.readouterr().err
    assert error.startswith("cryolatent: ")
    assert error.count("\n") == 1
    assert "Traceback" not in error
    assert strange_options(error, "train") == set()
    for part in parts:
        assert part in error, error
    assert sorted(tmp_path.rglob("*")) == before


def test_the_project_trains_before_it_is_broken(tmp_path, monkeypatch):
    project = make(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert run(["train", "particles.star", "-o", "a", *SMALL]) == 0
    project.cryodrgn()
    assert run(["train", project.particles, "-o", "b", *project.options, *SMALL]) == 0


@pytest.mark.parametrize("command", ["train", "backproject", "prepare", "export"])
def test_folder_without_permission_is_named(tmp_path, monkeypatch, capsys, command):
    """Permissions do not bind root, so the system's refusal is put in its place."""
    small_stack(tmp_path / "data")
    out, star = str(tmp_path / "locked" / "run"), str(tmp_path / "data" / "particles.star")
    tokens = {
        "train": [star, "-o", out, *SMALL],
        "backproject": [star, "-o", out],
        "prepare": [star, "-o", out, "--no-invert-contrast"],
        "export": [str(tmp_path / "run"), "-o", f"{out}.star"],
    }
    if command == "export":
        assert run(["train", star, "-o", str(tmp_path / "run"), *SMALL]) == 0
        capsys.readouterr()

    def refuse(path: Path, *_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "mkdir", refuse)
    assert run([command, *tokens[command]]) == 2
    error = capsys.readouterr().err
    assert "Permission denied" in error
    assert "locked" in error
    assert error.count("\n") == 1
    assert not (tmp_path / "locked").exists()


def limited(tokens: list[str], limit: int) -> subprocess.CompletedProcess:
    """Run a command that may not write more than some bytes to a file, as on a full disk."""
    script = (
        "import resource, sys; from cryolatent.cli import main;"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit})); main({tokens!r})"
    )
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("command", ["train", "backproject", "simulate"])
def test_full_disk_is_one_line_and_leaves_nothing(tmp_path, command):
    small_stack(tmp_path / "data")
    star = str(tmp_path / "data" / "particles.star")
    options = {
        "train": [star, *SMALL],
        "backproject": [star],
        "simulate": ["--particles", "40", "--box", "16", "--pixel-size", "25"],
    }
    done = limited([command, "-o", str(tmp_path / "out"), *options[command]], 3000)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert "Check permissions and free space" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


@pytest.mark.parametrize("limit", [100, 3000, 10_000])
def test_full_disk_leaves_a_packing_that_continues(tmp_path, limit):
    small_stack(tmp_path / "data")
    star, out = str(tmp_path / "data" / "particles.star"), tmp_path / "out"
    tokens = ["prepare", star, "-o", str(out), "--no-invert-contrast"]
    done = limited(tokens, limit)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert "Check permissions and free space" in done.stderr
    assert str(out) in done.stderr
    assert run(tokens) == 0
    assert len(open_particles(out)) == 40


def test_full_disk_leaves_no_export(tmp_path):
    small_stack(tmp_path / "data")
    star, folder = str(tmp_path / "data" / "particles.star"), str(tmp_path / "run")
    assert run(["train", star, "-o", folder, *SMALL]) == 0
    for name in ("out.star", "out.npy"):
        done = limited(["export", folder, "-o", str(tmp_path / name)], 100)
        assert done.returncode == 2, done.stderr
        assert "Traceback" not in done.stderr
        assert "Check permissions and free space" in done.stderr
        assert name in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "run"]
