"""Halves that are trained apart: noise must not agree, and what is there must."""

import json
from pathlib import Path

import mrcfile
import numpy as np
import pytest
import torch

from builders import exact_config, small_stack
from cryolatent.analysis import read_summary
from cryolatent.analysis.halves import write_halves
from cryolatent.cli.main import run as cryolatent
from cryolatent.data import open_star
from cryolatent.io import read_volume
from cryolatent.physics import fourier_shell_correlation
from cryolatent.runs.run import Run
from cryolatent.sessions.crossfit import cross_fit, matched
from cryolatent.sessions.training import begin, train
from cryolatent.train import Watch

STATES = ("mature", "without protuberance and stalk")


def test_states_are_matched_whatever_their_order() -> None:
    volumes = torch.randn(4, 6, 6, 6) + torch.randn(1, 6, 6, 6)
    order = torch.tensor([2, 0, 3, 1])
    found = matched(volumes, volumes[order] + 0.1 * torch.randn(4, 6, 6, 6))
    assert order[found].tolist() == [0, 1, 2, 3]


def test_pure_noise_has_no_states_in_common(tmp_path: Path) -> None:
    """Four states are asked of images that show nothing, poses and all refined in each half."""
    stack = small_stack(tmp_path / "data", particles=400, box=24, pixel_size=12.0, seed=4)
    with mrcfile.open(tmp_path / "data" / "particles.mrcs", "r+") as file:
        noise = np.random.default_rng(1).normal(size=file.data.shape)
        file.set_data(noise.astype(np.float32))
    stack = open_star(stack.source)
    found = cross_fit(stack, exact_config("categorical", starts=1), 4, tmp_path / "halves")
    # in a mask neighbouring coefficients go together, so that shells hold few independent ones
    assert found.fsc[:, 1:].mean().abs() < 0.12
    rows = write_halves(found, tmp_path / "halves")
    assert [row.resolution_angstrom for row in rows] == [None] * 4


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("two")
    options = {"particles": 700, "box": 24, "pixel_size": 12.0, "snr": 0.5, "seed": 2}
    stack = small_stack(folder / "data", only=STATES, angle_error=3.0, **options)
    run = begin(folder / "run", exact_config("categorical", starts=1), stack, Watch())
    train(run, stack)
    return folder


def test_states_agree_between_halves(two: Path, capsys: pytest.CaptureFixture[str]) -> None:
    halves = two / "run" / "halves"
    command = ["halves", str(two / "run"), "-o", str(halves)]
    assert cryolatent(command) == 0
    told = capsys.readouterr().out
    assert "state 1: " in told
    assert "FSC 0.143" in told
    rows = json.loads((halves / "halves.json").read_text())
    assert len(rows) == len(STATES)
    for row in rows:
        assert np.mean(row["fsc"][1:6]) > 0.8
        assert row["populations"] == pytest.approx([0.5, 0.5], abs=0.08)
    ids = [set(latents_of(halves / name)) for name in ("half1", "half2")]
    assert not ids[0] & ids[1]
    assert len(ids[0] | ids[1]) == 700
    # what is finished is kept
    before = (halves / "half1" / "manifest.json").stat().st_mtime_ns
    assert cryolatent(command) == 0
    assert (halves / "half1" / "manifest.json").stat().st_mtime_ns == before
    # an analysis makes its half-maps by them
    capsys.readouterr()
    assert cryolatent(["analyze", str(two / "run"), "--halves"]) == 0
    assert "(halves trained apart)" in capsys.readouterr().out
    assert (halves / "half1" / "manifest.json").stat().st_mtime_ns == before
    run = Run.open(two / "run")
    for cluster in read_summary(run).clusters:
        assert cluster.measured is not None
        assert cluster.measured.independent
        assert np.mean(cluster.measured.fsc[1:6]) > 0.8
        assert cluster.measured.others < 0.1
        ours, model = (
            torch.from_numpy(read_volume(run.path / str(name))[0])
            for name in (cluster.measured.file, cluster.volume)
        )
        assert fourier_shell_correlation(ours, model)[1:6].mean() > 0.9


def latents_of(path: Path) -> list[str]:
    import pyarrow.parquet as pq

    return pq.read_table(path / "latents" / "final.parquet")["id"].to_pylist()
