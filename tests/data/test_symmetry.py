"""Expansion of particles into their symmetric copies."""

import subprocess

import numpy as np
import pandas as pd
import pytest
import torch

from builders import small_config, small_stack
from cryolatent.data import open_particles, open_star, original_names
from cryolatent.errors import InputError
from cryolatent.io import read_star
from cryolatent.physics import Poses, symmetry_rotations
from cryolatent.runs.run import Run
from cryolatent.sessions.training import begin, train
from cryolatent.simulate.truth import Truth
from cryolatent.train import Watch


def test_copies_see_the_same_images_from_turned_poses(files):
    stack = open_star(files.write())
    expanded = open_star(files.write(), symmetry="D2")
    rotations = symmetry_rotations("D2")
    assert len(expanded) == 16
    assert expanded.ids[:5].tolist() == [
        *(f"1@images.mrcs#{k}" for k in (1, 2, 3, 4)),
        "2@images.mrcs#1",
    ]
    for particle in range(4):
        for copy in range(4):
            ours = expanded.batch(torch.tensor([4 * particle + copy]))
            theirs = stack.batch(torch.tensor([particle]))
            assert torch.equal(ours.images, theirs.images)
            assert torch.equal(ours.poses.shifts_angstrom, theirs.poses.shifts_angstrom)
            assert torch.equal(ours.ctf.defocus_u_angstrom, theirs.ctf.defocus_u_angstrom)
            torch.testing.assert_close(
                ours.poses.rotations, theirs.poses.rotations @ rotations[copy]
            )
    assert expanded.source_rows.tolist() == np.repeat(np.arange(4), 4).tolist()


def test_without_symmetry_nothing_changes(files):
    stack = open_star(files.write())
    assert stack.expanded("C1") is stack
    assert stack.ids.tolist() == [f"{row}@images.mrcs" for row in (1, 2, 3, 4)]


def test_observations_of_a_tilt_series_turn_together(files):
    stack = open_star(files.write())
    series = type(stack)(
        **(
            vars(stack)
            | {
                "ids": np.array(["a", "b"]),
                "offsets": torch.tensor([0, 3, 4]),
                "half_set": np.zeros(2, dtype=int),
            }
        )
    )
    expanded = series.expanded("C2")
    assert expanded.ids.tolist() == ["a#1", "a#2", "b#1", "b#2"]
    assert expanded.offsets.tolist() == [0, 3, 6, 7, 8]
    turn = symmetry_rotations("C2")
    expected = [stack.poses.rotations[rows] @ g for rows in ([0, 1, 2], [3]) for g in turn]
    torch.testing.assert_close(expanded.poses.rotations, torch.cat(expected))


def test_copies_stay_in_one_half(files):
    files.particles["rlnImageName"] = ["1@images.mrcs", "2@images.mrcs"] * 2
    stack = open_star(files.write(), symmetry="C3")
    assert len(set(stack.ids.tolist())) == 12
    for seed in range(10):
        halves = [set(original_names(stack.ids[half.numpy()])) for half in stack.split(seed)]
        assert halves[0].isdisjoint(halves[1])
        assert [len(half) for half in halves] == [1, 1]


def test_copies_keep_relions_half(files):
    files.particles["rlnRandomSubset"] = [2, 1, 1, 2]
    stack = open_star(files.write(), symmetry="C2")
    assert stack.split(0)[0].tolist() == [2, 3, 4, 5]


def test_unknown_group_is_refused(files):
    with pytest.raises(InputError, match="`symmetry`: found H3"):
        open_star(files.write(), symmetry="H3")


def test_run_of_copies_is_trained_opened_and_matched(tmp_path):
    small_stack(tmp_path / "data", particles=6)
    config = small_config("table", epochs=1, symmetry="C2")
    stack = open_particles(tmp_path / "data" / "particles.star", **config.data.reading())
    run = begin(tmp_path / "run", config, stack, Watch())
    train(run, stack)
    opened = Run.open(run.path)
    assert opened.open_stack().ids.tolist() == stack.ids.tolist()
    truth = Truth.load(tmp_path / "data" / "truth")
    assert truth.match(opened.latents().ids, run.path).tolist() == np.repeat(range(6), 2).tolist()


@pytest.mark.relion
@pytest.mark.parametrize("name", ["C4", "D3", "T", "O", "I"])
def test_expansion_is_relions(files, name):
    """relion_particle_symmetry_expand writes the same poses, in some order."""
    star = files.write()
    command = ["relion_particle_symmetry_expand", "--i", star.name, "--sym", name]
    subprocess.run([*command, "--o", "out.star"], cwd=files.folder, check=True, capture_output=True)
    table = read_star(files.folder / "out.star")
    angles = pd.DataFrame({c: table.numbers(f"rlnAngle{c}") for c in ("Rot", "Tilt", "Psi")})
    theirs = Poses.from_relion(
        torch.tensor(angles.to_numpy()).float(), torch.zeros(len(table), 2)
    ).rotations
    ours = open_star(star, symmetry=name)
    assert len(theirs) == len(ours)
    names = table.strings("rlnImageName").astype(str).to_numpy()
    originals = np.array(original_names(ours.ids))
    for image in set(names.tolist()):
        a, b = theirs[names == image], ours.poses.rotations[originals == image]
        distance = (a[:, None] - b[None]).abs().amax(dim=(2, 3))
        assert distance.amin(0).max() < 1e-3
        assert distance.amin(1).max() < 1e-3
