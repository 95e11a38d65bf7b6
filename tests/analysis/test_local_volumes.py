"""Volumes around places of a latent space, from the particles alone."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from builders import small_config, small_stack
from cryolatent.analysis import local_volumes, reconstruct
from cryolatent.analysis.local_volumes import kernel_weights
from cryolatent.errors import InputError
from cryolatent.io import read_volume
from cryolatent.models import DiagonalNormal
from cryolatent.models.latents import Latents
from cryolatent.physics import fourier_shell_correlation
from cryolatent.runs.manifest import Manifest
from cryolatent.runs.run import Run
from cryolatent.simulate.truth import Truth
from cryolatent.train.recorder import Checkpoint


def finished_run(folder: Path, means: torch.Tensor, stack) -> Run:
    """A run whose latents are given: no decoder was ever trained."""
    manifest = Manifest.of(stack, seed=0, threads=1)
    run = Run.create(folder, small_config("table"), manifest, Checkpoint({}, {"epoch": 0}))
    zeros = torch.zeros(len(stack))
    distribution = DiagonalNormal(means, torch.full_like(means, -4))
    run.write_latents(Latents(stack.ids, distribution, zeros, zeros))
    run.set_status("finished")
    return Run.open(folder)


@pytest.fixture(scope="module")
def two_states(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Truth]:
    folder = tmp_path_factory.mktemp("two")
    stack = small_stack(folder / "data", particles=1600, box=32, pixel_size=9.0, snr=0.3)
    truth = Truth.load(folder / "data" / "truth")
    # of the built-in molecule's states, the two that differ most
    chosen = torch.from_numpy(np.flatnonzero(np.isin(truth.state, (0, 3))))
    state = torch.from_numpy(truth.state)[chosen]
    means = torch.stack([2.0 * (state == 0) - 1, torch.zeros(len(state))], dim=-1)
    means = (means + 0.2 * torch.randn(means.shape)).float()
    return finished_run(folder / "run", means, stack.select(chosen)), truth


def test_weights_reach_the_number_asked_for():
    latents = torch.randn(2000, 3)
    for effective in (50, 300, 1500):
        weights, bandwidth = kernel_weights(latents, latents[7], effective)
        kish = float(weights.sum() ** 2 / weights.square().sum())
        assert kish == pytest.approx(effective, rel=0.01)
        distance = (latents - latents[7]).norm(dim=-1)
        expected = torch.exp(-0.5 * (distance / bandwidth) ** 2)
        kept = weights > 0
        torch.testing.assert_close(weights[kept], expected[kept])
        assert expected[~kept].max().item() < 1e-3 if (~kept).any() else True


def test_volumes_at_the_centres_are_the_states(two_states, tmp_path):
    run, truth = two_states
    made = local_volumes(run, tmp_path / "out", clusters=2, effective=300)
    assert len(made.volumes) == 2
    stack = run.open_stack().select_ids(run.latents().ids)
    consensus = reconstruct(stack).volume
    ids = {name: state for name, state in zip(truth.ids, truth.state, strict=True)}
    seen = set()
    for volume in made.volumes:
        state = int(ids[volume.at])
        seen.add(state)
        target = truth.volumes[state]
        ours = torch.from_numpy(read_volume(tmp_path / "out" / volume.file)[0])
        better = fourier_shell_correlation(ours, target)[1:9]
        worse = fourier_shell_correlation(consensus, target)[1:9]
        assert better.mean() > worse.mean() + 0.02
        other = truth.volumes[3 - state]
        assert better.mean() > fourier_shell_correlation(ours, other)[1:9].mean()
        assert volume.reconstruction.resolution_angstrom < 60
    assert seen == {0, 3}


def test_files_and_summary(two_states, tmp_path):
    run, _ = two_states
    names = tuple(run.latents().ids[[5, 9]].tolist())
    local_volumes(run, tmp_path / "out", at=names, effective=120)
    files = sorted(path.name for path in (tmp_path / "out").iterdir())
    halves = [f"volume_{n}{end}.mrc" for n in (0, 1) for end in ("", "_half1", "_half2")]
    assert files == sorted([*halves, "summary.json"])
    written = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert [volume["at"] for volume in written["volumes"]] == list(names)
    assert written["volumes"][0]["effective_particles"] == pytest.approx(120, rel=0.01)


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"at": ("000001@nowhere.mrcs",)}, "found 000001@nowhere.mrcs"),
        ({"effective": 5}, "`effective_particles`: found 5"),
        ({"effective": 10_000}, "`effective_particles`: found 10000"),
    ],
)
def test_wrong_requests_write_nothing(two_states, tmp_path, options, found):
    with pytest.raises(InputError, match=found):
        local_volumes(two_states[0], tmp_path / "out", **options)
    assert list(tmp_path.iterdir()) == []


def test_a_run_of_too_few_particles_is_refused_as_that(tmp_path):
    stack = small_stack(tmp_path / "data", particles=15)
    run = finished_run(tmp_path / "run", torch.randn(len(stack), 2), stack)
    message = "found 15 particles; expected more than 20, the fewest that a volume is made of"
    with pytest.raises(InputError, match=message):
        local_volumes(run, tmp_path / "out")


def test_few_particles_need_no_option(tmp_path):
    stack = small_stack(tmp_path / "data", particles=32)
    run = finished_run(tmp_path / "run", torch.randn(len(stack), 2), stack)
    assert local_volumes(run, tmp_path / "one", clusters=1).volumes[0].effective_particles == 32
    made = local_volumes(run, tmp_path / "out", at=(str(stack.ids[3]),))
    assert made.volumes[0].effective_particles == pytest.approx(20, rel=0.1)
