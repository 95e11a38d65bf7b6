"""Trainings that look for poses everywhere: particles recorded with any orientation are found."""

from dataclasses import replace
from pathlib import Path

import pytest
import roma
import torch

from builders import exact_config, small_stack, tilt_series
from cryolatent.config.training import TrainConfig
from cryolatent.data import ParticleStack
from cryolatent.errors import InputError
from cryolatent.runs.inputs import nuisances_of, said_of_inputs
from cryolatent.runs.run import Run
from cryolatent.sessions.training import begin, train
from cryolatent.sessions.unseen import infer_unseen
from cryolatent.simulate.truth import Truth
from cryolatent.train import Watch

QUICK = {"starts": 1, "z_dim": 1, "search_shells": 8}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> ParticleStack:
    """A fifth of the recorded orientations is any orientation."""
    options = {"particles": 300, "box": 32, "pixel_size": 9.0, "snr": 0.4, "only": ("mature",)}
    wrong = {"random_poses": 0.2, "angle_error": 2.0, "shift_error": 0.3, "seed": 3}
    found = small_stack(tmp_path_factory.mktemp("lost") / "data", **options, **wrong)
    return replace(found, shells=11)


@pytest.fixture(scope="module")
def run(stack: ParticleStack, tmp_path_factory: pytest.TempPathFactory) -> Run:
    config = exact_config("exact", **QUICK, pose_search="global", shells=11)
    begun = begin(tmp_path_factory.mktemp("runs") / "run", config, stack, Watch())
    train(begun, stack)
    return Run.open(begun.path)


def off_by(rotations: torch.Tensor, stack: ParticleStack) -> torch.Tensor:
    true = Truth.load(stack.source.parent / "truth").poses.rotations
    return torch.rad2deg(roma.rotmat_geodesic_distance(rotations.double(), true.double()))


def test_particles_recorded_anywhere_are_found(stack: ParticleStack, run: Run) -> None:
    lost = off_by(stack.poses.rotations, stack) > 20
    assert 40 < int(lost.sum()) < 80
    nuisances, beliefs = nuisances_of(run), run.latents().beliefs
    assert nuisances is not None
    assert nuisances.lost == pytest.approx(float(lost.float().mean()), abs=0.03)
    assert "orientations have nothing to do with the image" in said_of_inputs(run)[0]
    assert beliefs is not None
    off = off_by(beliefs.refined(stack.poses, 9.0).rotations, stack)
    assert (off[lost] < 6).float().mean() > 0.95
    assert (off[~lost] < 6).float().mean() > 0.98
    assert off[lost].median() < 1.3 * off[~lost].median() + 0.2
    assert (beliefs.probability[lost] > 0.5).float().mean() > 0.95
    # errors are as large as is said
    width = beliefs.covariance.diagonal(dim1=1, dim2=2)[:, :3].sum(1).sqrt().rad2deg()
    assert float((off / width)[lost].median()) == pytest.approx(0.9, abs=0.3)


def test_infer_finds_what_the_run_found(stack: ParticleStack, run: Run) -> None:
    some = torch.arange(0, 300, 7)
    written, again = run.latents(), infer_unseen(run, stack.select(some)).latents
    at = [written.ids.tolist().index(name) for name in again.ids.tolist()]
    torch.testing.assert_close(again.evidence, written.evidence[at], rtol=1e-5, atol=1e-2)
    assert written.beliefs is not None
    assert again.beliefs is not None
    torch.testing.assert_close(again.beliefs.moved, written.beliefs.moved[at], atol=1e-3, rtol=0.01)


def test_a_training_cut_short_ends_as_one_that_was_not(
    stack: ParticleStack, run: Run, tmp_path: Path
) -> None:
    begun = begin(tmp_path / "run", run.config, stack, Watch())

    class CutError(Exception):
        pass

    def stop(entry: dict) -> None:
        if entry["shells"] >= 10:
            raise CutError

    with pytest.raises(CutError):
        train(begun, stack, Watch(epoch=stop))
    train(Run.open(begun.path), stack)
    first, second = run.latents(), Run.open(begun.path).latents()
    assert torch.equal(first.evidence, second.evidence)
    assert first.beliefs is not None
    assert second.beliefs is not None
    assert torch.equal(first.beliefs.moved, second.beliefs.moved)


def test_a_search_may_begin_from_the_poses_of_another(
    stack: ParticleStack, run: Run, tmp_path: Path
) -> None:
    lost, before = off_by(stack.poses.rotations, stack) > 20, run.latents().beliefs
    assert before is not None
    config = run.config.changed(poses_from=run.path, seed=1)
    begun = begin(tmp_path / "run", config, stack, Watch())
    assert str(run.path) in Run.open(begun.path).manifest.parents
    tensors = begun.checkpoint().tensors
    both = torch.where(
        tensors["placing.lost"][:, None], tensors["placing.moves"], tensors["corrections.moved"]
    )
    torch.testing.assert_close(both, before.moved)
    train(begun, stack)
    after = Run.open(begun.path).latents().beliefs
    assert after is not None
    off = off_by(after.refined(stack.poses, 9.0).rotations, stack)
    assert (off[lost] < 6).float().mean() > 0.95
    assert (off < 6).float().mean() > 0.97
    with pytest.raises(InputError, match="doubted something else"):
        other = config.changed(pose_search="local")
        begin(tmp_path / "other", other, stack, Watch())
    with pytest.raises(InputError, match="another content"):
        begin(tmp_path / "other", config, small_stack(tmp_path / "data"), Watch())


def test_what_is_not_searched_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="global with symmetry C2"):
        TrainConfig.of(pose_search="global", symmetry="C2")
    tilts = tilt_series([2, 1, 2, 2])
    with pytest.raises(InputError, match="7 images of 4 particles"):
        begin(tmp_path / "run", exact_config("exact", pose_search="global"), tilts)
    with pytest.raises(InputError, match="trust rotations with pose search global"):
        TrainConfig.of(pose_search="global", trust=("rotations",))


def test_recorded_poses_alone_are_those_that_are_trusted(tmp_path: Path) -> None:
    stack = small_stack(tmp_path / "data", particles=60, angle_error=3.0)
    config = exact_config("categorical", starts=1, states=2, pose_search="recorded")
    run = begin(tmp_path / "run", config, stack, Watch())
    train(run, stack)
    assert "trusted as recorded: rotations, shifts" in said_of_inputs(Run.open(run.path))
