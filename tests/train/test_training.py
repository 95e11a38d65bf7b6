"""Trainings repeat, resume and stop as promised."""

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

from builders import small_config, small_stack
from cryolatent.data import ParticleStack
from cryolatent.errors import InputError, NonFiniteError
from cryolatent.runs.run import Run
from cryolatent.sessions.systems import restore
from cryolatent.sessions.training import begin, train
from cryolatent.train import Watch, infer
from cryolatent.train.gradient import Gradient, save, step
from cryolatent.train.optimisers import build_optimisers
from cryolatent.train.progress import Progress
from cryolatent.train.randomness import epoch_order


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> ParticleStack:
    return small_stack(tmp_path_factory.mktemp("stack") / "data")


def finished(path: Path, stack: ParticleStack, posterior: str, **options: object) -> Run:
    run = begin(path, small_config(posterior, **options), stack, Watch())
    train(run, stack)
    return Run.open(path)


def everything(run: Run) -> dict[str, torch.Tensor]:
    newest = sorted((run.path / "checkpoints").glob("*.safetensors"))[-1]
    return load_file(newest) | run.latents().distribution.to_columns()


def without_times(run: Run) -> list[dict]:
    return [{k: v for k, v in e.items() if "seconds" not in k} for e in run.entries()]


def assert_same(first: Run, second: Run) -> None:
    a, b = everything(first), everything(second)
    assert a.keys() == b.keys()
    for name, tensor in a.items():
        assert torch.equal(tensor, b[name]), name
    assert without_times(first) == without_times(second)


class KilledError(Exception):
    """Stands for a kill."""


@pytest.mark.parametrize(
    ("posterior", "special"),
    [
        ("encoder", {}),
        ("encoder", {"coefficient_fraction": 0.4, "marching": 1}),
        ("encoder", {"precision": "bfloat16"}),
        ("semi-amortized", {"coefficient_fraction": 0.4}),
        ("encoder", {"augment": True}),
        ("table", {"table_optimiser": "row-adam"}),
        ("table", {"table_optimiser": "sparse-adam"}),
        ("table", {"table_optimiser": "sgd"}),
        ("table", {"table_optimiser": "adam"}),
        ("point-table", {"table_optimiser": "row-adam"}),
        ("point-table", {"table_optimiser": "adam"}),
    ],
)
def test_killed_training_resumes_bit_for_bit(
    stack: ParticleStack, tmp_path: Path, posterior: str, special: dict
) -> None:
    options = ({"table_learning_rate": 0.01} if "table" in posterior else {}) | special
    whole = finished(tmp_path / "whole", stack, posterior, **options)
    # a checkpoint after every step, and a kill at several: in an epoch, at its end, in the last
    config = small_config(posterior, checkpoint_minutes=1e-9, **options)
    run = begin(tmp_path / "killed", config, stack, Watch())
    for steps in (1, 3, 5, 8):
        with pytest.raises(KilledError):
            train(run, stack, Watch(advance=_kill_after(steps), stage=lambda name, total: None))
        assert Run.open(run.path).manifest.status == "interrupted"
    train(run, stack)
    assert_same(whole, Run.open(run.path))


def _kill_after(step: int):
    def advance(done: int) -> None:
        if done >= 8 * step:
            raise KilledError

    return advance


def test_kill_before_the_first_checkpoint_of_an_epoch_loses_nothing_written(
    stack: ParticleStack, tmp_path: Path
) -> None:
    whole = finished(tmp_path / "whole", stack, "table")
    run = begin(tmp_path / "killed", small_config("table"), stack, Watch())
    with pytest.raises(KilledError):
        train(run, stack, Watch(advance=_kill_after(7)))
    train(run, stack)
    assert_same(whole, Run.open(run.path))


@pytest.mark.parametrize("posterior", ["encoder", "table"])
def test_same_seed_same_run_other_seed_other_run(
    stack: ParticleStack, tmp_path: Path, posterior: str
) -> None:
    first, again, other = (
        finished(tmp_path / name, stack, posterior, seed=seed)
        for name, seed in (("a", 4), ("b", 4), ("c", 5))
    )
    assert_same(first, again)
    assert first.entries()[-1]["reconstruction"] != other.entries()[-1]["reconstruction"]


def test_runs_with_different_posteriors_begin_with_the_same_decoder(
    stack: ParticleStack, tmp_path: Path
) -> None:
    starts = [
        begin(tmp_path / p, small_config(p), stack, Watch()).checkpoint().tensors
        for p in ("encoder", "table")
    ]
    names = [name for name in starts[0] if name.startswith("model.decoder")]
    assert names
    for name in names:
        assert torch.equal(starts[0][name], starts[1][name])


