"""What a run was trained on has changed, is a link or has a namesake: every command agrees."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import mrcfile
import numpy as np
import pytest

from builders import small_stack
from cryolatent.cli.main import run
from cryolatent.data import open_star
from cryolatent.io import new_stack, read_volume
from cryolatent.runs.run import Run

EXACT = ["--posterior", "exact", "--z-dim", "1"]
MORE = ["--clusters", "1", "--effective-particles", "30"]


def commands(folder: Path) -> dict[str, list[str]]:
    made, out = str(folder / "run"), str(folder / "out")
    return {
        "volumes": ["volumes", made, "-o", out, *MORE],
        "analyze": ["analyze", made, "--clusters", "1"],
        "export": ["export", made, "-o", f"{out}.star"],
        "resume": ["train", "-o", made, "--resume"],
        "halves": ["halves", made, "-o", out],
    }


def trained(folder: Path) -> Path:
    star = small_stack(folder / "data").source
    assert run(["train", str(star), "-o", str(folder / "run"), *EXACT]) == 0
    return star


def other_poses(star: Path) -> None:
    lines = star.read_text().split("\n")
    at = [i for i, line in enumerate(lines) if "@" in line]
    cells = [lines[i].split("\t") for i in at]
    for i, row, turned in zip(at, cells, cells[1:] + cells[:1], strict=True):
        lines[i] = "\t".join([row[0], *turned[1:]])
    star.write_text("\n".join(lines))


def other_images(star: Path) -> None:
    with mrcfile.open(star.with_suffix(".mrcs"), "r+") as mrc:
        mrc.set_data(np.random.default_rng(0).normal(size=mrc.data.shape).astype(np.float32))
        mrc.set_image_stack()


def other_pixels_under_one_header(star: Path) -> None:
    size = star.with_suffix(".mrcs").stat().st_size
    pixels = np.memmap(star.with_suffix(".mrcs"), "<f4", "r+", 1024, ((size - 1024) // 4,))
    pixels[:] = pixels[::-1].copy()


def other_optics(star: Path) -> None:
    star.write_text(star.read_text().replace("300.000000", "200.000000", 1))


CHANGES = [other_poses, other_images, other_pixels_under_one_header, other_optics]


@pytest.mark.parametrize("change", CHANGES)
def test_every_command_refuses_inputs_that_changed(
    tmp_path: Path, capsys: pytest.CaptureFixture, change: Callable[[Path], None]
) -> None:
    change(trained(tmp_path))
    capsys.readouterr()
    for name, tokens in commands(tmp_path).items():
        assert run(tokens) == 2, name
        assert "another content than when the run" in capsys.readouterr().err, name


def test_an_analysis_that_opens_no_image_sees_other_tables(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    star, made = small_stack(tmp_path / "data").source, str(tmp_path / "run")
    small = ["--encoder-width", "8", "--decoder-width", "8", "--decoder-layers", "1"]
    assert (
        run(["train", str(star), "-o", made, "--posterior", "encoder", "--epochs", "1", *small])
        == 0
    )
    before = star.read_text()
    other_poses(star)
    capsys.readouterr()
    assert run(["analyze", made, "--clusters", "1"]) == 2
    assert f"{star}: found another content than when the run" in capsys.readouterr().err
    assert not (tmp_path / "run" / "analysis").exists()
    # images are not needed, nor is the file; what is back is as it was
    star.with_suffix(".mrcs").unlink()
    star.write_text(before)
    Run.open(made).check_tables()
    star.unlink()
    Run.open(made).check_tables()


def test_a_link_is_trained_and_used_alike(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    real, work = tmp_path / "data", tmp_path / "work"
    star = small_stack(real).source
    work.mkdir()
    link = work / star.name
    link.symlink_to(os.path.relpath(star, work))
    shutil.move(star.with_suffix(".mrcs"), work)
    assert run(["train", str(link), "-o", str(tmp_path / "run"), *EXACT]) == 0
    assert run(commands(tmp_path)["volumes"]) == 0
    first = read_volume(tmp_path / "out" / "volume_0.mrc")[0]
    shutil.rmtree(tmp_path / "out")
    # another stack beside the target changes nothing, and is said
    with new_stack(star.with_suffix(".mrcs"), (40, 16, 16), 18.0) as images:
        images[:] = np.random.default_rng(0).normal(size=images.shape)
    for name in ("volumes", "analyze", "export", "resume"):
        capsys.readouterr()
        assert run(commands(tmp_path)[name]) == 0
        assert "a link; " in capsys.readouterr().out
    np.testing.assert_array_equal(read_volume(tmp_path / "out" / "volume_0.mrc")[0], first)


def test_a_run_keeps_to_the_namesake_that_datadir_named(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    star = small_stack(tmp_path / "data").source
    (tmp_path / "small").mkdir()
    shutil.move(star.with_suffix(".mrcs"), tmp_path / "small")
    with new_stack(star.with_suffix(".mrcs"), (40, 16, 16), 18.0) as images:
        images[:] = np.random.default_rng(0).normal(size=images.shape)
    given = ["--datadir", str(tmp_path / "small")]
    assert run(["train", str(star), "-o", str(tmp_path / "run"), *EXACT, *given]) == 0
    assert run(commands(tmp_path)["volumes"]) == 0
    volume = read_volume(tmp_path / "out" / "volume_0.mrc")[0]
    assert run(["backproject", str(star), "-o", str(tmp_path / "map"), *given]) == 0
    whole = read_volume(tmp_path / "map" / "map.mrc")[0]
    assert np.corrcoef(volume.ravel(), whole.ravel())[0, 1] > 0.9
    # without the option other particles are those beside their file
    capsys.readouterr()
    latents = str(tmp_path / "latents.parquet")
    assert run(["infer", str(tmp_path / "run"), str(star), "-o", latents]) == 0
    assert open_star(star).images.files == (star.with_suffix(".mrcs"),)
    star.with_suffix(".mrcs").unlink()
    assert run(["infer", str(tmp_path / "run"), str(star), "-o", f"{latents}.2"]) == 0
    shutil.rmtree(tmp_path / "small")
    assert run(commands(tmp_path)["export"]) == 2
