"""The truth of a simulation, saved, loaded and matched."""

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch

from cryolatent.errors import InputError
from cryolatent.io import read_volume
from cryolatent.physics import Poses
from cryolatent.simulate.truth import Truth


@pytest.fixture
def truth() -> Truth:
    rng = np.random.default_rng(0)
    return Truth(
        ids=np.array([f"{row + 1:06d}@particles.mrcs" for row in range(3)]),
        state=np.array([1, -1, 0]),
        state_names=("closed", "öffen"),
        contrast=rng.normal(size=3),
        poses=Poses(torch.eye(3).repeat(3, 1, 1), torch.randn(3, 2)),
        noise_spectrum=torch.rand(4),
        volumes=torch.randn(2, 8, 8, 8),
        pixel_size_angstrom=2.25,
        snr=0.1,
        diameter_to_box=0.7,
    )


def test_what_is_saved_is_loaded(truth, tmp_path):
    truth.save(tmp_path / "truth")
    loaded = Truth.load(tmp_path / "truth")
    for field in fields(Truth):
        ours, theirs = getattr(truth, field.name), getattr(loaded, field.name)
        if field.name == "poses":
            assert torch.equal(ours.rotations, theirs.rotations)
            assert torch.equal(ours.shifts_angstrom, theirs.shifts_angstrom)
        elif field.name == "motion":
            assert theirs is None
        else:
            np.testing.assert_array_equal(theirs, ours)


def test_particles_are_matched_by_name_in_any_order(truth):
    assert truth.match(truth.ids[[2, 0, 1, 2]], Path("a.star")).tolist() == [2, 0, 1, 2]


def test_no_particles_match_no_particles(truth):
    assert truth.match(truth.ids[:0], Path("a.star")).shape == (0,)


def test_unknown_particle_is_an_error(truth):
    with pytest.raises(
        InputError, match=r"^a\.star: found particle 9@b\.mrcs; expected a particle"
    ):
        truth.match(np.array(["000001@particles.mrcs", "9@b.mrcs"]), Path("a.star"))


def break_text(folder: Path) -> None:
    (folder / "truth.npz").write_text("text\n")


def break_cut(folder: Path) -> None:
    path = folder / "truth.npz"
    path.write_bytes(path.read_bytes()[:-30])


def break_missing_array(folder: Path) -> None:
    np.savez(folder / "truth.npz", ids=np.array(["a"]))


def break_missing_volume(folder: Path) -> None:
    (folder / "state_1.mrc").unlink()


@pytest.mark.parametrize(
    "break_it", [break_text, break_cut, break_missing_array, break_missing_volume]
)
def test_broken_truth_is_an_error(truth, tmp_path, break_it):
    truth.save(tmp_path)
    break_it(tmp_path)
    with pytest.raises(InputError):
        Truth.load(tmp_path)


def test_folder_without_truth_is_an_error(tmp_path):
    with pytest.raises(InputError, match=r"no truth.*Check `truth`\.$"):
        Truth.load(tmp_path)


def test_volumes_are_written_as_maps(truth, tmp_path):
    truth.save(tmp_path)
    assert sorted(path.name for path in tmp_path.glob("*.mrc")) == ["state_0.mrc", "state_1.mrc"]
    volume, pixel_size = read_volume(tmp_path / "state_1.mrc")
    np.testing.assert_array_equal(volume, truth.volumes[1])
    assert pixel_size == pytest.approx(2.25)
