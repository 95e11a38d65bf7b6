from pathlib import Path

import pytest
import torch

from builders import small_config, small_stack
from cryolatent.errors import InputError
from cryolatent.models import DiagonalNormal
from cryolatent.runs.config import ModelConfig, OptimisationConfig, TrainConfig
from cryolatent.runs.manifest import Manifest, input_digest
from cryolatent.runs.run import Checkpoint, Latents, Run


@pytest.fixture
def run(tmp_path: Path) -> Run:
    stack = small_stack(tmp_path / "data", particles=4)
    manifest = Manifest.of(stack, seed=0, threads=1)
    return Run.create(tmp_path / "run", small_config("table"), manifest, state(0))


def state(step: int) -> Checkpoint:
    return Checkpoint({"x": torch.full((2,), float(step))}, {"step": step})


def test_config_survives_its_file(tmp_path: Path) -> None:
    config = TrainConfig(
        model=ModelConfig(posterior="table", z_dim=3), optimisation=OptimisationConfig(epochs=7)
    ).resolved()
    (tmp_path / "c.toml").write_text(config.to_toml())
    assert TrainConfig.from_toml(tmp_path / "c.toml") == config


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("[model]\nzdim = 3\n", "model.zdim"),
        ("[model]\nz_dim = 0\n", "model.z_dim = 0"),
        ('[optimisation]\nobjective = "mse"\n', "optimisation.objective"),
        ("[other]\n", "other"),
        ("not toml", "no TOML"),
    ],
)
def test_wrong_config_names_file_and_option(tmp_path: Path, text: str, found: str) -> None:
    (tmp_path / "c.toml").write_text(text)
    with pytest.raises(InputError) as error:
        TrainConfig.from_toml(tmp_path / "c.toml")
    assert f"{tmp_path / 'c.toml'}: found {found}" in str(error.value)


def test_only_options_that_were_set_override() -> None:
    base = TrainConfig(model=ModelConfig(z_dim=3, posterior="table"))
    changed = base.updated(TrainConfig(model=ModelConfig(z_dim=5)))
    assert (changed.model.z_dim, changed.model.posterior) == (5, "table")


def test_defaults_depend_on_what_they_must() -> None:
    def resolved(**options: object) -> OptimisationConfig:
        optimisation = OptimisationConfig.model_validate(options)
        return (
            TrainConfig(model=ModelConfig(z_dim=4), optimisation=optimisation)
            .resolved()
            .optimisation
        )

    assert resolved(epochs=50).table_learning_rate == pytest.approx(0.1)
    assert resolved(epochs=50, table_learning_rate=0.0).table_learning_rate == 0
    assert resolved().beta == 1
    assert resolved(objective="report").beta == 0.25


def test_newest_checkpoints_are_kept(run: Run) -> None:
    for step in (5, 10, 15):
        run.save_checkpoint(step, state(step))
    assert run.checkpoint().position == {"step": 15}
    assert run.checkpoint(10).tensors["x"].tolist() == [10, 10]
    with pytest.raises(InputError, match="step 5"):
        run.checkpoint(5)
    assert len(list((run.path / "checkpoints").glob("*.safetensors"))) == 2


def test_checkpoint_cut_short_is_never_seen(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def dies_half_way(tensors: object, path: Path) -> None:
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr("cryolatent.io.files.save_file", dies_half_way)
    with pytest.raises(KeyboardInterrupt):
        run.save_checkpoint(5, state(5))
    assert run.checkpoint().position == {"step": 0}
    assert not list(run.path.rglob("*partial*"))


def test_log_forgets_what_is_trained_again(run: Run) -> None:
    for epoch in range(4):
        run.log({"epoch": epoch})
    run.rewind_log(2)
    assert [entry["epoch"] for entry in run.entries()] == [0, 1]


def test_latents_survive_their_file(run: Run) -> None:
    q = DiagonalNormal(torch.randn(4, 2), torch.randn(4, 2))
    latents = Latents(run.open_stack().ids, q, torch.randn(4), torch.rand(4))
    run.write_latents(latents)
    again = Run.open(run.path).latents()
    assert again.ids.tolist() == latents.ids.tolist()
    assert torch.equal(again.distribution.mean, q.mean)
    assert torch.equal(again.elbo, latents.elbo)


def test_unfinished_run_has_no_latents(run: Run) -> None:
    with pytest.raises(InputError, match="--resume"):
        run.latents()


def test_folder_that_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no manifest\.json"):
        Run.open(tmp_path)
    (tmp_path / "manifest.json").write_text('{"schema_version": 99}')
    with pytest.raises(InputError, match=r"unknown manifest\.json"):
        Run.open(tmp_path)


def test_folder_with_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(InputError, match="other files"):
        Run.check_free(tmp_path)
    Run.check_free(tmp_path / "new")


def test_log_line_cut_short_is_passed_over(run: Run) -> None:
    run.log({"epoch": 0})
    with (run.path / "log.jsonl").open("a") as stream:
        stream.write('{"epoch": 1, "st')
    assert [entry["epoch"] for entry in run.entries()] == [0]


def test_folder_of_a_run_is_there_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack = small_stack(tmp_path / "data", particles=4)
    manifest = Manifest.of(stack, seed=0, threads=1)

    def dies(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("cryolatent.io.files.save_file", dies)
    with pytest.raises(KeyboardInterrupt):
        Run.create(tmp_path / "run", small_config("table"), manifest, state(0))
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_replaced_stack_changes_the_digest(tmp_path: Path) -> None:
    stack = small_stack(tmp_path / "data", particles=4)
    before = input_digest(stack)
    assert input_digest(stack) == before
    small_stack(tmp_path / "other", particles=4, snr=2.0)
    (tmp_path / "data" / "particles.mrcs").write_bytes(
        (tmp_path / "other" / "particles.mrcs").read_bytes()
    )
    assert input_digest(stack) != before


def test_derived_defaults_follow_what_they_are_derived_from() -> None:
    base = TrainConfig(model=ModelConfig(z_dim=4)).resolved()
    changed = base.overridden(TrainConfig(optimisation=OptimisationConfig(objective="report")))
    assert changed.resolved().optimisation.beta == 0.25
    kept = base.overridden(TrainConfig(optimisation=OptimisationConfig(seed=3)))
    assert kept.resolved().optimisation == base.optimisation.model_copy(update={"seed": 3})
