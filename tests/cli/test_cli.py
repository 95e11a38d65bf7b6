"""The command line: exit codes, one-line errors, nothing written on bad input, quick help."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from builders import small_stack
from cryolatent.cli.main import run
from cryolatent.cli.progress import Meter, bar, duration
from cryolatent.config.flags import train_flags
from cryolatent.config.owners import flag
from cryolatent.runs.run import Run

NETWORK = ["--epochs", "1", "--decoder-width", "8", "--decoder-layers", "1"]
SMALL = ["--posterior", "encoder", "--encoder-width", "8", *NETWORK]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cli") / "data"
    small_stack(folder)
    return folder


def test_from_star_to_report(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    star, out = str(data / "particles.star"), str(tmp_path / "run")
    train = ["train", star, "-o", out, "--posterior", "table", "--z-dim", "8"]
    assert run([*train, *NETWORK]) == 0
    assert run(["analyze", out, "--truth", str(data / "truth"), "--clusters", "3"]) == 0
    assert run(["report", out]) == 0
    chosen = tmp_path / "chosen.star"
    assert run(["export", out, "--select", "cluster=0", "z0>-99", "-o", str(chosen)]) == 0
    assert "cryolatentMean7" in chosen.read_text()
    assert Run.open(out).manifest.status == "finished"
    assert (tmp_path / "run" / "report.html").stat().st_size > 10_000
    printed = capsys.readouterr().out
    assert "oracle" in printed
    assert str(tmp_path / "run" / "report.html") in printed


def test_points_have_no_elbo_on_the_terminal_or_the_page(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    out = str(tmp_path / "run")
    star = str(data / "particles.star")
    assert run(["train", star, "-o", out, "--posterior", "point-table", *NETWORK]) == 0
    assert run(["analyze", out]) == 0
    assert run(["report", out]) == 0
    printed = capsys.readouterr()
    assert "log joint" in printed.out
    assert "ELBO" not in printed.out + printed.err + (tmp_path / "run/report.html").read_text()


def test_latents_of_any_particles(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    star, out, wanted = str(data / "particles.star"), str(tmp_path / "run"), tmp_path / "z.parquet"
    assert run(["train", star, "-o", out, "--z-dim", "2", *SMALL]) == 0
    infer = ["infer", out, star, "-o", str(wanted), "--steps", "5", "--starts", "1"]
    assert run(infer) == 0
    assert f"wrote {wanted}: 40 particles" in capsys.readouterr().out
    trained = tmp_path / "run" / "latents" / "final.parquet"
    assert wanted.read_bytes() == trained.read_bytes()
    assert run(infer) == 2
    assert "expected a new file" in capsys.readouterr().err
    wanted.unlink()
    assert run([*infer, "--refine"]) == 0
    assert "amortisation gap" in capsys.readouterr().out
    assert pq.read_schema(wanted).names == pq.read_schema(trained).names


def test_maps_from_star_and_from_latents(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    star, out = str(data / "particles.star"), str(tmp_path / "map")
    assert run(["backproject", star, "-o", out]) == 0
    printed = capsys.readouterr().out
    assert "images per second" in printed
    assert "Å (FSC 0.143)" in printed
    assert "map.mrc" in printed
    assert run(["backproject", star, "-o", out]) == 2
    assert "found other files" in capsys.readouterr().err
    trained = str(tmp_path / "run")
    assert run(["train", star, "-o", trained, "--z-dim", "2", *SMALL]) == 0
    at = ["--at", "000003@particles.mrcs", "000007@particles.mrcs"]
    wanted = ["volumes", trained, "-o", str(tmp_path / "volumes"), "--effective-particles", "30"]
    assert run([*wanted, *at]) == 0
    assert "around 000007@particles.mrcs, 30 effective particles" in capsys.readouterr().out


def test_config_file_gives_options_and_flags_override(data: Path, tmp_path: Path) -> None:
    star = str(data / "particles.star")
    assert run(["train", star, "-o", str(tmp_path / "a"), "--z-dim", "3", *SMALL]) == 0
    config = str(tmp_path / "a" / "config.toml")
    again = ["train", star, "-o", str(tmp_path / "b"), "--config", config, "--seed", "5"]
    assert run(again) == 0
    made = Run.open(tmp_path / "b").config
    assert (made.posterior.z_dim, made.session.seed) == (3, 5)


def test_resume_refuses_other_options(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    out = str(tmp_path / "run")
    assert run(["train", str(data / "particles.star"), "-o", out, *SMALL]) == 0
    assert run(["train", "-o", out, "--resume", "--z-dim", "3"]) == 2
    assert "none but --epochs" in capsys.readouterr().err
    assert run(["train", "-o", out, "--resume", "--epochs", "2"]) == 0
    assert len(Run.open(out).entries()) == 2


@pytest.mark.parametrize(
    "tokens",
    [
        ["trian"],
        ["train"],
        ["train", "x.star", "-o", "out", "--epoch", "3"],
        ["train", "x.star", "-o", "out", "--epochs", "0"],
        ["train", "x.star", "-o", "out", "--epochs", "many"],
        ["train", "x.star", "-o", "out", "--posterior", "oracle"],
        ["train", "missing.star", "-o", "out"],
        ["train", "-o", "out"],
        ["train", "-o", "out", "--resume"],
        ["train", "missing.star", "-o", "out", "--config", "missing.toml"],
        ["simulate", "-o", "out", "--box", "31"],
        ["simulate", "-o", "out", "--box", "16", "--pixel-size", "2"],
        ["simulate", "-o", "out", "--seed", "-1"],
        ["simulate", "-o", "out", "--defocus-min", "30000"],
        ["simulate", "-o", "out", "--states", "missing.json"],
        ["analyze", "missing", "--seed", "-1"],
        ["simulate", "-o", "out", "--model", "missing.pdb"],
        ["analyze", "missing"],
        ["report"],
        ["report", "missing"],
        ["backproject", "missing.star", "-o", "out"],
        ["backproject", "missing.star", "-o", "out", "--seed", "-1"],
        ["backproject", "missing.star"],
        ["backproject", "missing.star", "-o", "out", "--particle-radius", "50"],
        ["infer", "missing", "x.star", "-o", "z.parquet"],
        ["infer", "missing", "x.star"],
        ["infer", "missing", "x.star", "-o", "z.parquet", "--starts", "0"],
        ["export", "missing", "-o", "out.star"],
        ["export", "missing"],
        ["prepare", "missing.star", "-o", "out"],
        ["prepare", "missing.star", "-o", "out", "--window", "2"],
        ["prepare", "missing.star", "-o", "out", "--downsample", "0.5"],
        ["prepare", "missing.star", "-o", "out", "--dtype", "int8"],
        ["train", ".", "-o", "out"],
        ["volumes", "missing", "-o", "out"],
        ["volumes", "missing", "-o", "out", "--clusters", "0"],
    ],
)
def test_wrong_usage_is_one_line_and_code_2(
    tokens: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(tokens) == 2
    error = capsys.readouterr().err
    assert error.startswith("cryolatent: ")
    assert error.count("\n") == 1
    assert "Traceback" not in error
    assert list(tmp_path.iterdir()) == []


def _nan_pixel(folder: Path) -> None:
    images = np.memmap(folder / "particles.mrcs", np.float32, "r+", 1024, (40, 16, 16))
    images[9, 0, 0] = np.nan
    images.flush()


def _truncated(folder: Path) -> None:
    path = folder / "particles.mrcs"
    path.write_bytes(path.read_bytes()[:20_000])


def _beyond(folder: Path) -> None:
    path = folder / "particles.star"
    path.write_text(path.read_text().replace("000040@", "000041@"))


def _missing_stack(folder: Path) -> None:
    (folder / "particles.mrcs").unlink()


@pytest.mark.parametrize(
    ("spoil", "place"),
    [
        (_nan_pixel, "image 10"),
        (_truncated, "particles.mrcs"),
        (_beyond, "particle row 40"),
        (_missing_stack, "particle row 1"),
    ],
)
def test_broken_particles_write_nothing(
    spoil, place: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    small_stack(tmp_path / "data")
    spoil(tmp_path / "data")
    out = tmp_path / "run"
    assert run(["train", str(tmp_path / "data" / "particles.star"), "-o", str(out), *SMALL]) == 2
    error = capsys.readouterr().err
    assert place in error
    assert "expected" in error
    assert error.count("\n") == 1
    assert not out.exists()


def test_epochs_that_are_done_cannot_be_undone(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    out = str(tmp_path / "run")
    star = str(data / "particles.star")
    assert run(["train", star, "-o", out, *SMALL[:4], *NETWORK[2:], "--epochs", "2"]) == 0
    assert run(["train", "-o", out, "--resume", "--epochs", "1"]) == 2
    assert "at least the 2 done" in capsys.readouterr().err


def test_run_resumes_from_another_folder(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stack is found through the working directory, as in RELION projects."""
    jobs = tmp_path / "job"
    jobs.mkdir()
    (jobs / "particles.star").write_bytes((data / "particles.star").read_bytes())
    monkeypatch.chdir(data)
    out = str(tmp_path / "run")
    assert run(["train", str(jobs / "particles.star"), "-o", out, *SMALL]) == 0
    monkeypatch.chdir(tmp_path)
    assert run(["train", "-o", out, "--resume", "--epochs", "2"]) == 0


