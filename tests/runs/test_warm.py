"""A table that starts from an exact run."""

from pathlib import Path

import pytest
import torch

from builders import small_stack
from cryolatent.config.training import TrainConfig
from cryolatent.errors import InputError
from cryolatent.runs.run import Run
from cryolatent.sessions.systems import restore
from cryolatent.sessions.training import begin, train
from cryolatent.train import Watch


def config(z_dim: int = 2, **model: object) -> TrainConfig:
    usual = {"threads": 1, "z_dim": z_dim} | (
        {} if model["posterior"] == "exact" else {"epochs": 1}
    )
    return TrainConfig.of(usual | model)


def test_table_starts_from_an_exact_run(tmp_path: Path) -> None:
    stack = small_stack(tmp_path / "data", particles=60)
    exact = begin(tmp_path / "exact", config(posterior="exact"), stack, Watch())
    train(exact, stack)
    exact = Run.open(exact.path)
    z_dim = exact.z_dim
    options = config(z_dim, posterior="table", decoder="subspace", pretrained=exact.path)
    system = restore(begin(tmp_path / "table", options, stack, Watch()))
    q = exact.latents().distribution
    torch.testing.assert_close(system.posterior.loc.data, q.mean)
    variance = torch.exp(system.posterior.log_var.data)
    torch.testing.assert_close(variance, q.covariance.diagonal(dim1=-2, dim2=-1))
    z = torch.randn(2, z_dim)
    decoders = [parts.model.decoder for parts in (system, restore(exact))]
    torch.testing.assert_close(decoders[0].volume(z), decoders[1].volume(z))


def test_warm_start_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    stack = small_stack(tmp_path / "data", particles=60)
    exact = begin(tmp_path / "exact", config(posterior="exact"), stack, Watch())
    train(exact, stack)
    with pytest.raises(InputError, match="dimensions"):
        wrong = config(7, posterior="table", pretrained=exact.path)
        begin(tmp_path / "other", wrong, stack, Watch())
    with pytest.raises(InputError, match="an option of posteriors table, point-table"):
        config(posterior="encoder", pretrained=exact.path)
    assert not (tmp_path / "other").exists()


def test_volumes_of_other_runs_are_left(tmp_path: Path) -> None:
    stack = small_stack(tmp_path / "data", particles=60)
    encoder = config(posterior="encoder", decoder="subspace")
    trained = begin(tmp_path / "encoder", encoder, stack, Watch())
    begun = restore(trained).model.decoder.volume(torch.eye(2))
    train(trained, stack)
    options = config(posterior="table", decoder="subspace", pretrained=trained.path)
    table = begin(tmp_path / "table", options, stack, Watch())
    assert torch.equal(restore(table).model.decoder.volume(torch.eye(2)), begun)
