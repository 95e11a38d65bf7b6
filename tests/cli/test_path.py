"""Volume series from the command line: files, movie, script, and what is refused."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from builders import exact_config, small_stack
from cryolatent.cli.main import run
from cryolatent.io import read_volume
from cryolatent.runs.run import Run
from cryolatent.sessions.systems import restore

TABLE = ["--posterior", "table", "--z-dim", "2", "--epochs", "1", "--threads", "1"]
TABLE += ["--decoder", "subspace"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("path")
    star = small_stack(folder / "data", particles=60).source
    assert run(["train", str(star), "-o", str(folder / "run"), *TABLE]) == 0
    return folder / "run"


def test_a_path_is_written_decoded_and_measured(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    out = tmp_path / "path"
    asked = ["path", str(trained), "-o", str(out), "--from=-1,0", "--to", "1,0.5", "--frames", "3"]
    assert run(asked) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("3 volumes, ")
    assert "residuals of particles that halves foretell each other in " in printed
    rows = list(csv.DictReader((out / "path.csv").read_text().splitlines()))
    assert [(float(row["z0"]), float(row["z1"])) for row in rows] == [(-1, 0), (0, 0.25), (1, 0.5)]
    with torch.no_grad():
        middle = restore(Run.open(trained)).model.decoder.volume(torch.tensor([[0.0, 0.25]]))[0]
    decoded, measured = (read_volume(out / rows[1][name])[0] for name in ("decoded", "measured"))
    np.testing.assert_allclose(decoded, middle.numpy(), atol=1e-5)
    assert measured.shape == decoded.shape
    windows = json.loads((out / "summary.json").read_text())["windows"]
    assert (np.abs(measured - decoded).max() < 1e-6) == (max(windows) == 0)
    with Image.open(out / "movie.gif") as movie:
        assert movie.n_frames == 4, "there and back"
    script = (out / "series.cxc").read_text()
    assert "open decoded_000.mrc decoded_001.mrc decoded_002.mrc vseries true\n" in script
    assert "volume #2 style surface step 1 level " in script
    assert run(asked) == 2
    assert "expected a new or empty folder" in capsys.readouterr().err


def test_a_path_over_particles_through_points_of_a_file(trained: Path, tmp_path: Path) -> None:
    points = tmp_path / "places.txt"
    points.write_text("000003@particles.mrcs\n0,0\n000007@particles.mrcs\n")
    out = tmp_path / "path"
    asked = ["path", str(trained), "-o", str(out), "--points", str(points), "--way", "populated"]
    assert run([*asked, "--frames", "5", "--no-measured", "--no-movie"]) == 0
    latents = Run.open(trained).latents()
    rows = list(csv.DictReader((out / "path.csv").read_text().splitlines()))
    ends = [[float(rows[at][f"z{axis}"]) for axis in range(2)] for at in (0, -1)]
    wanted = latents.distribution.mean[
        [latents.ids.tolist().index(f"{n:06d}@particles.mrcs") for n in (3, 7)]
    ]
    np.testing.assert_allclose(ends, wanted.numpy(), atol=1e-6)
    assert not (out / "movie.gif").exists()
    assert not list(out.glob("measured_*"))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--from", "0,0"], "--from: found one end of a path; expected --from and --to"),
        (["--from", "0,0", "--to", "1,1", "--axis", "0"], "--from and --to and --axis"),
        (["--from", "0", "--to", "1,1"], "`--from`: found 0; expected a particle such as"),
        (["--axis", "2"], "`--axis`: found 2; expected 0 to 1"),
        (["--points", "missing.txt"], "missing.txt: found no such file"),
        (["--frames", "1"], "--frames: found 1; expected at least 2"),
    ],
)
def test_what_is_no_path_is_refused(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture, options: list[str], said: str
) -> None:
    assert run(["path", str(trained), "-o", str(tmp_path / "path"), *options]) == 2
    assert said.replace("`", "") in capsys.readouterr().err.replace("`", "")


def test_states_have_no_path(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    from cryolatent.models import OneOf
    from cryolatent.models.latents import Latents
    from cryolatent.runs.manifest import Manifest
    from cryolatent.train.recorder import Checkpoint

    stack = Run.open(trained).open_stack()
    manifest = Manifest.of(stack, seed=0, threads=1)
    start = Checkpoint({}, {"epoch": 0}, 2)
    made = Run.create(tmp_path / "states", exact_config("categorical"), manifest, start)
    shares = torch.full((len(stack), 2), 0.5)
    zeros = torch.zeros(len(stack))
    made.write_latents(Latents(stack.ids, OneOf(shares, shares.log()), zeros, zeros))
    made.set_status("finished")
    assert run(["path", str(tmp_path / "states"), "-o", str(tmp_path / "path")]) == 2
    assert "found a run of distinct states; expected a continuous" in capsys.readouterr().err
