"""Fixtures, and the rule for tests that need something from outside."""

import math
import os
import shutil
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[1]
SHARED_DATA = ROOT.parent / "shared" / "data"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
AVAILABLE = {
    "relion": shutil.which("relion_project") is not None,
    "chromium": CHROMIUM is not None,
    "shared_data": SHARED_DATA.is_dir(),
}
REQUIRED = set(filter(None, os.environ.get("CRYOLATENT_REQUIRE", "").split(",")))


def pytest_configure(config: pytest.Config) -> None:
    unknown = REQUIRED - set(AVAILABLE)
    if unknown:
        raise pytest.UsageError(f"CRYOLATENT_REQUIRE names {sorted(unknown)}: not known")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test whose need is not met, or fail it where the need is required."""
    if item.get_closest_marker("thorough") and "thorough" not in item.config.option.markexpr:
        pytest.skip("thorough: run with -m thorough")
    for need, available in AVAILABLE.items():
        if item.get_closest_marker(need) is None or available:
            continue
        message = f"needs {need}, which is not here"
        if need in REQUIRED:
            pytest.fail(message)
        pytest.skip(message)


@pytest.fixture(autouse=True)
def _repeatable() -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _no_lines_of_slow_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a command prints here does not depend on how long it takes."""
    monkeypatch.setattr("cryolatent.cli.progress.FIRST", math.inf)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    return SHARED_DATA
