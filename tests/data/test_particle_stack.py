"""Particles with several observations."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from builders import tilt_series
from cryolatent.data import ParticleStack
from cryolatent.errors import InputError
from cryolatent.physics import images_to_disc


def test_observations_worked_by_hand():
    rows, owner = tilt_series([2, 1, 3]).observations(torch.tensor([2, 0, 2]))
    assert rows.tolist() == [3, 4, 5, 0, 1, 3, 4, 5]
    assert owner.tolist() == [0, 0, 0, 1, 1, 2, 2, 2]


@given(st.lists(st.integers(0, 3), min_size=1, max_size=6), st.data())
@settings(deadline=None, max_examples=50)
def test_selected_particles_keep_what_they_own(counts, data):
    stack = tilt_series(counts)
    chosen = data.draw(st.lists(st.integers(0, len(counts) - 1), min_size=1, max_size=8))
    start = np.cumsum([0, *counts])
    owned = [list(range(start[p], start[p + 1])) for p in chosen]
    flat = [row for rows in owned for row in rows]
    selected = stack.select(torch.tensor(chosen))
    assert selected.ids.tolist() == [f"particle {p}" for p in chosen]
    assert selected.half_set.tolist() == [1 + p % 2 for p in chosen]
    assert selected.offsets.diff().tolist() == [len(rows) for rows in owned]
    assert selected.source_rows.tolist() == [10 + row for row in flat]
    np.testing.assert_array_equal(selected.images.pixels, stack.images.pixels[flat])
    assert torch.equal(selected.poses.rotations, stack.poses.rotations[flat])
    assert torch.equal(selected.ctf.voltage_kv, stack.ctf.voltage_kv[flat])


def test_batch_holds_the_observations_of_its_particles():
    stack = tilt_series([2, 1, 3])
    batch = stack.batch(torch.tensor([2, 1]))
    rows = [3, 4, 5, 2]
    assert len(batch) == 2
    assert batch.index.tolist() == [2, 1]
    assert batch.owner.tolist() == [0, 0, 0, 1]
    expected = images_to_disc(torch.from_numpy(stack.images.pixels[rows]), stack.disc)
    assert torch.equal(batch.images, expected)
    assert torch.equal(batch.poses.shifts_angstrom, stack.poses.shifts_angstrom[rows])
    assert torch.equal(batch.ctf.defocus_u_angstrom, stack.ctf.defocus_u_angstrom[rows])


def test_evidence_is_what_the_likelihood_sees():
    batch = tilt_series([2, 1]).batch(torch.tensor([0, 1]))
    assert batch.evidence.images is batch.images
    assert batch.evidence.poses is batch.poses
    assert batch.evidence.ctf is batch.ctf


def test_sum_by_particle_adds_the_observations():
    batch = tilt_series([2, 0, 3]).batch(torch.tensor([2, 1, 0]))
    values = torch.tensor([[1.0, 10], [2, 20], [4, 40], [8, 80], [16, 160]])
    assert batch.sum_by_particle(values).tolist() == [[7, 70], [0, 0], [24, 240]]


def test_particles_are_selected_by_name():
    stack = tilt_series([2, 1, 3])
    selected = stack.select_ids(np.array(["particle 2", "particle 0"]))
    assert selected.ids.tolist() == ["particle 2", "particle 0"]
    assert selected.source_rows.tolist() == [13, 14, 15, 10, 11]
    with pytest.raises(InputError, match=r"^tilts\.star: found no particle particle 7"):
        stack.select_ids(np.array(["particle 1", "particle 7"]))


@pytest.mark.parametrize("short", ["images", "poses", "ctf", "source_rows"])
def test_tables_of_different_length_are_refused(short):
    parts = vars(tilt_series([2, 1])).copy()
    part = parts[short]
    parts[short] = part.select(np.arange(2)) if short == "images" else part[:2]
    with pytest.raises(
        InputError, match=r"tilts\.star: found images, poses, CTFs, rows: .*of each"
    ):
        ParticleStack(**parts)
