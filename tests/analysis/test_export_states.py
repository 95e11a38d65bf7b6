"""States written out as classes, each in a file of its own, with images that are found anywhere."""

import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from analysis.test_export import COUNT, analysed, beliefs_of, cryosparc_run, finished, normal
from builders import small_stack
from cryolatent.analysis import export, export_split
from cryolatent.cli.main import run as cryolatent
from cryolatent.data import ParticleStack, open_particles
from cryolatent.errors import InputError
from cryolatent.io import read_cs, read_star, read_volume, write_star
from cryolatent.models import OneOf
from cryolatent.models.beliefs import Beliefs
from cryolatent.physics import fourier_shell_correlation
from cryolatent.runs.run import Run

STATE = np.arange(COUNT) % 3
SURE = torch.nn.functional.one_hot(torch.from_numpy(STATE), 3).float()


@pytest.fixture
def stack(tmp_path: Path) -> ParticleStack:
    return small_stack(tmp_path / "data", particles=COUNT)


def with_states(folder: Path, stack: ParticleStack, beliefs: Beliefs | None = None) -> Run:
    return finished(folder, stack, OneOf(SURE, torch.zeros(COUNT, 3)), beliefs)


def with_junk() -> Beliefs:
    """Of which the first five particles are none."""
    beliefs = beliefs_of(torch.zeros(COUNT, 5))
    kinds = beliefs.kinds.clone()
    kinds[:5] = torch.tensor([0.1, 0.8, 0.1])
    return Beliefs(kinds, *list(vars(beliefs).values())[1:])


def test_a_file_for_each_state_and_one_of_junk(stack: ParticleStack, tmp_path: Path) -> None:
    table = read_star(stack.source)
    write_star(stack.source, table.particles.assign(rlnClassNumber=7), table.optics)
    run = with_states(tmp_path / "run", open_particles(stack.source), with_junk())
    made = export_split(run, tmp_path / "data" / "out.star", "state")
    names = ["out_state_0.star", "out_state_1.star", "out_state_2.star", "out_junk.star"]
    assert [done.path.name for done in made] == names
    real = np.arange(COUNT) >= 5
    for state, done in enumerate(made[:3]):
        assert done.rows.tolist() == np.flatnonzero(real & (state == STATE)).tolist()
        found, source = read_star(done.path), read_star(stack.source)
        assert (found.particles["rlnClassNumber"] == state + 1).all()
        assert (found.particles["cryolatentState"] == state).all()
        assert (found.particles["cryolatentRecordedClassNumber"] == 7).all()
        assert found.optics.equals(source.optics)
        for column in ("rlnImageName", "rlnDefocusU", "rlnRandomSubset"):
            own = source.particles[column].iloc[done.rows]
            assert found.particles[column].tolist() == own.tolist()
    assert made[3].rows.tolist() == [0, 1, 2, 3, 4]


def test_one_file_holds_the_classes_too(stack: ParticleStack, tmp_path: Path) -> None:
    run = with_states(tmp_path / "run", stack)
    done = export(run, tmp_path / "data" / "out.star", ["state=0,2"])
    assert done.rows.tolist() == np.flatnonzero(STATE != 1).tolist()
    assert set(read_star(done.path).particles["rlnClassNumber"]) == {1, 3}


def assert_same_images(path: Path, stack: ParticleStack, rows: np.ndarray) -> None:
    found = open_particles(path)
    own = stack.pixels(rows[:4])
    np.testing.assert_array_equal(found.pixels(np.arange(4)), own)


def test_images_are_found_from_any_folder(stack, tmp_path: Path, monkeypatch) -> None:
    run = with_states(tmp_path / "run", stack)
    elsewhere = tmp_path / "a" / "b" / "c" / "d"
    elsewhere.mkdir(parents=True)
    monkeypatch.chdir(elsewhere)
    done = export_split(run, elsewhere / "out.star", "state")[1]
    monkeypatch.chdir("/")
    assert_same_images(done.path, stack, done.rows)
    table, source = read_star(done.path).particles, read_star(stack.source).particles
    recorded = source["rlnImageName"].iloc[done.rows].tolist()
    assert table["cryolatentRecordedImageName"].tolist() == recorded
    # beside the source no name has to change
    done = export(run, tmp_path / "data" / "same.star")
    assert "cryolatentRecordedImageName" not in read_star(done.path).particles
    assert_same_images(done.path, stack, done.rows)


