"""Whole trainings of exact posteriors: what they find, how they stop and go on, what they obey."""

from collections.abc import Callable
from functools import cache
from itertools import pairwise
from pathlib import Path
from shutil import copytree

import numpy as np
import pytest
import torch
from sklearn.metrics import adjusted_rand_score
from sklearn.mixture import GaussianMixture
from torch import Tensor

from builders import exact_config, small_stack
from cryolatent.config.training import TrainConfig
from cryolatent.data import ParticleStack
from cryolatent.errors import InputError
from cryolatent.io import read_arrays, write_volume
from cryolatent.models.contrast import ONE
from cryolatent.physics import soft_sphere
from cryolatent.runs.run import Run
from cryolatent.sessions.systems import restore
from cryolatent.sessions.training import begin, train
from cryolatent.sessions.unseen import infer_unseen
from cryolatent.train import Watch, infer
from cryolatent.train.recorder import FINAL, SEARCHING

BOTH = pytest.mark.parametrize("posterior", ["exact", "categorical"])
ONLY = ("mature", "without protuberance and stalk", "early")
STATES = len(ONLY)
PIXEL_SIZE = 12.0


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> ParticleStack:
    """Three states, easy to tell apart."""
    folder = tmp_path_factory.mktemp("easy") / "data"
    options = {"particles": 300, "box": 24, "pixel_size": PIXEL_SIZE, "snr": 1.0}
    return small_stack(folder, only=ONLY, **options)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> ParticleStack:
    return small_stack(tmp_path_factory.mktemp("tiny") / "data", particles=100)


def short_config(posterior: str, **options: object) -> TrainConfig:
    """Of a training that ends soon, with fewer dimensions or states than it began with."""
    return exact_config(posterior, **{"z_dim": 5, "search_shells": 5, "starts": 1} | options)


def finished(path: Path, stack: ParticleStack, config: TrainConfig) -> Run:
    run = begin(path, config, stack, Watch())
    train(run, stack)
    return Run.open(path)


@pytest.fixture(scope="module")
def whole(tiny: ParticleStack, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Run]:
    """Short trainings that nothing interrupted."""
    return cache(
        lambda posterior: finished(
            tmp_path_factory.mktemp("whole") / posterior, tiny, short_config(posterior)
        )
    )


@pytest.fixture(scope="module")
def runs(stack: ParticleStack, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Run]:
    """Trainings on the easy stack."""
    return cache(
        lambda posterior: finished(
            tmp_path_factory.mktemp("runs") / posterior, stack, exact_config(posterior)
        )
    )


def true_states(stack: ParticleStack) -> np.ndarray:
    return read_arrays(stack.source.parent / "truth" / "truth.npz", ["state"])["state"]


@BOTH
def test_latents_separate_the_states(
    stack: ParticleStack, runs: Callable[[str], Run], posterior: str
) -> None:
    latents = runs(posterior).latents()
    assert latents.ids.tolist() == stack.ids.tolist()
    z = latents.distribution.mean.numpy()
    if posterior == "exact":
        found = GaussianMixture(STATES, n_init=5, random_state=0).fit_predict(z)
    else:
        found = z.argmax(1)
    assert adjusted_rand_score(true_states(stack), found) > 0.9


@BOTH
def test_choice_is_the_truth_and_is_written_down(
    runs: Callable[[str], Run], posterior: str
) -> None:
    run = runs(posterior)
    assert run.manifest.status == "finished"
    choice, *others = run.choices()
    assert [c.name for c in others] == (["states", "reading"] if posterior == "exact" else [])
    # three volumes span two dimensions about their mean
    name, number = ("dimensions", STATES - 1) if posterior == "exact" else ("states", STATES)
    assert (choice.name, choice.chosen) == (name, number)
    assert run.z_dim == number
    # what was asked stays what was asked
    assert run.config.posterior.z_dim == 4


@BOTH
def test_restored_run_gives_the_written_latents(
    stack: ParticleStack, runs: Callable[[str], Run], posterior: str
) -> None:
    run = runs(posterior)
    system, written = restore(run), run.latents().distribution.to_columns()
    batches = torch.arange(len(stack)).split(128)
    with torch.no_grad():
        parts = [system.posterior(stack.batch(rows), system.model).to_columns() for rows in batches]
    for name, column in written.items():
        found = torch.cat([part[name] for part in parts])
        torch.testing.assert_close(found, column, rtol=1e-5, atol=1e-5)