def test_training_lowers_the_loss_and_fits_the_noise(stack: ParticleStack, tmp_path: Path) -> None:
    run = finished(tmp_path / "run", stack, "encoder", epochs=6, beta_warmup=0)
    losses = [entry["reconstruction"] + entry["kl"] for entry in run.entries()]
    assert losses[-1] < losses[0] - 5
    assert run.entries()[0]["noise_spectrum"] != run.entries()[-1]["noise_spectrum"]


def test_marching_trains_on_few_shells_first_and_says_so(
    stack: ParticleStack, tmp_path: Path
) -> None:
    run = begin(tmp_path / "run", small_config("table", epochs=3, marching=2), stack, Watch())
    start = run.checkpoint().tensors["model.likelihood.noise_spectrum"]
    train(run, stack)
    entries = Run.open(run.path).entries()
    assert [entry["shells"] for entry in entries] == [2, 4, 7]
    first, rounded = entries[0]["noise_spectrum"], [round(float(v), 6) for v in start]
    assert first[3:] == rounded[3:]
    assert first[1] != rounded[1]


def test_longer_training_continues_a_finished_run(stack: ParticleStack, tmp_path: Path) -> None:
    options = {"beta_warmup": 0, "table_learning_rate": 0.1}
    long = finished(tmp_path / "long", stack, "table", epochs=3, **options)
    short = finished(tmp_path / "short", stack, "table", epochs=2, **options)
    train(short.set_config(long.config), stack)
    assert_same(long, Run.open(short.path))


def test_zero_learning_rate_freezes_the_table(stack: ParticleStack, tmp_path: Path) -> None:
    run = finished(tmp_path / "run", stack, "table", table_learning_rate=0.0)
    assert (run.latents().distribution.mean == 0).all()


def test_frozen_rows_gather_no_gradients(stack: ParticleStack, tmp_path: Path) -> None:
    config = small_config("table", table_learning_rate=0.0)
    system = restore(begin(tmp_path / "run", config, stack, Watch()))
    generator = torch.Generator().manual_seed(0)
    batch = stack.batch(torch.arange(8))
    optimisers = build_optimisers(system, 1e-3)
    loss_of = Gradient(config.method).objective_at(0)
    step(loss_of, batch, system, optimisers, generator)
    assert all(row.grad is None for row in system.posterior.row_parameters())
    assert all(weight.grad is not None for weight in system.model.decoder.parameters())


def test_loss_that_is_not_finite_names_the_particle(stack: ParticleStack, tmp_path: Path) -> None:
    run = begin(tmp_path / "run", small_config("table"), stack, Watch())
    checkpoint = run.checkpoint()
    checkpoint.tensors["posterior.loc"][7] = float("nan")
    run.save_checkpoint(0, checkpoint)
    with pytest.raises(NonFiniteError, match=r"000008@particles\.mrcs"):
        train(run, stack)
    assert Run.open(run.path).manifest.status == "failed"