def test_frozen_table_and_few_particles_are_analysed_and_reported(tmp_path: Path) -> None:
    small_stack(tmp_path / "data", particles=4)
    out = str(tmp_path / "run")
    train = ["train", str(tmp_path / "data" / "particles.star"), "-o", out, *NETWORK]
    assert run([*train, "--posterior", "table", "--table-learning-rate", "0"]) == 0
    assert run(["analyze", out]) == 0
    assert run(["report", out]) == 0


def test_unexpected_error_is_code_4(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    def breaks(*given: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr("cryolatent.runs.run.Run.open", staticmethod(breaks))
    assert run(["analyze", "run"]) == 4
    error = capsys.readouterr().err
    assert "a bug" in error
    assert "internal error" in error


def test_log_of_a_file_says_how_far_and_the_end_says_what_was_found(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    star, out = str(data / "particles.star"), str(tmp_path / "run")
    exact = ["--posterior", "categorical", "--states", "2", "--starts", "1", "--search-shells", "4"]
    assert run(["train", star, "-o", out, *exact]) == 0
    printed = capsys.readouterr()
    passes = [line for line in printed.err.splitlines() if line.startswith("pass")]
    assert len(passes) > 5
    assert all(" Å, " in line and "nats per particle" in line for line in passes)
    assert "%" in passes[-1]
    assert "thread" in printed.err
    assert "2 states: " in printed.out
    assert "coefficients to 41.1 Å" in printed.out
    assert f"Next: cryolatent analyze {out}" in printed.out


def test_meter_tells_the_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("cryolatent.cli.progress.time.monotonic", lambda: now[0])
    meter = Meter("work", 100)
    meter.advance(20)
    now[0] += 10
    meter.advance(40)
    assert str(meter) == "40%, about 30 s left"
    meter.advance(100)
    assert str(meter) == "100%"
    assert [duration(s) for s in (3.0, 600.0, 9000.0)] == ["3 s", "10 min", "2.5 h"]


def test_log_files_hear_of_work_after_a_second_then_every_ten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now, told = [0.0], []
    monkeypatch.setattr("cryolatent.cli.progress.time.monotonic", lambda: now[0])
    monkeypatch.setattr("cryolatent.cli.progress.tell", told.append)
    monkeypatch.setattr("cryolatent.cli.progress.FIRST", 1)
    with bar() as stage:
        advance = stage("work", 25)
        for second in range(1, 26):
            now[0] = second - 0.5
            advance(second)
    assert told == [
        "work: 8%, about 23 s left",
        "work: 48%, about 13 s left",
        "work: 88%, about 3 s left",
    ]


def test_every_command_reads_a_packed_folder(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    star, packed, out = (
        str(data / "particles.star"),
        str(tmp_path / "packed"),
        str(tmp_path / "run"),
    )
    assert run(["prepare", star, "-o", packed, "--dtype", "float16", "--downsample", "1"]) == 0
    assert "40 particles, box 16" in capsys.readouterr().out
    assert run(["prepare", star, "-o", packed, "--dtype", "float16", "--downsample", "1"]) == 0
    assert "already prepared" in capsys.readouterr().out
    assert run(["train", packed, "-o", out, "--z-dim", "2", *SMALL]) == 0
    assert run(["train", "-o", out, "--resume", "--epochs", "2"]) == 0
    assert run(["infer", out, packed, "-o", str(tmp_path / "z.parquet")]) == 0
    assert run(["infer", out, star, "-o", str(tmp_path / "y.parquet")]) == 2
    assert "--no-invert-contrast" in capsys.readouterr().err
    assert run(["backproject", packed, "-o", str(tmp_path / "map")]) == 0
    assert run(["analyze", out, "--truth", str(data / "truth")]) == 0
    assert run(["export", out, "-o", str(tmp_path / "all.star")]) == 0


def test_findings_are_shown_and_dark_particles_named(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    small_stack(tmp_path / "data")
    _nan_pixel(tmp_path / "data")
    star, packed = str(tmp_path / "data" / "particles.star"), tmp_path / "packed"
    assert run(["prepare", star, "-o", str(packed)]) == 2
    shown = capsys.readouterr()
    assert "000010@particles.mrcs" in shown.out
    assert "1 of 40 particles" in shown.err
    assert shown.err.count("\n") == 1
    assert run(["prepare", star, "-o", str(packed), "--on-bad", "drop", "--invert-contrast"]) == 0
    printed = capsys.readouterr().out
    assert "39 particles, 1 dropped" in printed
    assert "warning: particles may be dark" in printed


def test_help_shows_a_dozen_options_and_help_all_every_one(capsys: pytest.CaptureFixture) -> None:
    assert run(["train", "--help"]) == 0
    short = capsys.readouterr().out
    assert run(["train", "--help-all"]) == 0
    full = capsys.readouterr().out
    options = {flag(name) for name in train_flags().model_fields}
    shown = {option for option in options if f"{option} " in short}
    assert 10 <= len(shown) <= 20
    assert {option for option in options if f"{option} " in full} == options
    assert "Posterior table" in full


def test_help_and_version_import_nothing_heavy() -> None:
    script = (
        "import sys; from cryolatent.cli.main import run; code = run(['train', '--help']);"
        "heavy = {'torch', 'numpy', 'pandas', 'sklearn', 'matplotlib'} & set(sys.modules);"
        "sys.exit(f'{heavy}' if heavy else code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "--posterior" in done.stdout


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signal_leaves_a_run_that_resumes(
    data: Path, tmp_path: Path, sent: signal.Signals, code: int
) -> None:
    out = tmp_path / "run"
    tokens = [
        "train",
        str(data / "particles.star"),
        "-o",
        str(out),
        *SMALL[:4],
        *NETWORK[2:],
        "--epochs",
        "9999",
    ]
    # where the tests run in the background, a shell may have told them to ignore interrupts
    script = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler);"
        f"from cryolatent.cli import main; main({tokens!r})"
    )
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-c", script], env=environment, stderr=subprocess.PIPE
    )
    while process.poll() is None and not (out / "log.jsonl").exists():
        time.sleep(0.05)
    time.sleep(0.3)
    process.send_signal(sent)
    _, error = process.communicate(timeout=60)
    assert process.returncode == code, error
    assert b"--resume" in error
    stopped = Run.open(out)
    assert stopped.manifest.status == "interrupted"
    epochs = str(len(stopped.entries()) + 1)
    assert run(["train", "-o", str(out), "--resume", "--epochs", epochs]) == 0


def test_output_that_takes_ascii_only_gets_a_question_mark(tmp_path):
    small_stack(tmp_path / "data")
    command = ["backproject", str(tmp_path / "data" / "particles.star"), "-o", str(tmp_path / "m")]
    script = f"from cryolatent.cli import main; main({command!r})"
    environment = os.environ | {"PYTHONIOENCODING": "ascii", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert " ? (FSC 0.143)" in done.stdout