@BOTH
def test_log_follows_the_climb(stack: ParticleStack, tmp_path: Path, posterior: str) -> None:
    """Where nothing is doubted, so that nothing is drawn."""
    run = finished(tmp_path / "run", stack, exact_config(posterior, trust=("all",)))
    entries = run.entries()
    assert [entry["epoch"] for entry in entries] == list(range(len(entries)))
    assert entries[-1]["shells"] == 11
    for before, after in pairwise(entries):
        if before["curve"] == after["curve"]:
            objective = before["objective"]
            assert after["objective"] >= objective - 1e-6 * abs(objective)


@BOTH
def test_interrupted_training_resumes_bit_for_bit(
    tiny: ParticleStack, whole: Callable[[str], Run], tmp_path: Path, posterior: str
) -> None:
    config = short_config(posterior)
    run = begin(tmp_path / "stopped", config, tiny, Watch())
    step = 0
    while True:
        step += 1
        try:
            train(run, tiny, StopAt(step))
            break
        except KeyboardInterrupt:
            assert Run.open(run.path).manifest.status == "interrupted"
            if run.checkpoint().z_dim == SEARCHING:
                with pytest.raises(InputError, match="--resume"):
                    restore(Run.open(run.path))
    assert step > 3
    assert_same(whole(posterior), Run.open(run.path))


@BOTH
@pytest.mark.parametrize("method", ["save_checkpoint", "write_latents"])
def test_interruption_at_the_end_resumes_bit_for_bit(
    tiny: ParticleStack,
    whole: Callable[[str], Run],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    posterior: str,
    method: str,
) -> None:
    """Between any two of the files that the end writes."""
    config = short_config(posterior)
    run = begin(tmp_path / "stopped", config, tiny, Watch())
    original = getattr(Run, method)

    def dies(self: Run, *arguments: object) -> None:
        original(self, *arguments)
        if method == "save_checkpoint" and arguments[1].z_dim in (None, SEARCHING):
            return
        if method == "write_latents":
            reading = arguments[1] if len(arguments) > 1 else FINAL
            (self.path / "latents" / f"{reading}.parquet").unlink()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Run, method, dies)
        with pytest.raises(KeyboardInterrupt):
            train(run, tiny)
    run = Run.open(run.path)
    train(run, tiny)
    assert_same(whole(posterior), Run.open(run.path))


@BOTH
def test_finished_run_may_be_trained_again(
    tiny: ParticleStack, whole: Callable[[str], Run], tmp_path: Path, posterior: str
) -> None:
    copytree(whole(posterior).path, tmp_path / "again")
    run = Run.open(tmp_path / "again")
    train(run, tiny)
    assert_same(whole(posterior), Run.open(run.path))


def everything(run: Run) -> dict[str, Tensor]:
    latents = run.latents()
    columns = latents.distribution.to_columns()
    return restore(run).tensors() | columns | {"elbo": latents.elbo}


def assert_same(first: Run, second: Run) -> None:
    a, b = everything(first), everything(second)
    assert a.keys() == b.keys()
    for name, tensor in a.items():
        assert torch.equal(tensor, b[name]), name
    assert first.choices() == second.choices()
    assert first.config == second.config
    entries = [
        [{k: v for k, v in e.items() if "seconds" not in k} for e in run.entries()]
        for run in (first, second)
    ]
    assert entries[0] == entries[1]


class StopAt(Watch):
    """Stops a training when it has made a step, before that is kept."""

    def __init__(self, step: int) -> None:
        # the step that was stopped is made again, so each training gets one step further
        self.left, self.stages = 2 if step == 1 else 3, []
        super().__init__(stage=self.begin, advance=self.told)

    def begin(self, name: str, total: int) -> None:
        self.stages.append(name)

    def told(self, done: int) -> None:
        self.left -= self.stages[-1] == "searching"
        if self.left == 0 and self.stages[-1] == "searching":
            raise KeyboardInterrupt


