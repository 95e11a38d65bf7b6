"""The command that a page prints makes the same run again, to the last bit."""

import shlex
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from builders import small_stack
from cryolatent.cli.main import run as cryolatent
from cryolatent.report.findings import gather
from cryolatent.report.provenance import commands
from cryolatent.runs.run import Run

OPTIONS = {
    "exact": ["--z-dim", "5", "--starts", "1", "--search-shells", "5", "--hold-out", "0.123456789"],
    "categorical": ["--starts", "1", "--search-shells", "5", "--contrast-spread", "0.0500000001"],
    "encoder": ["--epochs", "2", "--encoder-width", "8", "--decoder", "subspace"],
}


@pytest.mark.parametrize("posterior", OPTIONS)
def test_printed_command_repeats_the_run(
    posterior: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_stack(tmp_path / "data", particles=100)
    monkeypatch.chdir(tmp_path / "data")
    asked = ["--posterior", posterior, "--threads", "1", "--seed", "3", *OPTIONS[posterior]]
    assert cryolatent(["train", "particles.star", "-o", "first", *asked]) == 0
    assert cryolatent(["analyze", "first"]) == 0
    first = Run.open("first")
    (line, *_) = commands(gather([first]), "report.html")
    words = shlex.split(line)
    assert words[:2] == ["cryolatent", "train"]
    words[words.index("-o") + 1] = "second"
    assert cryolatent(words[1:]) == 0
    second = Run.open("second")
    a, b = first.latents(), second.latents()
    for name, column in a.distribution.to_columns().items():
        assert torch.equal(column, b.distribution.to_columns()[name]), name
    assert torch.equal(a.reconstruction, b.reconstruction)
    newest = [sorted(r.path.glob("checkpoints/*.safetensors"))[-1] for r in (first, second)]
    before, after = map(load_file, newest)
    assert before.keys() == after.keys()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())
