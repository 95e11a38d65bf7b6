"""Files of a run that were cut short or are gone: one line that names them, or no difference."""

from pathlib import Path

import pytest

from builders import small_stack
from cryolatent.cli.main import run
from cryolatent.runs.run import Run

SMALL = ["--posterior", "encoder", "--epochs", "2", "--encoder-width", "8", "--encoder-layers", "1"]
SMALL += ["--decoder-width", "8", "--decoder-layers", "1", "--z-dim", "1"]


@pytest.fixture
def made(tmp_path: Path) -> Path:
    star = small_stack(tmp_path / "data").source
    assert run(["train", str(star), "-o", str(tmp_path / "run"), *SMALL]) == 0
    return tmp_path / "run"


def needed(path: Path) -> list[Path]:
    newest = sorted((path / "checkpoints").glob("*.safetensors"))[-1]
    names = ("checkpoints/index.json", "latents/final.parquet", "manifest.json", "config.toml")
    return [newest, *(path / name for name in names)]


@pytest.mark.parametrize("share", [0.0, 0.5, None])
def test_what_is_damaged_or_gone_is_named(made: Path, capsys, share: float | None) -> None:
    for file in needed(made):
        whole = file.read_bytes()
        if share is None:
            file.unlink()
        else:
            file.write_bytes(whole[: int(share * len(whole))])
        capsys.readouterr()
        code, error = run(["analyze", str(made), "--clusters", "1"]), capsys.readouterr().err
        assert code == 2 or (code == 0 and file.name == "config.toml"), error
        assert "Traceback" not in error
        if code:
            assert str(made) in error
            assert "Continue it" not in error
        file.write_bytes(whole)
    assert run(["analyze", str(made), "--clusters", "1"]) == 0


def test_a_damaged_checkpoint_leaves_the_one_before(made: Path) -> None:
    opened = Run.open(made)
    steps = sorted(int(f.stem[5:]) for f in (made / "checkpoints").glob("*.safetensors"))
    (made / "checkpoints" / f"step-{steps[-1]:09d}.safetensors").write_bytes(b"")
    assert opened.checkpoint(steps[0]).tensors
