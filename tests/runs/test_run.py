from pathlib import Path

import pytest
import torch

from builders import small_config, small_stack
from cryolatent.config.training import TrainConfig
from cryolatent.errors import InputError
from cryolatent.models import DiagonalNormal
from cryolatent.models.latents import Latents
from cryolatent.runs.manifest import Manifest, input_digest
from cryolatent.runs.run import Run
from cryolatent.train.recorder import Checkpoint


@pytest.fixture
def run(tmp_path: Path) -> Run:
    stack = small_stack(tmp_path / "data", particles=4)
    manifest = Manifest.of(stack, seed=0, threads=1)
    return Run.create(tmp_path / "run", small_config("table"), manifest, state(0))


def state(step: int) -> Checkpoint:
    return Checkpoint({"x": torch.full((2,), float(step))}, {"step": step})


def test_config_survives_its_file(tmp_path: Path) -> None:
    config = TrainConfig.of(posterior="table", z_dim=3, epochs=7).resolved()
    (tmp_path / "c.toml").write_text(config.to_toml())
    assert TrainConfig.from_toml(tmp_path / "c.toml") == config


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("schema = 2\n[posterior]\nzdim = 3\n", "posterior.zdim"),
        ("schema = 2\n[posterior]\nz_dim = 0\n", "`z_dim` = 0"),
        ('schema = 2\n[objective]\nkind = "mse"\n', "`objective` = mse"),
        ("schema = 2\n[decoder]\nz_dim = 3\n", "decoder.z_dim"),
        ("schema = 2\n[other]\n", "other"),
        ("schema = 3\n", "schema 3"),
        ("[model]\nzdim = 3\n", "`zdim`"),
        ("not toml", "no TOML"),
    ],
)
def test_wrong_config_names_file_and_option(tmp_path: Path, text: str, found: str) -> None:
    (tmp_path / "c.toml").write_text(text)
    with pytest.raises(InputError) as error:
        TrainConfig.from_toml(tmp_path / "c.toml")
    assert f"{tmp_path / 'c.toml'}: found {found}" in str(error.value)


def test_only_options_that_were_set_override() -> None:
    changed = TrainConfig.of(posterior="table", z_dim=3).changed(z_dim=5)
    assert (changed.posterior.z_dim, changed.posterior.kind) == (5, "table")


def test_options_of_parts_that_are_gone_go_with_them() -> None:
    base = TrainConfig.of(posterior="table", table_start="random", epochs=3, z_dim=3)
    changed = base.changed(posterior="exact")
    assert changed.kinds == TrainConfig.of(posterior="exact").kinds
    assert changed.posterior.z_dim == 3
    kept = TrainConfig.of(posterior="table", decoder="subspace").changed(posterior="encoder")
    assert kept.decoder.kind == "subspace"


def test_first_schema_is_converted(tmp_path: Path) -> None:
    (tmp_path / "table.toml").write_text(
        '[data]\ntwin_ctf = "own"\nsymmetry = "C3"\n[model]\nposterior = "table"\n'
        'decoder = "mlp"\nz_dim = 3\nencoder_width = 7\ntable_start = "random"\n'
        '[optimisation]\nepochs = 4\nobjective = "report"\nseed = 5\n[search]\nstarts = 9\n'
    )
    expected = {"posterior": "table", "decoder": "mlp", "z_dim": 3, "table_start": "random"}
    expected |= {"epochs": 4, "objective": "report", "seed": 5, "symmetry": "C3"}
    assert TrainConfig.from_toml(tmp_path / "table.toml") == TrainConfig.of(expected)
    (tmp_path / "exact.toml").write_text(
        '[model]\nposterior = "categorical"\ndecoder = "subspace"\ncoefficients = "linear"\n'
        'z_dim = 4\ncontrast_spread = 0.1\n[optimisation]\nepochs = 4\nobjective = "elbo"\n'
        "[search]\nstarts = 9\n"
    )
    expected = {"posterior": "categorical", "z_dim": 4, "contrast_spread": 0.1, "starts": 9}
    assert TrainConfig.from_toml(tmp_path / "exact.toml") == TrainConfig.of(expected)


def test_defaults_depend_on_what_they_must() -> None:
    def resolved(**options: object) -> TrainConfig:
        return TrainConfig.of({"posterior": "table", "z_dim": 4} | options).resolved()

    assert resolved(epochs=50).posterior.table_learning_rate == pytest.approx(0.1)
    assert resolved(epochs=50, table_learning_rate=0.0).posterior.table_learning_rate == 0
    assert resolved().objective.beta == 1
    assert resolved(objective="report").objective.beta == 0.25


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
    base = TrainConfig.of(posterior="encoder", z_dim=4)
    assert base.changed(objective="report").resolved().objective.beta == 0.25
    kept = base.changed(seed=3).resolved()
    assert (kept.objective, kept.session.seed) == (base.resolved().objective, 3)
