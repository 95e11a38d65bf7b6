"""The examples run, and what they show holds."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import cryolatent
from builders import small_stack
from cryolatent.errors import InputError
from cryolatent.runs.run import Run

EXAMPLES = Path(__file__).parents[1] / "examples"


def test_own_posterior_runs(tmp_path: Path) -> None:
    command = [sys.executable, str(EXAMPLES / "own_posterior.py"), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "posterior linear, 200 particles, finished" in done.stdout
    assert (tmp_path / "run" / "report.html").exists()
    assert 'kind = "linear"' in (tmp_path / "run" / "config.toml").read_text()
    # without its module the run says what to do, and nothing is imported for it
    with pytest.raises(InputError, match=r"linear; expected exact.*import its module first"):
        Run.open(tmp_path / "run")
    resumed = f"import sys; sys.path.insert(0, {str(EXAMPLES)!r}); import own_posterior;"
    resumed += "from cryolatent.cli import main;"
    resumed += f"main(['train', '-o', {str(tmp_path / 'run')!r}, '--resume', '--epochs', '4'])"
    again = subprocess.run([sys.executable, "-c", resumed], capture_output=True, check=False)
    assert again.returncode == 0, again.stderr
    log = (tmp_path / "run" / "log.jsonl").read_text().splitlines()
    assert len(log) == 4


def test_notebook_has_what_it_needs(tmp_path: Path) -> None:
    stack = small_stack(tmp_path / "data")
    run = cryolatent.fit(stack, tmp_path / "run", posterior="categorical", states=2, threads=1)
    table = run.table()
    assert table.index.tolist() == stack.ids.tolist()
    assert table["rlnImageName"].tolist() == stack.ids.tolist()
    assert (table["state"] == np.where(table["share0"] >= 0.5, 0, 1)).all()
    assert table["certainty"].between(0.5, 1).all()
    np.testing.assert_allclose(table["evidence"], table["elbo"], rtol=1e-5)
    assert (run.table("share0>0.5")["share0"] > 0.5).all()
    assert run.volume([1.0, 0.0]).shape == (16, 16, 16)
    with pytest.raises(InputError, match="2 numbers"):
        run.volume([1.0])
    with pytest.raises(InputError, match="shift-raw"):
        run.audit("luck")
    assert "categorical" in repr(run)


def test_import_is_quick_and_lazy() -> None:
    script = (
        "import sys, cryolatent; assert 'fit' in dir(cryolatent);"
        "sys.exit('torch' in sys.modules or 'pandas' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
