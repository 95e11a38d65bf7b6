"""A single flipped byte of what is kept is noticed by a checksum, and the file is named."""

import random
import shutil
from pathlib import Path

import pytest

from builders import small_stack
from cryolatent.cli.main import run
from cryolatent.errors import InputError
from cryolatent.runs.run import Run

TABLE = "--posterior table --z-dim 2 --decoder-width 16 --decoder-layers 1 --epochs 3 --threads 1"


def flip(file: Path, place: int) -> None:
    content = bytearray(file.read_bytes())
    content[place] ^= 1
    file.write_bytes(content)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("flipped")
    star = str(small_stack(folder / "data").source)
    assert run(["prepare", star, "-o", str(folder / "packed")]) == 0
    tokens = ["train", str(folder / "packed"), "-o", str(folder / "run"), *TABLE.split()]
    assert run(tokens) == 0
    return folder


@pytest.fixture
def copy(made: Path, tmp_path: Path) -> Path:
    for name in ("packed", "run"):
        shutil.copytree(made / name, tmp_path / "flipped" / name)
    return tmp_path / "flipped"


def newest(folder: Path) -> Path:
    return sorted((folder / "run" / "checkpoints").glob("*.safetensors"))[-1]


@pytest.mark.parametrize("share", [0.5, 0.999])
def test_in_a_checkpoint(copy: Path, capsys: pytest.CaptureFixture, share: float) -> None:
    flip(newest(copy), int(share * newest(copy).stat().st_size))
    assert run(["analyze", str(copy / "run")]) == 2
    error = capsys.readouterr().err
    assert f"{newest(copy)}: found a damaged file (SHA-256 " in error
    assert error.count("\n") == 1


def test_a_training_continues_from_the_checkpoint_before(
    made: Path, copy: Path, capsys: pytest.CaptureFixture
) -> None:
    file, whole = newest(copy), newest(made).read_bytes()
    flip(file, 1000)
    assert run(["train", "--resume", "-o", str(copy / "run")]) == 0
    said = capsys.readouterr().out
    assert f"warning: {file}: found a damaged file" in said
    assert "to the same end" in said
    assert file.read_bytes() == whole
    assert (copy / "run" / "latents" / "final.parquet").read_bytes() == (
        made / "run" / "latents" / "final.parquet"
    ).read_bytes()


def test_in_the_latents(copy: Path, capsys: pytest.CaptureFixture) -> None:
    """Names of writer and columns are under no checksum: there a flip is noticed, or harmless."""
    file, places, noticed = copy / "run" / "latents" / "final.parquet", random.Random(0), 0
    whole, latents = file.read_bytes(), Run.open(copy / "run").latents()
    for place in places.choices(range(len(whole)), k=40):
        flip(file, place)
        try:
            found = Run.open(copy / "run").latents()
            assert (found.ids == latents.ids).all()
            assert found.distribution.mean.equal(latents.distribution.mean)
            assert found.kl.equal(latents.kl)
        except InputError as error:
            assert error.file == str(file)
            noticed += 1
        file.write_bytes(whole)
    assert noticed > 20


@pytest.mark.parametrize("resumed", [False, True])
def test_in_packed_images(made: Path, capsys: pytest.CaptureFixture, resumed: bool) -> None:
    images = made / "packed" / "images.npy"
    whole = images.read_bytes()
    # the least significant bit of one pixel: no statistic would tell
    flip(images, 128 + 4 * 5000)
    tokens = ["train", str(made / "packed"), "-o", str(made / "other"), *TABLE.split()]
    assert run(["train", "--resume", "-o", str(made / "run")] if resumed else tokens) == 2
    images.write_bytes(whole)
    error = capsys.readouterr().err
    assert f"{images}: found other images than were packed, SHA-256 " in error
    assert error.count("\n") == 1


def test_leftovers_of_a_killed_process_are_removed(copy: Path) -> None:
    opened = Run.open(copy / "run")
    there = {file.name for file in opened.checkpoints.iterdir()}
    (opened.checkpoints / ".step-000000009.safetensors.77.partial").write_bytes(b"half")
    (opened.checkpoints / "step-000000009.safetensors").write_bytes(b"not in the index")
    (opened.path / ".manifest.json.77.partial").write_bytes(b"half")
    with opened.locked():
        assert not list(opened.path.glob(".*.partial"))
        assert {file.name for file in opened.checkpoints.iterdir()} == there
