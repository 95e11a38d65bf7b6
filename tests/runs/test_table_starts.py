"""Where a table starts, and that the start is kept."""

from pathlib import Path

import pytest
import torch

from builders import small_config, small_stack
from cryolatent.config.training import TrainConfig
from cryolatent.data import ParticleStack
from cryolatent.errors import InputError
from cryolatent.models import Delta, DiagonalNormal
from cryolatent.models.latents import Latents
from cryolatent.runs.run import Run
from cryolatent.sessions.systems import restore
from cryolatent.sessions.training import begin, train
from cryolatent.sessions.warm import CLUSTERS, clustered_rows, random_rows
from cryolatent.train import Watch


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> ParticleStack:
    return small_stack(tmp_path_factory.mktemp("stack") / "data")


@pytest.fixture(scope="module")
def other(stack: ParticleStack, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished table whose row i holds (i, -i / 10), in another order of the particles."""
    folder = tmp_path_factory.mktemp("other") / "run"
    run = begin(folder, small_config("table"), stack, Watch())
    value = torch.arange(len(stack)).float()
    q = DiagonalNormal(torch.stack([value, -value / 10], 1), -2 - value[:, None].expand(-1, 2) / 50)
    order = torch.randperm(len(stack), generator=torch.Generator().manual_seed(3))
    shuffled = DiagonalNormal(q.loc[order], q.log_var[order])
    nothing = torch.zeros(len(stack))
    run.write_latents(Latents(stack.ids[order.numpy()], shuffled, nothing, nothing))
    run.set_status("finished")
    return Run.open(run.path)


def config(**model: object) -> TrainConfig:
    return small_config(**({"posterior": "table"} | model))


def table(path: Path, stack: ParticleStack, **model: object) -> tuple[torch.Tensor, torch.Tensor]:
    posterior = restore(begin(path, config(**model), stack, Watch())).posterior
    return posterior.loc.data, posterior.log_var.data


def test_pretrained_rows_are_matched_by_name(
    stack: ParticleStack, other: Run, tmp_path: Path
) -> None:
    turned = stack.select(torch.arange(len(stack)).flip(0))
    loc, log_var = table(tmp_path / "run", turned, pretrained=other.path)
    value = torch.arange(len(stack)).flip(0).float()
    torch.testing.assert_close(loc, torch.stack([value, -value / 10], 1))
    torch.testing.assert_close(log_var[:, 0], -2 - value / 50)


def test_permuted_rows_are_the_other_runs_in_another_order(
    stack: ParticleStack, other: Run, tmp_path: Path
) -> None:
    loc, log_var = table(tmp_path / "a", stack, pretrained=other.path, table_start="permuted")
    value = torch.arange(len(stack)).float()
    assert (loc[:, 0] == value).sum() < 10
    assert torch.equal(loc[:, 0].sort().values, value)
    # a row stays whole
    torch.testing.assert_close(loc[:, 1], -loc[:, 0] / 10)
    torch.testing.assert_close(log_var[:, 0], -2 - loc[:, 0] / 50)
    again, _ = table(tmp_path / "b", stack, pretrained=other.path, table_start="permuted")
    assert torch.equal(loc, again)


def test_random_rows_have_the_mean_and_spread_of_each_dimension() -> None:
    generator = torch.Generator().manual_seed(0)
    scale, centre = torch.tensor([2.0, 0.1]), torch.tensor([-1.0, 5.0])
    like = DiagonalNormal(
        torch.randn(5000, 2, generator=generator) * scale + centre,
        torch.randn(5000, 2, generator=generator) * 0.5 - 3,
    )
    rows = random_rows(20_000, 2, like, generator)
    for drawn, found in ((rows.loc, like.loc), (rows.log_var, like.log_var)):
        torch.testing.assert_close(drawn.mean(0), found.mean(0), atol=0.05, rtol=0)
        torch.testing.assert_close(drawn.std(0), found.std(0), atol=0.05, rtol=0)
    plain = random_rows(20_000, 2, None, generator)
    assert float(plain.loc.mean()) == pytest.approx(-0.05, abs=0.03)
    assert float(plain.loc.std()) == pytest.approx(1.494, abs=0.03)
    assert float(plain.log_var.mean()) == pytest.approx(-5.47, abs=0.03)
    assert float(plain.log_var.std()) == pytest.approx(0.715, abs=0.03)


@pytest.mark.parametrize("given", [False, True])
def test_clusters_are_eight_and_narrow(given: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    like = None
    if given:
        corners = torch.cartesian_prod(*[torch.tensor([-4.0, 4.0])] * 3)
        like = DiagonalNormal(corners, torch.full((8, 3), -1.5))
    rows = clustered_rows(400, 3 if given else 30, like, generator)
    close = torch.cdist(rows.loc, rows.loc) < (3.5 if given else 2.0)
    groups = torch.unique(close, dim=0)
    assert len(groups) == CLUSTERS
    assert (close.sum(1) > 20).all()
    if like is not None:
        distance = torch.cdist(like.loc, rows.loc)
        assert float(distance.min(0).values.max()) < 2.0
        assert (distance.min(1).values < 0.8).all()
    assert (rows.log_var == (-1.5 if given else -5.47)).all()


@pytest.mark.parametrize("start", ["zero", "random", "pretrained", "permuted", "random-clusters"])
def test_variance_of_the_start_can_be_set(
    stack: ParticleStack, other: Run, tmp_path: Path, start: str
) -> None:
    options = {"pretrained": other.path, "table_start": start, "table_log_var": 0.0}
    loc, log_var = table(tmp_path / "run", stack, **options)
    assert (log_var == 0).all()
    assert bool((loc == 0).all()) == (start == "zero")


def test_start_left_out_follows_from_the_pretrained_run(other: Run) -> None:
    assert config().resolved().posterior.table_start == "zero"
    assert config(pretrained=other.path).resolved().posterior.table_start == "pretrained"
    # a run's config file may name its own start, which another run's latents replace
    changed = config(table_start="zero").changed(pretrained=other.path)
    assert changed.resolved().posterior.table_start == "pretrained"
    kept = config(table_start="random").changed(z_dim=3)
    assert kept.resolved().posterior.table_start == "random"


@pytest.mark.parametrize("start", ["pretrained", "permuted"])
def test_start_without_the_run_it_needs_is_refused(start: str) -> None:
    with pytest.raises(InputError, match=f"table start {start} without a pretrained run"):
        config(table_start=start)


def test_frozen_table_is_bit_identical_and_its_start_is_kept(
    stack: ParticleStack, other: Run, tmp_path: Path
) -> None:
    options = {"table_start": "random", "table_log_var": 0.0, "table_learning_rate": 0.0}
    run = begin(tmp_path / "run", config(pretrained=other.path, **options), stack, Watch())
    before = run.checkpoint().tensors
    train(run, stack)
    after = Run.open(run.path).checkpoint().tensors
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert not any(name.startswith("posterior.") for name in changed)
    assert any(name.startswith("model.decoder.") for name in changed)
    start, end = run.table_start(), run.latents()
    assert start is not None
    assert start.ids.tolist() == end.ids.tolist()
    assert torch.equal(start.distribution.mean, end.distribution.mean)
    assert torch.equal(start.distribution.mean, before["posterior.loc"])


def test_run_without_a_table_has_no_start(stack: ParticleStack, tmp_path: Path) -> None:
    assert begin(tmp_path / "run", small_config("encoder"), stack, Watch()).table_start() is None


def test_start_stays_when_the_run_goes_on(stack: ParticleStack, tmp_path: Path) -> None:
    run = begin(tmp_path / "run", small_config("table", epochs=1), stack, Watch())
    train(run, stack)
    train(run.set_config(small_config("table", epochs=2)), stack)
    start = run.table_start()
    assert start is not None
    assert (start.distribution.mean == 0).all()
    assert start.ids.tolist() == stack.ids.tolist()


def test_table_of_points_starts_from_means_and_from_points(
    stack: ParticleStack, other: Run, tmp_path: Path
) -> None:
    options = {"posterior": "point-table", "pretrained": other.path}
    first = begin(tmp_path / "first", config(**options), stack, Watch())
    value = torch.arange(len(stack)).float()
    expected = torch.stack([value, -value / 10], 1)
    torch.testing.assert_close(restore(first).posterior.loc.data, expected)
    start = first.table_start()
    assert isinstance(start.distribution, Delta)
    nothing = torch.zeros(len(stack))
    first.write_latents(Latents(stack.ids, Delta(expected + 1), nothing, nothing))
    options["pretrained"] = first.path
    again = begin(tmp_path / "again", config(**options), stack, Watch())
    torch.testing.assert_close(restore(again).posterior.loc.data, expected + 1)
    with pytest.raises(InputError, match="normal latents"):
        begin(tmp_path / "table", config(pretrained=first.path), stack, Watch())
    drawn = config(posterior="point-table", table_start="random")
    loc = restore(begin(tmp_path / "drawn", drawn, stack, Watch())).posterior.loc
    assert 1 < loc.std() < 2
