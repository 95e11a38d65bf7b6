"""A small run, and a server of it in a process of its own."""

import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

import cryolatent
from builders import small_stack
from cryolatent.runs.run import Run
from explore.served import PATIENCE_S, Served


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Two states of 120 particles."""
    folder = tmp_path_factory.mktemp("explored")
    stack = small_stack(folder / "data", particles=120)
    options = {"states": 2, "starts": 1, "threads": 1, "seed": 1}
    opened = cryolatent.fit(stack, folder / "run", posterior="categorical", **options)
    opened.analyze()
    return opened.run


@pytest.fixture(scope="session")
def other(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """One state of the same particles."""
    path = tmp_path_factory.mktemp("other") / "other"
    options = {"states": 1, "starts": 1, "threads": 1, "seed": 2}
    opened = cryolatent.fit(run.input, path, posterior="categorical", **options)
    opened.analyze()
    return opened.run


@pytest.fixture(scope="session")
def line(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A continuous latent of one dimension of the same particles."""
    path = tmp_path_factory.mktemp("line") / "line"
    options = {"z_dim": 1, "starts": 1, "threads": 1, "seed": 1, "trust": ["all"]}
    opened = cryolatent.fit(run.input, path, posterior="exact", **options)
    opened.analyze(clusters=2)
    return opened.run


@pytest.fixture(scope="session")
def unfinished(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The first run before its end."""
    path = tmp_path_factory.mktemp("unfinished") / "unfinished"
    shutil.copytree(run.path, path, ignore=shutil.ignore_patterns("analysis", "latents"))
    opened = Run.open(path)
    opened.set_status("interrupted")
    return opened


@pytest.fixture(scope="session")
def served(
    run: Run, other: Run, unfinished: Run, line: Run, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    """`cryolatent explore` on all of them, until Ctrl-C."""
    exports = tmp_path_factory.mktemp("written") / "exports"
    start = "from cryolatent.cli import main; main()"
    words = [
        "explore",
        *(str(one.path) for one in (run, other, unfinished, line)),
        "-o",
        str(exports),
    ]
    command = [sys.executable, "-c", start, *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            url = process.stdout.readline().strip()
            assert url.startswith("http://127.0.0.1:"), url
            yield Served(url, exports)
        finally:
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=PATIENCE_S) == 0
