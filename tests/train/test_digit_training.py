"""Digits and particles go through the same posteriors, twins, objective, trainer and run."""

from pathlib import Path

import pytest
import torch

from builders import digit_config, small_config, small_digits, small_stack
from cryolatent.config.training import TrainConfig
from cryolatent.data import Source
from cryolatent.errors import InputError
from cryolatent.models import (
    Bernoulli,
    Encoder,
    FourierGaussian,
    LookupTable,
    NegativeElbo,
    PixelDecoder,
    PointTable,
    SemiAmortized,
)
from cryolatent.runs.run import Run
from cryolatent.sessions.systems import as_shown, restore
from cryolatent.sessions.training import begin, train
from cryolatent.sessions.unseen import infer_unseen
from cryolatent.train import Watch, gradient, infer
from cryolatent.train.gradient import Gradient, step

POSTERIORS = {
    "encoder": Encoder,
    "semi-amortized": SemiAmortized,
    "table": LookupTable,
    "point-table": PointTable,
}


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Source]:
    return {
        "particles": small_stack(tmp_path_factory.mktemp("stack") / "data"),
        "digits": small_digits(40),
    }


def config_of(domain: str, posterior: str, **options: object) -> TrainConfig:
    return (small_config if domain == "particles" else digit_config)(posterior, **options)


# a semi-amortised posterior of particles needs poses, which noise has not
KINDS = [(posterior, twin) for posterior in POSTERIORS for twin in (None, "permuted", "noise")]
READING = ("encoder", "semi-amortized")
KINDS = [(p, t) for p, t in KINDS if t is None or p in READING]
KINDS.remove(("semi-amortized", "noise"))


@pytest.mark.parametrize(("posterior", "twin"), KINDS)
def test_one_loop_one_step_one_objective_for_both(
    sources: dict[str, Source],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    posterior: str,
    twin: str | None,
) -> None:
    """What is recorded while both train is equal: classes of posterior, objective, twin, batch."""
    seen: dict[str, set] = {"particles": set(), "digits": set()}
    for domain, source in sources.items():
        config = config_of(domain, posterior, epochs=1, **({"twin": twin} if twin else {}))

        def recorded(loss_of, batch, system, optimisers, generator, seen=seen[domain]):
            seen.add((type(loss_of), type(batch), type(system.posterior), type(batch.evidence)))
            return step(loss_of, batch, system, optimisers, generator)

        monkeypatch.setattr(gradient, "step", recorded)
        run = begin(tmp_path / domain, config, source, Watch())
        train(run, source)
        assert Run.open(run.path).manifest.domain == domain
        assert len(Run.open(run.path).latents().ids) == len(source)
        seen[domain].add(type(as_shown(config, source).twin))
    assert seen["particles"] == seen["digits"]
    assert POSTERIORS[posterior] in {
        kinds[2] for kinds in seen["digits"] if isinstance(kinds, tuple)
    }


def test_parts_of_the_fields_differ_where_they_must(
    sources: dict[str, Source], tmp_path: Path
) -> None:
    systems = {}
    for domain, source in sources.items():
        run = begin(tmp_path / domain, config_of(domain, "encoder"), source, Watch())
        systems[domain] = restore(run)
    assert isinstance(systems["digits"].model.decoder, PixelDecoder)
    assert isinstance(systems["digits"].model.likelihood, Bernoulli)
    assert isinstance(systems["particles"].model.likelihood, FourierGaussian)


class KilledError(Exception):
    """Stands for a kill."""


@pytest.mark.parametrize("posterior", ["encoder", "table"])
def test_killed_training_on_digits_resumes_bit_for_bit(
    sources: dict[str, Source], tmp_path: Path, posterior: str
) -> None:
    digits = sources["digits"]
    config = digit_config(posterior, checkpoint_minutes=1e-9)
    whole = begin(tmp_path / "whole", config, digits, Watch())
    train(whole, digits)
    run = begin(tmp_path / "killed", config, digits, Watch())

    def advance(done: int) -> None:
        if done >= 24:
            raise KilledError

    with pytest.raises(KilledError):
        train(run, digits, Watch(advance=advance))
    train(run, digits)
    first, second = whole.latents(), run.latents()
    assert torch.equal(first.distribution.mean, second.distribution.mean)
    assert torch.equal(first.reconstruction, second.reconstruction)


@pytest.mark.parametrize("posterior", ["encoder", "table", "point-table"])
def test_digits_are_learned(sources: dict[str, Source], tmp_path: Path, posterior: str) -> None:
    digits = sources["digits"]
    rate = {} if posterior == "encoder" else {"table_learning_rate": 0.1}
    config = digit_config(posterior, epochs=30, **rate)
    run = begin(tmp_path / "run", config, digits, Watch())
    train(run, digits)
    entries = run.entries()
    assert entries[-1]["reconstruction"] < 0.95 * entries[0]["reconstruction"]


def test_unseen_digits_are_inferred_by_the_common_code(
    sources: dict[str, Source], tmp_path: Path
) -> None:
    digits = sources["digits"]
    for posterior in ("encoder", "table"):
        run = begin(tmp_path / posterior, digit_config(posterior), digits, Watch())
        train(run, digits)
        other = small_digits(7, seed=9)
        found = infer_unseen(Run.open(run.path), other).latents
        assert found.distribution.mean.shape == (7, 2)
        assert found.elbo is not None


def test_latents_hold_the_bound_of_each_digit(sources: dict[str, Source], tmp_path: Path) -> None:
    digits = sources["digits"]
    run = begin(tmp_path / "run", digit_config("encoder"), digits, Watch())
    train(run, digits)
    again = infer(restore(run), digits, run.config.session.seed)
    assert torch.equal(again.reconstruction, run.latents().reconstruction)


def test_objective_of_digits_is_chosen_by_name() -> None:
    kinds = {
        name: type(Gradient(config.method, config.objective).objective_at(0)).__name__
        for name in ("elbo", "summed-elbo", "report")
        for config in [digit_config("encoder", objective=name).resolved()]
    }
    assert kinds == {
        "elbo": NegativeElbo.__name__,
        "summed-elbo": "SummedElbo",
        "report": "ReportObjective",
    }


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"decoder": "mlp"}, "`decoder`"),
        ({"posterior": "exact"}, "`decoder`"),
        ({"marching": 2}, "`marching`"),
        ({"augment": True}, "`augment`"),
        ({"coefficient_fraction": 0.5}, "`coefficient_fraction`"),
    ],
)
def test_options_of_particles_are_refused(
    sources: dict[str, Source], tmp_path: Path, options: dict, named: str
) -> None:
    usual = {} if "posterior" in options else {"posterior": "encoder", "decoder": "pixel"}
    config = TrainConfig.of(usual | options)
    with pytest.raises(InputError, match=named):
        begin(tmp_path / "run", config, sources["digits"], Watch())
    assert not (tmp_path / "run").exists()


def test_particles_have_no_pixel_decoder(sources: dict[str, Source], tmp_path: Path) -> None:
    config = small_config("encoder", decoder="pixel")
    with pytest.raises(InputError, match="`decoder`"):
        begin(tmp_path / "run", config, sources["particles"], Watch())


def test_run_on_digits_is_no_run_on_particles(sources: dict[str, Source], tmp_path: Path) -> None:
    run = begin(tmp_path / "run", digit_config("table"), sources["digits"], Watch())
    with pytest.raises(InputError, match="a run on digits"):
        run.open_stack()
