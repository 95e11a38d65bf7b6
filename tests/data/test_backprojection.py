"""The pass over a stack: chunks, weights, unusable images, and the noise that is left."""

from pathlib import Path

import numpy as np
import pytest
import torch

from builders import small_stack
from cryolatent.data import ParticleStack, backprojection, open_star
from cryolatent.data.backprojection import backproject, noise_spectrum
from cryolatent.errors import InputError
from cryolatent.simulate.truth import Truth


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("backprojection") / "data"
    small_stack(folder)
    return folder


@pytest.fixture
def stack(folder: Path) -> ParticleStack:
    return open_star(folder / "particles.star")


def test_chunks_do_not_change_sums(stack, monkeypatch):
    found, told = [], []
    for images in (1, 7, 1000):
        monkeypatch.setattr(backprojection, "CHUNK_BYTES", 4 * images * 16**2)
        told.append([])
        found.append(backproject(stack, torch.arange(40), progress=told[-1].append).voxels)
    assert told[1] == [7, 14, 21, 28, 35, 40]
    # the order of additions within a voxel differs
    for other in found[1:]:
        np.testing.assert_allclose(other, found[0], rtol=0, atol=1e-4)


def test_weights_count_particles(stack):
    index = torch.tensor([3, 8, 20])
    weighted = backproject(stack, index, torch.tensor([2.0, 0.0, 1.0])).voxels
    repeated = backproject(stack, torch.tensor([3, 3, 20])).voxels
    np.testing.assert_allclose(weighted, repeated, rtol=0, atol=1e-5)


def test_halves_add_up_to_the_whole(stack):
    first, second = (backproject(stack, half) for half in stack.split(0))
    first.merge(second)
    whole = backproject(stack, torch.arange(40))
    np.testing.assert_allclose(first.voxels, whole.voxels, rtol=0, atol=1e-4)


@pytest.mark.parametrize(("value", "found"), [(np.nan, "not finite"), (None, "all pixels are")])
def test_unusable_image_is_named(tmp_path, value, found):
    stack = small_stack(tmp_path / "data")
    images = np.memmap(tmp_path / "data" / "particles.mrcs", np.float32, "r+", 1024, (40, 16, 16))
    images[9, 0, 0] = value if value is not None else 0
    if value is None:
        images[9] = 0
    images.flush()
    with pytest.raises(InputError, match=found) as error:
        backproject(stack, torch.tensor([0, 9, 3]))
    assert "image 10" in str(error.value)


def test_noise_is_what_the_simulation_added(tmp_path):
    stack = small_stack(
        tmp_path / "data", particles=1500, box=32, pixel_size=9.0, snr=0.3, noise_colour=3.0
    )
    truth = Truth.load(tmp_path / "data" / "truth")
    one_state = torch.from_numpy(np.flatnonzero(truth.state == 0))
    stack = stack.select(one_state)
    first, second = stack.split(0)
    volume = backproject(stack, first).solve()
    found = noise_spectrum(stack, second, volume)
    ratio = found / truth.noise_spectrum
    power = noise_spectrum(stack, second, torch.zeros_like(volume)) / truth.noise_spectrum
    assert power[2:5].mean() > 1.3
    assert (ratio[3:] - 1).abs().max() < 0.12
    assert float(ratio[3:].mean()) == pytest.approx(1, abs=0.02)
