from pathlib import Path

import pytest

from builders import exact_config
from cryolatent.config.training import TrainConfig
from cryolatent.errors import CryolatentError, InputError
from cryolatent.simulate.config import SimulateConfig
from cryolatent.studies.demo import configuration, demo

TINY = SimulateConfig(particles=30, box=16, pixel_size=18.0, snr=1.0, junk=0.1)


def tiny(posterior: str) -> TrainConfig:
    return exact_config(posterior)


def longer(posterior: str) -> TrainConfig:
    return exact_config(posterior, seed=1)


def test_demo_makes_a_report_and_keeps_what_is_finished(tmp_path: Path) -> None:
    told: list[str] = []
    result = demo(tmp_path, simulation=TINY, configure=tiny, tell=told.append)
    assert result.report.exists()
    assert [summary.posterior for summary in result.summaries] == ["categorical", "exact"]
    assert any("pass" in line for line in told)
    latents = (tmp_path / "exact" / "latents" / "final.parquet").stat().st_mtime_ns
    again = demo(tmp_path, simulation=TINY, configure=tiny)
    assert again.summaries == result.summaries
    assert (tmp_path / "exact" / "latents" / "final.parquet").stat().st_mtime_ns == latents
    with pytest.raises(InputError, match="other options"):
        demo(tmp_path, simulation=TINY, configure=longer)


def test_demo_runs_differ_in_the_posterior_alone() -> None:
    first, second = (configuration(p) for p in ("categorical", "exact"))
    assert first.posterior.kind != second.posterior.kind
    assert first.changed(posterior="exact") == second


def test_demo_touches_no_files_of_others(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "particles.star").write_text("years of work")
    with pytest.raises(InputError):
        demo(tmp_path, simulation=TINY, configure=tiny)
    assert (tmp_path / "data" / "particles.star").read_text() == "years of work"


def test_failed_training_ends_the_demo(tmp_path: Path) -> None:
    demo(tmp_path, simulation=TINY, configure=tiny)
    for run in ("categorical", "exact"):
        (tmp_path / run / "analysis" / "summary.json").unlink()
        (tmp_path / run / "latents" / "final.parquet").unlink()
    with pytest.raises(CryolatentError, match="failed"):
        demo(tmp_path, simulation=TINY, configure=tiny)
