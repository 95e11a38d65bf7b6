"""Options belong to parts: what does not belong is an error of one line that names the part."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from cryolatent.cli.main import run
from cryolatent.config.flags import given, train_flags
from cryolatent.config.training import REGISTRIES, TrainConfig
from cryolatent.errors import InputError
from cryolatent.models.registry import Registry

SOURCE = Path(__file__).parents[2] / "src" / "cryolatent"
WRONG = [
    ("--posterior table --twin permuted", "--twin", "posteriors encoder, semi-amortized"),
    ("--posterior encoder --mask m.mrc", "--mask", "method em"),
    ("--posterior encoder --states 3", "--states", "posterior categorical"),
    ("--posterior categorical --epochs 3 --learning-rate 1", "--epochs", "method gradient"),
    ("--posterior encoder --coefficients fourier", "--coefficients", "decoder subspace"),
    ("--posterior exact --states 3", "--states", "posterior categorical"),
    ("--posterior exact --coefficients fourier", "--coefficients", "fourier with posterior exact"),
    ("--posterior exact --decoder mlp", "--decoder", "mlp with posterior exact"),
    ("--posterior table --encoder-width 8", "--encoder-width", "posteriors encoder"),
    ("--posterior encoder --pretrained run", "--pretrained", "posteriors table, point-table"),
    ("--posterior exact --objective report", "--objective", "method gradient"),
    ("--posterior exact --precision bfloat16", "--precision", "decoder mlp"),
    ("--posterior encoder --decoder subspace --decoder-width 8", "--decoder-width", "decoders mlp"),
    ("--posterior semi-amortized --augment", "--augment", "posterior encoder"),
    ("--posterior encoder --method em", "--method", "em with posterior encoder"),
    ("--posterior table --objective report --contrast-spread 0.1", "--objective", "report with"),
]


@pytest.mark.parametrize(("line", "option", "owner"), WRONG)
def test_options_of_other_parts_are_errors_of_one_line(
    line: str,
    option: str,
    owner: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["train", "particles.star", "-o", "out", *line.split()]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert error.startswith(f"cryolatent: {option}: found ")
    assert owner in error
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("posterior", REGISTRIES["posterior"].choices)
def test_configuration_survives_file_and_flags(posterior: str, tmp_path: Path) -> None:
    config = TrainConfig.of(posterior=posterior, z_dim=3, seed=4)
    path = tmp_path / "c.toml"
    path.write_text(config.to_toml())
    assert TrainConfig.from_toml(path) == config
    flags = train_flags()(**config.flat())
    assert TrainConfig.of(given(flags)) == config
    assert TrainConfig.of(config.resolved().flat()).resolved() == config.resolved()


def test_every_option_has_help_and_one_meaning() -> None:
    fields = train_flags().model_fields
    for name, info in fields.items():
        assert any(getattr(m, "help", None) for m in info.metadata), name
    for registry in REGISTRIES.values():
        for kind in registry.choices:
            assert set(registry.options(kind).model_fields) <= set(fields)


def test_parts_are_known_by_what_they_state_and_not_by_type() -> None:
    """No type switch on posteriors, decoders or distributions outside their own files."""
    kinds = (
        "Encoder|SemiAmortized|LookupTable|PointTable|Fitted|ExactGaussian|Categorical|Posterior"
    )
    kinds += "|ClosedForm|MlpDecoder|HartleyDecoder|SubspaceDecoder|PixelDecoder|Decoder"
    kinds += "|DiagonalNormal|FullNormal|OneOf|Delta|Distribution"
    switch = re.compile(rf"isinstance\([^()]*,[^()]*\b({kinds})\b|is_exact|type\(.*\) is ({kinds})")
    named = re.compile(r"posterior(\.kind)?\s*(==|in)\s*[(\"']")
    parts = SOURCE / "models"
    found = [
        f"{path.relative_to(SOURCE)}:{number}"
        for path in SOURCE.rglob("*.py")
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if (switch.search(line) and parts not in path.parents) or named.search(line)
    ]
    # a study is about posteriors by name; these are its settings, not the library's
    assert [place for place in found if not place.startswith("studies/")] == []


def test_two_parts_of_one_name_are_refused() -> None:
    registry = Registry("posterior")
    options = REGISTRIES["posterior"].options("table")
    registry.register("mine", options)(int)
    with pytest.raises(ValueError, match="posterior mine is registered already"):
        registry.register("mine", options)(str)
    options.kind = "table"


def test_options_are_read_without_pytorch() -> None:
    script = (
        "import sys; from cryolatent.config.training import TrainConfig;"
        "TrainConfig.of(posterior='table').resolved();"
        "sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_unknown_part_names_the_known_ones() -> None:
    with pytest.raises(InputError, match="`posterior`: found oracle; expected exact, categorical"):
        TrainConfig.of(posterior="oracle")
