from pathlib import Path

import pytest

from builders import small_config
from cryolatent.errors import CryolatentError, InputError
from cryolatent.runs.config import TrainConfig
from cryolatent.simulate.config import SimulateConfig
from cryolatent.studies.demo import SIMULATION, configuration, demo

TINY = SimulateConfig(particles=30, box=16, pixel_size=18.0, snr=1.0, junk=0.1)


def tiny(posterior: str, simulation: SimulateConfig) -> TrainConfig:
    return small_config(posterior, epochs=1)


def longer(posterior: str, simulation: SimulateConfig) -> TrainConfig:
    return small_config(posterior, seed=1)


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


def test_demo_trains_the_same_decoder_and_differs_in_the_posterior_alone() -> None:
    both = (configuration(p, SIMULATION).model_dump() for p in ("categorical", "exact"))
    first, second = both
    assert first["model"].pop("posterior") != second["model"].pop("posterior")
    assert first == second


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
