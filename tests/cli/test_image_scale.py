"""Images in a unit of another order of magnitude give the same results, to the bit."""

import json
from pathlib import Path

import mrcfile
import numpy as np
import pytest
import torch

from builders import small_stack
from cryolatent.cli.main import run
from cryolatent.data import ImageSource, open_particles
from cryolatent.data.scale import ScaledImages, fitting_scale
from cryolatent.errors import InputWarning
from cryolatent.io import read_volume
from cryolatent.runs.run import Run

SMALL = ["--encoder-width", "16", "--encoder-layers", "1", "--decoder-width", "16", "--epochs", "1"]
MODELS = {
    "exact": ["--posterior", "exact", "--z-dim", "1"],
    "encoder": ["--posterior", "encoder", "--z-dim", "1", "--decoder-layers", "1", *SMALL],
}


def multiply(star: Path, factor: float) -> None:
    with mrcfile.open(star.with_suffix(".mrcs"), "r+") as mrc:
        mrc.data[:] = np.ldexp(mrc.data, round(np.log2(factor)))


@pytest.fixture(scope="module", params=["exact", "encoder"])
def usual(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, torch.Tensor]:
    folder = tmp_path_factory.mktemp("usual")
    star = small_stack(folder / "data").source
    # within the usual range, where nothing is multiplied
    multiply(star, unit_of(star))
    assert run(["train", str(star), "-o", str(folder / "run"), *MODELS[request.param]]) == 0
    return request.param, Run.open(folder / "run").latents().distribution.mean


def unit_of(star: Path) -> float:
    return 2.0 ** -round(np.log2(mrcfile.read(star.with_suffix(".mrcs")).std()))


@pytest.mark.parametrize("factor", [2.0**-66, 2.0**66])
def test_results_do_not_depend_on_the_unit(
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
    usual: tuple[str, torch.Tensor],
    factor: float,
) -> None:
    posterior, expected = usual
    star = small_stack(tmp_path / "data").source
    multiply(star, unit_of(star))
    multiply(star, factor)
    made = tmp_path / "run"
    assert run(["train", str(star), "-o", str(made), *MODELS[posterior]]) == 0
    assert "images are multiplied by 2^" in capsys.readouterr().out
    assert torch.equal(Run.open(made).latents().distribution.mean, expected)
    scale = Run.open(made).manifest.image_scale
    assert scale * factor == 1
    with pytest.warns(InputWarning, match="images are multiplied"):
        opened = Run.open(made).open_stack().images.read(np.arange(4))
    np.testing.assert_array_equal(
        opened, np.ldexp(mrcfile.read(star.with_suffix(".mrcs"))[:4], round(np.log2(scale)))
    )
    assert run(["infer", str(made), str(star), "-o", str(tmp_path / "latents.parquet")]) == 0
    assert run(["backproject", str(star), "-o", str(tmp_path / "map")]) == 0
    assert 1e-3 < read_volume(tmp_path / "map" / "map.mrc")[0].std() < 1e3
    assert run(["prepare", str(star), "-o", str(tmp_path / "packed")]) == 0
    assert json.loads((tmp_path / "packed" / "manifest.json").read_text())["dropped"] == 0


class Sample(ImageSource):
    def __init__(self, images: np.ndarray) -> None:
        self.images, self.box = images, images.shape[-1]

    def __len__(self) -> int:
        return len(self.images)

    def read(self, positions):
        return self.images[positions]

    def name(self, position):
        return f"image {position + 1}"

    def fingerprint(self):
        return b""

    def select(self, positions):
        return Sample(self.images[positions])


@pytest.mark.parametrize("power", [-120, -90, 100, 120])
def test_every_unit_that_a_file_can_hold_becomes_one(power: int) -> None:
    rng = np.random.default_rng(0)
    images = np.ldexp(rng.normal(size=(20, 8, 8)).astype(np.float32), power)
    images[0] = np.nan
    images[10] = 1
    with pytest.warns(InputWarning, match=f"multiplied by 2\\^{-power}"):
        scale = fitting_scale(Sample(images), "a.star")
    made = ScaledImages(8, Sample(images), scale).select(np.arange(5, 9)).read(np.arange(4))
    assert 0.8 < made.std() < 1.25
    assert made.dtype == np.float32


def test_usual_images_are_left_alone(tmp_path: Path) -> None:
    star = small_stack(tmp_path / "data").source
    stack = open_particles(star)
    assert stack.image_scale == 1
    assert not isinstance(stack.images, ScaledImages)