def volumes_of(run: Run) -> Tensor:
    decoder = restore(run).model.decoder
    with torch.no_grad():
        z = torch.eye(decoder.z_dim)
        if run.config.posterior.kind == "exact":
            z = torch.cat([torch.zeros_like(z[:1]), z])
        return decoder.volume(z)


def power(volumes: Tensor, where: Tensor) -> float:
    return float(volumes[..., where].square().mean())


@BOTH
def test_masks_are_obeyed(stack: ParticleStack, tmp_path: Path, posterior: str) -> None:
    box = stack.disc.box
    mask = soft_sphere(box, 1.0, 8.5, 2.0)
    focus = mask * (torch.arange(box) < box // 2)[:, None, None]
    write_volume(tmp_path / "mask.mrc", mask.numpy(), PIXEL_SIZE)
    write_volume(tmp_path / "focus.mrc", focus.numpy(), PIXEL_SIZE)
    config = exact_config(
        posterior,
        z_dim=2,
        search_shells=6,
        **({"states": 3} if posterior == "categorical" else {}),
        mask=tmp_path / "mask.mrc",
        focus_mask=tmp_path / "focus.mrc",
    )
    run = finished(tmp_path / "run", stack, config)
    volumes = volumes_of(run)
    # the last shell's edge rings for a voxel or two
    far, beyond = (near(m) == 0 for m in (mask, focus))
    far_from_focus = beyond & (mask == 1)
    assert power(volumes, far) < 0.01 * power(volumes, mask == 1)
    differences = volumes[1:] - volumes[:1]
    assert power(differences, far_from_focus) < 0.01 * power(differences, focus == 1)
    assert power(volumes, far_from_focus) > 0.1 * power(volumes, mask == 1)


def near(mask: Tensor) -> Tensor:
    """Voxels within two of a mask."""
    inside = (mask > 0).float()[None, None]
    return torch.nn.functional.max_pool3d(inside, 5, stride=1, padding=2)[0, 0]


@pytest.mark.parametrize("option", ["mask", "focus_mask"])
def test_wrong_mask_is_refused_before_anything_is_written(
    tiny: ParticleStack, tmp_path: Path, option: str
) -> None:
    write_volume(tmp_path / "mask.mrc", np.ones((8, 8, 8), np.float32), 18.0)
    config = exact_config("exact", **{option: tmp_path / "mask.mrc"})
    with pytest.raises(InputError, match=r"mask\.mrc.*8 x 8 x 8"):
        begin(tmp_path / "run", config, tiny, Watch())
    assert not (tmp_path / "run").exists()


@BOTH
def test_too_few_particles_are_refused(tmp_path: Path, posterior: str) -> None:
    few = small_stack(tmp_path / "data", particles=4)
    run = begin(tmp_path / "run", exact_config(posterior), few, Watch())
    with pytest.raises(InputError, match=r"4 particles.*`hold_out`"):
        train(run, few)


@BOTH
def test_contrast_is_an_option(tiny: ParticleStack, tmp_path: Path, posterior: str) -> None:
    config = short_config(posterior, contrast_spread=0.1)
    run = finished(tmp_path / "run", tiny, config)
    latents = run.latents()
    assert latents.elbo.isfinite().all()
    # the run's own rows are what `infer` finds, evidence included
    again = infer_unseen(run, tiny).latents
    for name in ("evidence", "reconstruction", "kl"):
        torch.testing.assert_close(getattr(again, name), getattr(latents, name), rtol=1e-6, atol=0)
    found = again.distribution.to_columns()
    for name, column in latents.distribution.to_columns().items():
        torch.testing.assert_close(found[name], column, rtol=0, atol=1e-5)
    # and not those of a model without contrast
    system = restore(run)
    system.model.likelihood.contrast = ONE
    assert (infer(system, tiny, 0).evidence - latents.evidence).abs().max() > 0.05


def test_given_number_of_states_is_used(tiny: ParticleStack, tmp_path: Path) -> None:
    for states in (1, 2):
        config = short_config("categorical", z_dim=2, states=states)
        run = finished(tmp_path / str(states), tiny, config)
        assert run.choices() == []
        shares = run.latents().distribution.mean
        assert shares.shape == (len(tiny), states)
        torch.testing.assert_close(shares.sum(-1), torch.ones(len(tiny)))
