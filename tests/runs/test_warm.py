"""A table that starts from an exact run."""

from pathlib import Path

import pytest
import torch

from builders import small_stack
from cryolatent.errors import InputError
from cryolatent.runs.config import ModelConfig, OptimisationConfig, TrainConfig
from cryolatent.runs.run import Run
from cryolatent.runs.system import restore
from cryolatent.train import Watch, prepare, train


def config(z_dim: int = 2, **model: object) -> TrainConfig:
    return TrainConfig(
        model=ModelConfig.model_validate({"z_dim": z_dim} | model),
        optimisation=OptimisationConfig(threads=1, epochs=1),
    ).resolved()


def test_table_starts_from_an_exact_run(tmp_path: Path) -> None:
    stack = small_stack(tmp_path / "data", particles=60)
    exact = prepare(tmp_path / "exact", config(posterior="exact"), stack, Watch())
    train(exact, stack)
    exact = Run.open(exact.path)
    z_dim = exact.config.model.z_dim
    options = config(z_dim, posterior="table", decoder="subspace", pretrained=exact.path)
    system = restore(prepare(tmp_path / "table", options, stack, Watch()))
    q = exact.latents().distribution
    torch.testing.assert_close(system.posterior.loc.data, q.mean)
    variance = torch.exp(system.posterior.log_var.data)
    torch.testing.assert_close(variance, q.covariance.diagonal(dim1=-2, dim2=-1))
    z = torch.randn(2, z_dim)
    decoders = [parts.model.decoder for parts in (system, restore(exact))]
    torch.testing.assert_close(decoders[0].volume(z), decoders[1].volume(z))


def test_warm_start_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    stack = small_stack(tmp_path / "data", particles=60)
    exact = prepare(tmp_path / "exact", config(posterior="exact"), stack, Watch())
    train(exact, stack)
    for options, reason in (
        (config(7, posterior="table", pretrained=exact.path), "dimensions"),
        (config(posterior="encoder", pretrained=exact.path), "no table"),
    ):
        with pytest.raises(InputError, match=reason):
            prepare(tmp_path / "other", options, stack, Watch())
    assert not (tmp_path / "other").exists()


def test_volumes_of_other_runs_are_left(tmp_path: Path) -> None:
    stack = small_stack(tmp_path / "data", particles=60)
    encoder = config(posterior="encoder", decoder="subspace")
    trained = prepare(tmp_path / "encoder", encoder, stack, Watch())
    begun = restore(trained).model.decoder.volume(torch.eye(2))
    train(trained, stack)
    options = config(posterior="table", decoder="subspace", pretrained=trained.path)
    table = prepare(tmp_path / "table", options, stack, Watch())
    assert torch.equal(restore(table).model.decoder.volume(torch.eye(2)), begun)
