"""Latents of particles that a run was not trained on."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from builders import small_config, small_stack
from cryolatent.config.infer import InferConfig
from cryolatent.config.training import TrainConfig
from cryolatent.data import ParticleStack
from cryolatent.errors import InputError
from cryolatent.models import Delta, DiagonalNormal, FullNormal
from cryolatent.runs.run import Run
from cryolatent.sessions.systems import restore
from cryolatent.sessions.training import begin, train
from cryolatent.sessions.unseen import infer_unseen, open_unseen
from cryolatent.train import Watch, infer

KINDS = {"encoder": DiagonalNormal, "table": DiagonalNormal, "point-table": Delta}
KINDS |= {"semi-amortized": DiagonalNormal, "exact": FullNormal}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> ParticleStack:
    return small_stack(tmp_path_factory.mktemp("seen") / "data")


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("unseen") / "data"
    small_stack(folder, particles=12, seed=5)
    return folder / "particles.star"


def configuration(posterior: str) -> TrainConfig:
    options = {"decoder": "subspace"}
    if posterior != "exact":
        options |= {"epochs": 12, "beta_warmup": 0}
    if "table" in posterior:
        options |= {"table_learning_rate": 0.3}
    return small_config(posterior, **options)


@pytest.fixture(scope="module")
def runs(stack: ParticleStack, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Run]:
    def finished(posterior: str) -> Run:
        path = tmp_path_factory.mktemp("runs") / posterior
        run = begin(path, configuration(posterior), stack, Watch())
        train(run, stack)
        return Run.open(path)

    return cache(finished)


@pytest.mark.parametrize("posterior", KINDS)
def test_unseen_particles_have_latents_of_the_run_s_kind(
    runs: Callable[[str], Run], others: Path, posterior: str
) -> None:
    run = runs(posterior)
    stack = open_unseen(run, others)
    options = InferConfig(starts=2, steps=20)
    latents = infer_unseen(run, stack, options).latents
    assert latents.ids.tolist() == stack.ids.tolist()
    assert type(latents.distribution) is KINDS[posterior]
    assert latents.distribution.mean.shape[1] == run.z_dim
    again = infer_unseen(run, stack, options).latents
    assert torch.equal(again.distribution.mean, latents.distribution.mean)


@pytest.mark.parametrize("posterior", ["table", "point-table"])
def test_fits_of_the_training_particles_are_as_good_as_the_trained_rows(
    runs: Callable[[str], Run], stack: ParticleStack, posterior: str
) -> None:
    run = runs(posterior)
    latents = infer_unseen(run, stack, InferConfig(starts=2)).latents
    trained = infer(restore(run), stack, 0, samples=8)
    gain = trained.reconstruction + trained.kl - latents.reconstruction - latents.kl
    error = gain.std() / len(gain) ** 0.5
    assert gain.mean() > -2 * error - 0.05
    assert not torch.equal(latents.distribution.mean, trained.distribution.mean)


def test_refining_an_encoder_closes_its_gap(runs: Callable[[str], Run], others: Path) -> None:
    run = runs("encoder")
    found = infer_unseen(run, open_unseen(run, others), InferConfig(starts=1, refine=True))
    assert found.gain is not None
    assert found.gain.mean() > 2 * found.gain.std() / len(found.gain) ** 0.5
    direct = infer_unseen(run, open_unseen(run, others), InferConfig())
    assert direct.gain is None


def test_what_has_no_encoder_cannot_be_refined(runs: Callable[[str], Run], others: Path) -> None:
    run = runs("table")
    with pytest.raises(InputError, match=r"`refine`: found .*table.*encoder"):
        infer_unseen(run, open_unseen(run, others), InferConfig(refine=True))


def test_run_that_is_not_finished_is_refused(
    stack: ParticleStack, tmp_path: Path, others: Path
) -> None:
    run = begin(tmp_path / "run", small_config("encoder"), stack, Watch())
    with pytest.raises(InputError, match="--resume"):
        infer_unseen(run, open_unseen(run, others))


@pytest.mark.parametrize(
    ("options", "found"),
    [({"box": 20}, "20 x 20.*16 x 16"), ({"pixel_size": 17.5}, r"17\.5 Å.*18 Å")],
)
def test_images_unlike_the_run_s_are_refused(
    runs: Callable[[str], Run], tmp_path: Path, options: dict, found: str
) -> None:
    small_stack(tmp_path / "data", particles=4, **options)
    with pytest.raises(InputError, match=f"particles.star: found .*{found}"):
        open_unseen(runs("encoder"), tmp_path / "data" / "particles.star")


def test_particles_are_read_as_the_run_read_its_own(
    stack: ParticleStack, tmp_path: Path, others: Path
) -> None:
    config = small_config("encoder", epochs=1, shells=4, invert_contrast=True)
    run = begin(tmp_path / "run", config, replace(stack, shells=4), Watch())
    read, upright = (open_unseen(run, others, invert_contrast=flag) for flag in (None, False))
    assert read.disc.radius == 4
    rows = np.arange(2)
    assert np.array_equal(read.images.read(rows), -upright.images.read(rows))


def test_files_that_know_their_sign_and_files_that_do_not_have_no_common_default(
    runs: Callable[[str], Run], others: Path
) -> None:
    run = runs("encoder")
    with pytest.raises(InputError, match=r"a \.cs file for a run on a \.star file; expected `inv"):
        open_unseen(run, others.with_suffix(".cs"))
    with pytest.raises(InputError, match="no such file"):
        open_unseen(run, others.with_suffix(".cs"), invert_contrast=False)