def test_bad_data_write_nothing(stack: ParticleStack, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    bad = small_stack(folder)
    images = np.memmap(folder / "particles.mrcs", np.float32, "r+", 1024, (40, 16, 16))
    images[5, 3, 3] = np.nan
    images.flush()
    with pytest.raises(InputError, match=r"particles.mrcs, image 6.*particle row 6"):
        begin(tmp_path / "run", small_config("table"), bad, Watch())
    assert not (tmp_path / "run").exists()


def test_taken_folder_is_left_alone(stack: ParticleStack, tmp_path: Path) -> None:
    run = finished(tmp_path / "run", stack, "table", epochs=1)
    before = {p: p.read_bytes() for p in run.path.rglob("*") if p.is_file()}
    with pytest.raises(InputError, match=r"another run.*`resume`"):
        begin(run.path, small_config("encoder"), stack, Watch())
    assert before == {p: p.read_bytes() for p in run.path.rglob("*") if p.is_file()}


def test_epochs_visit_every_particle_once_in_their_own_order() -> None:
    first, second = epoch_order(100, 3, 0), epoch_order(100, 3, 1)
    assert sorted(first.tolist()) == list(range(100))
    assert not torch.equal(first, second)
    assert torch.equal(first, epoch_order(100, 3, 0))


def test_latents_hold_the_evidence_of_each_particle(stack: ParticleStack, tmp_path: Path) -> None:
    run = finished(tmp_path / "run", stack, "encoder", epochs=1)
    latents = run.latents()
    assert latents.ids.tolist() == stack.ids.tolist()
    again = infer(restore(run), stack, seed=0)
    assert latents.log_joint is None
    assert torch.equal(again.elbo, latents.elbo)
    torch.testing.assert_close(latents.kl, latents.distribution.kl())


def test_step_that_breaks_the_parameters_leaves_no_latents(
    stack: ParticleStack, tmp_path: Path
) -> None:
    config = small_config("encoder", epochs=1, batch_size=64, learning_rate=1e30)
    run = begin(tmp_path / "run", config, stack, Watch())
    with pytest.raises(NonFiniteError, match="not finite"):
        train(run, stack)
    assert Run.open(run.path).manifest.status == "failed"
    with pytest.raises(InputError):
        run.latents()


def test_checkpoint_that_is_not_finite_is_not_written(stack: ParticleStack, tmp_path: Path) -> None:
    run = begin(tmp_path / "run", small_config("encoder"), stack, Watch())
    system = restore(run)
    with torch.no_grad():
        next(system.model.decoder.parameters()).fill_(torch.nan)
    with pytest.raises(NonFiniteError, match=r"model\.decoder"):
        save(run, system, [], Progress(step=5))
    assert run.checkpoint().position["step"] == 0


def test_extended_run_forgets_its_results_until_it_is_finished(
    stack: ParticleStack, tmp_path: Path
) -> None:
    run = finished(tmp_path / "run", stack, "table", epochs=1)
    longer = run.set_config(small_config("table", epochs=3))
    with pytest.raises(KilledError):
        train(longer, stack, Watch(advance=_kill_after(7)))
    with pytest.raises(InputError, match="--resume"):
        Run.open(run.path).latents()


def test_radius_beyond_the_box_is_refused(stack: ParticleStack, tmp_path: Path) -> None:
    config = small_config("table", particle_radius=150.0)
    with pytest.raises(InputError, match=r"`particle_radius`: found 150 Å.*144 Å.*diameter"):
        begin(tmp_path / "run", config, stack, Watch())
    assert not (tmp_path / "run").exists()


def test_one_process_at_a_time(stack: ParticleStack, tmp_path: Path) -> None:
    run = begin(tmp_path / "run", small_config("table"), stack, Watch())
    run.set_status("running")
    with run.locked(), pytest.raises(InputError, match=r"found process \d+ on .*one at a time"):
        train(run, stack)
    assert Run.open(run.path).manifest.status == "running"


def test_killed_process_leaves_a_run_that_resumes_bit_for_bit(
    stack: ParticleStack, tmp_path: Path
) -> None:
    """SIGKILL, which no handler sees, in the middle of training."""
    options = {"epochs": 400, "checkpoint_minutes": 1e-9}
    run = begin(tmp_path / "killed", small_config("table", **options), stack, Watch())
    script = (
        "from cryolatent.runs.run import Run; from cryolatent.sessions.training import train;"
        f"run = Run.open({str(run.path)!r}); train(run, run.open_stack())"
    )
    process = subprocess.Popen([sys.executable, "-c", script])
    while process.poll() is None and len(run.entries()) < 2:
        time.sleep(0.02)
    process.kill()
    process.wait()
    assert Run.open(run.path).manifest.status == "running"
    epochs = run.checkpoint().position["epoch"] + 1
    # what was derived from the epochs asked for at first stays, as when a run is resumed
    config = run.options.changed(epochs=epochs)
    train(run.set_config(config), stack)
    whole = begin(tmp_path / "whole", config, stack, Watch())
    train(whole, stack)
    assert_same(Run.open(whole.path), Run.open(run.path))


def test_points_report_a_joint_density_and_no_bound(stack: ParticleStack, tmp_path: Path) -> None:
    run = finished(tmp_path / "run", stack, "point-table", epochs=10, beta_warmup=0)
    latents = run.latents()
    assert latents.elbo is None
    torch.testing.assert_close(latents.log_joint, -(latents.reconstruction + latents.kl))
    torch.testing.assert_close(latents.kl, latents.distribution.kl())
    assert latents.distribution.mean.std() > 0.1
    scores = [entry["reconstruction"] for entry in run.entries()]
    assert scores[-1] < scores[0]
    columns = pq.read_schema(run.path / "latents" / "final.parquet").names
    for names in (columns, run.entries()[0]):
        assert "negative_log_prior" in names
        assert "kl" not in names
