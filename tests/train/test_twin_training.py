"""Trainings in which the posterior is shown something else than the likelihood."""

from pathlib import Path

import pytest
import torch

from builders import small_config, small_stack
from cryolatent.config.training import TrainConfig
from cryolatent.data import ParticleStack, twin_of
from cryolatent.errors import InputError
from cryolatent.runs.run import Run
from cryolatent.sessions.systems import as_shown, restore
from cryolatent.sessions.training import begin, train
from cryolatent.train import Watch, infer

KINDS = ("permuted", "noise", "same-pose", "ctf-only")


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> ParticleStack:
    return small_stack(tmp_path_factory.mktemp("stack") / "data")


def config(posterior: str, twin: str | None, **options: object) -> TrainConfig:
    return small_config(posterior, twin=twin, **options)


def finished(path: Path, stack: ParticleStack, *options: str | None) -> Run:
    run = begin(path, config(*options), stack, Watch())
    train(run, stack)
    return Run.open(path)


def means(run: Run) -> torch.Tensor:
    return run.latents().distribution.mean


class KilledError(Exception):
    """Stands for a kill."""


def kill(done: int) -> None:
    if done >= 48:
        raise KilledError


@pytest.mark.parametrize("twin", KINDS)
def test_twin_training_resumes_bit_for_bit(stack: ParticleStack, tmp_path: Path, twin: str) -> None:
    whole = finished(tmp_path / "whole", stack, "encoder", twin)
    options = config("encoder", twin, checkpoint_minutes=1e-9)
    run = begin(tmp_path / "killed", options, stack, Watch())
    with pytest.raises(KilledError):
        train(run, stack, Watch(advance=kill))
    run = Run.open(run.path)
    assert run.manifest.status == "interrupted"
    train(run, run.open_stack())
    a, b = (r.checkpoint().tensors for r in (whole, run))
    assert all(torch.equal(tensor, b[name]) for name, tensor in a.items())
    assert torch.equal(means(whole), means(Run.open(run.path)))


def test_posterior_is_read_from_what_it_was_shown(stack: ParticleStack, tmp_path: Path) -> None:
    run = finished(tmp_path / "run", stack, "encoder", "permuted")
    shown = infer(restore(run), as_shown(run.config, run.open_stack()), seed=0)
    assert torch.equal(shown.distribution.mean, means(run))
    own = infer(restore(run), run.open_stack(), seed=0)
    assert not torch.isclose(own.distribution.mean, means(run)).any()


def test_table_looks_at_no_evidence(stack: ParticleStack, tmp_path: Path) -> None:
    """The likelihood's side of a twinned training is that of the training without."""
    plain, twinned = (
        begin(tmp_path / name, small_config("table"), stack) for name in ("plain", "twinned")
    )
    train(plain, stack)
    train(twinned, twin_of(stack, "noise", 0))
    a, b = (run.checkpoint().tensors for run in (plain, twinned))
    assert all(torch.equal(tensor, b[name]) for name, tensor in a.items())


def test_particles_of_a_run_are_opened_without_the_twin(
    stack: ParticleStack, tmp_path: Path
) -> None:
    run = begin(tmp_path / "run", config("encoder", "permuted"), stack, Watch())
    assert run.open_stack().twin is None


def test_twin_made_of_more_particles_is_kept(stack: ParticleStack) -> None:
    options = config("encoder", "permuted")
    half = as_shown(options, stack).select(torch.arange(10))
    assert as_shown(options, half) is half


def test_impossible_twin_writes_nothing(stack: ParticleStack, tmp_path: Path) -> None:
    one = stack.select(torch.arange(1))
    with pytest.raises(InputError, match="`twin`"):
        begin(tmp_path / "run", config("encoder", "permuted"), one, Watch())
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("posterior", ["exact", "categorical", "table", "point-table"])
def test_posteriors_that_read_no_images_have_no_twins(posterior: str) -> None:
    with pytest.raises(InputError, match=r"`twin`: found an option of posteriors encoder, semi"):
        TrainConfig.of(posterior=posterior, twin="permuted")


@pytest.mark.parametrize("kind", ["noise", "ctf-only"])
def test_twin_without_pose_cannot_be_refined_by_gradients(kind: str) -> None:
    with pytest.raises(InputError, match=rf"`twin`: found {kind}; .*'permuted' or 'same-pose'"):
        TrainConfig.of(posterior="semi-amortized", twin=kind)
