"""cryoDRGN's project files opened as a stack."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from cryolatent.cli.main import run
from cryolatent.data import Tables, open_particles, open_star
from cryolatent.data.cryodrgn import read_latents
from cryolatent.errors import InputError
from cryolatent.runs.run import Run

SMALL = ["--posterior", "encoder", "--epochs", "1", "--encoder-width", "8"]
SMALL += ["--decoder-width", "8", "--decoder-layers", "1"]


def dump(path: Path, *values: object) -> Path:
    with path.open("wb") as stream:
        for value in values:
            pickle.dump(value, stream)
    return path


@pytest.fixture
def project(files):
    """The STAR fixture's particles as cryoDRGN's commands would write them."""
    star = open_star(files.write())
    count, box, ctf = len(star), star.images.box, star.ctf
    rotations = star.poses.rotations.numpy()
    shifts = -star.poses.shifts_angstrom.numpy() / (box * 2.5)
    constant = [np.full(count, value) for value in (2 * box, 1.25)]
    rows = [*constant, ctf.defocus_u_angstrom, ctf.defocus_v_angstrom, ctf.defocus_angle_degrees]
    rows += [ctf.voltage_kv, ctf.spherical_aberration_mm, ctf.amplitude_contrast]
    rows += [ctf.phase_shift_degrees]
    files.poses = dump(files.folder / "poses.pkl", (rotations, shifts))
    files.ctf = dump(files.folder / "ctf.pkl", np.stack(rows, axis=-1).astype(np.float32))
    files.truth = star
    return files


def open_project(project, source: str = "images.mrcs", **tables):
    given = {"poses": project.poses, "ctf": project.ctf} | tables
    return open_particles(project.folder / source, tables=Tables(**given))


@pytest.mark.parametrize("source", ["images.mrcs", "list.txt", "particles.star"])
def test_project_is_the_star_file_again(project, source):
    """ctf.pkl is that of the images before they were downsampled twofold."""
    (project.folder / "list.txt").write_text("images.mrcs\n\n")
    stack, star = open_project(project, source), project.truth
    torch.testing.assert_close(stack.poses.rotations, star.poses.rotations)
    torch.testing.assert_close(stack.poses.shifts_angstrom, star.poses.shifts_angstrom)
    for name, expected in vars(star.ctf).items():
        if expected is not None:
            torch.testing.assert_close(getattr(stack.ctf, name), expected)
    rows = np.arange(4)
    np.testing.assert_array_equal(stack.images.read(rows), star.images.read(rows))
    assert {project.poses, project.ctf} <= set(stack.tables)


@pytest.mark.parametrize("kind", ["pkl", "npy"])
def test_indices_select_particles_in_their_order(project, kind):
    chosen, path = np.array([3, 0]), project.folder / f"ind.{kind}"
    if kind == "npy":
        np.save(path, chosen)
    else:
        dump(path, chosen)
    stack, star = open_project(project, ind=path), project.truth
    assert stack.source_rows.tolist() == [3, 0]
    assert torch.equal(stack.ctf.defocus_u_angstrom, star.ctf.defocus_u_angstrom[[3, 0]])
    images = star.images.read(chosen)
    np.testing.assert_array_equal(stack.images.read(np.arange(2)), images)
    listed = open_particles(
        project.star, tables=Tables(ind=dump(project.folder / "list.pkl", [3, 0]))
    )
    assert listed.source_rows.tolist() == [3, 0]


def test_rotations_alone_have_no_displacement(project):
    rotations = project.truth.poses.rotations.numpy()
    stack = open_project(project, poses=dump(project.folder / "r.pkl", rotations))
    assert stack.poses.shifts_angstrom.abs().max() == 0


@pytest.mark.parametrize(
    ("indices", "found"),
    [
        (np.array([0, -1]), "entry 2: found particle -1"),
        (np.array([4]), "entry 1: found particle 4; expected a list of particles from 0 to 3"),
        (np.array([True, False, True, True]), "found a mask .*flatnonzero"),
        (np.array([1, 2, 1]), "entry 3: found particle 1 twice"),
        (np.array([0.0, 1.0]), "no list of whole numbers"),
        ([], "no particles"),
        ([True, False], "no list of whole numbers"),
        (np.array([[0, 1]]), "no list of whole numbers"),
    ],
)
def test_wrong_indices_are_named(project, indices, found):
    with pytest.raises(InputError, match=found):
        open_project(project, ind=dump(project.folder / "ind.pkl", indices))


def poses_with(project, row: int, change) -> Path:
    rotations = project.truth.poses.rotations.numpy().copy()
    rotations[row] = change(rotations[row])
    return dump(project.poses, (rotations, np.zeros((4, 2))))


def test_wrong_tables_are_named(project):
    rotations = project.truth.poses.rotations.numpy()
    few = dump(project.folder / "few.pkl", (rotations[:3], np.zeros((3, 2))))
    with pytest.raises(InputError, match=r"few\.pkl: found rotations of shape \(3, 3, 3\)"):
        open_project(project, poses=few)
    many = dump(project.folder / "many.pkl", np.ones((8, 9)))
    with pytest.raises(InputError, match=r"many\.pkl: found CTFs of shape \(8, 9\)"):
        open_project(project, ctf=many)
    with pytest.raises(InputError, match=r"row 2: found rotations that are not finite"):
        open_project(project, poses=poses_with(project, 1, lambda r: r * np.nan))
    with pytest.raises(InputError, match=r"poses\.pkl, row 3: found a pose that is no rotation"):
        open_project(project, poses=poses_with(project, 2, lambda r: -r))
    far = dump(
        project.folder / "far.pkl", (rotations, np.array([[0, 0], [0.49, 0], [0, -0.5], [0, 0]]))
    )
    with pytest.raises(InputError, match=r"far\.pkl, row 3: found a displacement of .*fractions"):
        open_project(project, poses=far)


def test_images_alone_need_poses_and_ctf(project):
    for tables, option in ((Tables(), "`ctf="), (Tables(ctf=project.ctf), "`poses=")):
        with pytest.raises(InputError, match=option):
            open_particles(project.folder / "images.mrcs", tables=tables)


def test_lists_of_stacks_are_checked(project):
    path = project.folder / "list.txt"
    for content, found in (
        (b"\n", "no names"),
        (b"missing.mrcs\n", "line 1: found no image stack at"),
        (b"\xff\x00" * 9, "no text"),
    ):
        path.write_bytes(content)
        with pytest.raises(InputError, match=found):
            open_project(project, "list.txt")


def test_latents_are_two_consecutive_pickles(tmp_path):
    mean, log_variance = np.random.default_rng(0).normal(size=(2, 5, 3))
    found = read_latents(dump(tmp_path / "z.pkl", mean, log_variance))
    np.testing.assert_array_equal(found, [mean, log_variance])
    with pytest.raises(InputError, match="found 1 arrays"):
        read_latents(dump(tmp_path / "z.pkl", mean))
    with pytest.raises(InputError, match="latents of shape"):
        read_latents(dump(tmp_path / "z.pkl", mean, log_variance[:4]))


class Attack:
    def __init__(self, folder: Path) -> None:
        self.folder = str(folder)

    def __reduce__(self):
        return os.mkdir, (self.folder,)


def test_project_trains_resumes_and_notices_changes(project, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(project.folder)
    out = tmp_path / "run"
    tokens = ["train", "images.mrcs", "--poses", "poses.pkl", "--ctf", "ctf.pkl", "-o", str(out)]
    attack = dump(project.folder / "attack.pkl", Attack(tmp_path / "made"))
    assert run([*tokens[:3], str(attack), *tokens[4:], *SMALL]) == 2
    assert "nothing was run" in capsys.readouterr().err
    assert not (tmp_path / "made").exists()
    assert not out.exists()
    assert run([*tokens, *SMALL]) == 0
    monkeypatch.chdir(tmp_path)
    assert run(["train", "-o", str(out), "--resume", "--epochs", "2"]) == 0
    assert len(Run.open(out).open_stack()) == 4
    infer = ["infer", str(out), str(project.folder / "images.mrcs"), "-o", "z.parquet"]
    assert run([*infer, "--poses", str(project.poses), "--ctf", str(project.ctf)]) == 0
    poses_with(project, 1, lambda r: r[[1, 2, 0]])
    assert run(["train", "-o", str(out), "--resume", "--epochs", "3"]) == 2
    assert "another content than when the run" in capsys.readouterr().err


@pytest.mark.parametrize("kind", [list, tuple])
@pytest.mark.parametrize("number", [int, np.int32, np.int64, np.uint8])
def test_indices_may_be_whole_numbers_of_any_make(project, kind, number):
    path = dump(project.folder / "ind.pkl", kind(number(i) for i in (2, 0)))
    assert open_project(project, ind=path).source_rows.tolist() == [2, 0]


@pytest.mark.parametrize("entries", [[np.float64(1.0)], [np.bool_(True)], [np.arange(2)], [1.0]])
def test_entries_that_are_no_whole_numbers_are_named(project, entries):
    path = dump(project.folder / "ind.pkl", entries)
    with pytest.raises(InputError, match="no list of whole numbers"):
        open_project(project, ind=path)