def test_names_of_a_project_stay_in_it(stack, tmp_path: Path, monkeypatch) -> None:
    """RELION's names begin at the project's folder, two above those of its jobs."""
    table = read_star(stack.source)
    names = table.particles["rlnImageName"].str.replace("@", "@data/")
    job = tmp_path / "Refine3D" / "job001"
    job.mkdir(parents=True)
    (tmp_path / "Select" / "job002").mkdir(parents=True)
    write_star(job / "run_data.star", table.particles.assign(rlnImageName=names), table.optics)
    monkeypatch.chdir("/")
    run = with_states(tmp_path / "run", open_particles(job / "run_data.star"))
    done = export(run, tmp_path / "Select" / "job002" / "particles.star")
    assert read_star(done.path).particles["rlnImageName"].tolist() == names.tolist()


def test_names_begin_at_a_folder_that_is_given(stack, tmp_path: Path) -> None:
    run, out = with_states(tmp_path / "run", stack), tmp_path / "x" / "out.star"
    done = export(run, out, relative_to=tmp_path / "project" / "relion")
    first = read_star(done.path).particles["rlnImageName"].iloc[0]
    assert first == "000001@../../data/particles.mrcs"
    with pytest.raises(InputError, match=r"found out\.npy; expected a \.star file"):
        export(run, tmp_path / "out.npy", relative_to=tmp_path)


def test_names_with_spaces_are_refused(stack, tmp_path: Path) -> None:
    spaced = tmp_path / "my data"
    stack.source.parent.rename(spaced)
    run = with_states(tmp_path / "run", open_particles(spaced / stack.source.name))
    with pytest.raises(InputError, match="a path without spaces"):
        export(run, tmp_path / "x" / "out.star")
    assert not (tmp_path / "x" / "out.star").exists()
    done = export(run, tmp_path / "x" / "out.star", relative_to=spaced)
    assert read_star(done.path).particles["rlnImageName"].iloc[0] == "000001@particles.mrcs"


@pytest.mark.relion
def test_relion_reads_a_state_from_any_folder(tmp_path: Path) -> None:
    stack = small_stack(tmp_path / "data", particles=COUNT, snr=1e3)
    run = with_states(tmp_path / "run", stack)
    elsewhere = tmp_path / "a" / "b" / "c"
    elsewhere.mkdir(parents=True)
    done = export_split(run, elsewhere / "out.star", "state")[1]
    maps = []
    subset = export(run, tmp_path / "data" / "subset.star", ["state=1"])
    for file, folder in ((done.path, elsewhere), (subset.path, tmp_path / "data")):
        made = folder / f"{file.stem}.mrc"
        command = ["relion_reconstruct", "--i", file.name, "--o", made.name, "--ctf"]
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
        maps.append(torch.from_numpy(read_volume(made)[0]))
    assert fourier_shell_correlation(*maps)[:7].min() > 0.9999


def test_states_are_classes_of_a_cs_file(stack: ParticleStack, tmp_path: Path) -> None:
    source = cryosparc_run(stack, tmp_path).input
    records = read_cs(source)
    fields = [*records.dtype.descr, ("alignments3D/class", "<u4")]
    more = np.zeros(COUNT, fields)
    for name in records.dtype.names:
        more[name] = records[name]
    more["alignments3D/class"] = 9
    with source.open("wb") as stream:
        np.save(stream, more)
    run = with_states(tmp_path / "states", open_particles(source))
    made = export_split(run, tmp_path / "data" / "out.cs", "state")
    for state, done in enumerate(made):
        found = read_cs(done.path)
        assert done.path.name == f"out_state_{state}.cs"
        assert set(found["alignments3D/class"]) == {state}
        assert set(found["cryolatent/recorded_class"]) == {9}
        assert found.dtype["alignments3D/class"] == np.uint32
        assert found["uid"].tolist() == records["uid"][state == STATE].tolist()


def test_row_numbers_of_each_state(stack: ParticleStack, tmp_path: Path) -> None:
    run = with_states(tmp_path / "run", stack)
    out = str(tmp_path / "rows.npy")
    assert cryolatent(["export", str(run.path), "-o", out, "--split", "state"]) == 0
    parts = [np.load(tmp_path / f"rows_state_{state}.npy") for state in range(3)]
    assert sorted(np.concatenate(parts).tolist()) == list(range(COUNT))
    assert not Path(out).exists()


def test_clusters_are_split_too_and_states_are_not_made_up(stack, tmp_path: Path) -> None:
    run = analysed(finished(tmp_path / "run", stack, normal(COUNT)), np.arange(COUNT) % 2)
    with pytest.raises(InputError, match="found a run without states"):
        export_split(run, tmp_path / "out.star", "state")
    made = export_split(run, tmp_path / "out.star", "cluster", ["z0>0"])
    assert [done.path.name for done in made] == ["out_cluster_0.star", "out_cluster_1.star"]
    assert "rlnClassNumber" not in read_star(made[0].path).particles
    # nothing is written if one of the files is there
    made[0].path.unlink()
    with pytest.raises(InputError, match="out_cluster_1"):
        export_split(run, tmp_path / "out.star", "cluster", ["z0>0"])
    assert not made[0].path.exists()
