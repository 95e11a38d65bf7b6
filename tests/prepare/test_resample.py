"""Images brought to another box: known functions, RELION, and the two ways against each other."""

import subprocess
from pathlib import Path

import mrcfile
import numpy as np
import pytest

from builders import ArrayImages
from cryolatent.data.images import TrimmedImages
from cryolatent.errors import InputError, InputWarning
from cryolatent.io import new_stack
from cryolatent.prepare.normalise import NormalisedImages
from cryolatent.prepare.opening import open_mixed
from cryolatent.prepare.resample import Frame, _series, common_frame, fourier_crop, resample
from particle_files import COUNT, Files


def gaussian(frame: Frame, x: float, y: float, width: float) -> np.ndarray:
    """A Gaussian at (x, y) Å from the pixel ``box / 2``."""
    axis = (np.arange(frame.box) - frame.box // 2) * frame.pixel_size_angstrom
    squared = (axis[:, None] - y) ** 2 + (axis - x) ** 2
    return np.exp(-squared / (2 * width**2)).astype(np.float32)[None]


@pytest.mark.parametrize(
    ("own", "wanted"),
    [
        (Frame(64, 2.0), Frame(32, 4.0)),
        (Frame(64, 2.0), Frame(40, 3.2)),
        (Frame(64, 2.0), Frame(26, 4.0)),  # a smaller field of view
        (Frame(60, 2.1), Frame(32, 3.7)),
        (Frame(48, 2.5), Frame(44, 2.5)),
    ],
)
def test_a_gaussian_stays_where_and_as_it_is(own: Frame, wanted: Frame) -> None:
    place = (9.3, -14.1, 9.0)
    made = resample(gaussian(own, *place), own.pixel_size_angstrom, wanted)
    assert made.dtype == np.float32
    np.testing.assert_allclose(made, gaussian(wanted, *place), atol=2e-4)


def test_cropping_and_the_series_are_one() -> None:
    rng = np.random.default_rng(0)
    images = rng.normal(size=(3, 24, 24)).astype(np.float32)
    matrix = _series(Frame(24, 1.0), Frame(10, 2.4))
    np.testing.assert_allclose(fourier_crop(images, 10), matrix @ images @ matrix.T, atol=1e-5)
    assert fourier_crop(images, 24) is images


def test_frames_lie_within_all_images() -> None:
    assert common_frame([Frame(128, 1.0)]) == Frame(128, 1.0)
    assert common_frame([Frame(128, 1.0)], 64) == Frame(64, 2.0)
    assert common_frame([Frame(256, 1.0), Frame(128, 2.0)]) == Frame(128, 2.0)
    both = [Frame(128, 1.0), Frame(128, 1.2)]
    frame = common_frame(both)
    assert frame == Frame(106, 1.2)
    assert frame.side_angstrom <= 128
    for box in (107, 108, 2):
        with pytest.raises(ValueError, match="even number from 4 to 106"):
            common_frame(both, box)


@pytest.mark.parametrize("box", [20, 24])
def test_odd_boxes_keep_their_centre(files: Files, box: int) -> None:
    place, odd = (4.3, -6.1, 6.0), Frame(33, 2.5)
    files.stacks["images.mrcs"] = np.repeat(gaussian(odd, *place), COUNT, axis=0)
    with pytest.warns(InputWarning, match=r"33 x 33 pixels are read without.*pixel 16, stays"):
        opened = open_mixed(files.write())
    assert [part.frame for part in opened.parts] == [Frame(32, 2.5)]
    wanted = common_frame([part.frame for part in opened.parts], box)
    made = opened.stack(wanted).images.read(np.arange(COUNT))
    np.testing.assert_allclose(made[:1], gaussian(wanted, *place), atol=2e-4)


def test_odd_boxes_come_to_one_with_even_ones(files: Files) -> None:
    place = (6.0, -4.0, 6.0)
    files.stacks["images.mrcs"] = np.repeat(gaussian(Frame(33, 2.5), *place), COUNT, axis=0)
    files.stacks["even.mrcs"] = np.repeat(gaussian(Frame(36, 2.5), *place), COUNT, axis=0)
    files.particles.loc[1, "rlnImageName"] = "2@even.mrcs"
    with pytest.warns(InputWarning, match="33 x 33"):
        opened = open_mixed(files.write())
    made = opened.stack(Frame(32, 2.5)).images.read(np.arange(COUNT))
    np.testing.assert_allclose(made[1], made[0], atol=2e-4)


@pytest.mark.relion
@pytest.mark.parametrize("box", [31, 33])
def test_relion_takes_the_same_window_of_odd_boxes(tmp_path: Path, box: int) -> None:
    images = np.random.default_rng(1).normal(size=(3, box, box)).astype(np.float32)
    with new_stack(tmp_path / "a.mrcs", images.shape, 2.0) as stack:
        stack[:] = images
    window = ["relion_image_handler", "--i", "a.mrcs", "--o", "b.mrcs", "--new_box", str(box - 1)]
    subprocess.run(window, cwd=tmp_path, check=True, capture_output=True)
    ours = TrimmedImages(box - 1, ArrayImages(images, box)).read(np.arange(3))
    np.testing.assert_array_equal(ours, mrcfile.read(tmp_path / "b.mrcs"))


@pytest.mark.relion
def test_relion_crops_and_normalises_alike(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    images = (rng.normal(size=(5, 32, 32)) * 3 + 7).astype(np.float32)
    with new_stack(tmp_path / "a.mrcs", images.shape, 2.0) as stack:
        stack[:] = images
    crop = ["relion_image_handler", "--i", "a.mrcs", "--o", "b.mrcs", "--angpix", "2"]
    subprocess.run([*crop, "--rescale_angpix", "4"], cwd=tmp_path, check=True, capture_output=True)
    norm = ["relion_preprocess", "--operate_on", "a.mrcs", "--operate_out", "n", "--norm"]
    subprocess.run(
        [*norm, "--no_ramp", "--bg_radius", "12"], cwd=tmp_path, check=True, capture_output=True
    )
    theirs, ours = mrcfile.read(tmp_path / "b.mrcs"), fourier_crop(images, 16)
    k = np.fft.fftfreq(16, 1 / 16)
    used = np.hypot(k[:, None], k) < 7.5  # what FourierDisc can hold
    ours, theirs = (np.fft.fft2(stack)[:, used] for stack in (ours, theirs))
    assert np.abs(ours - theirs).max() < 1e-5 * np.abs(theirs).max()
    normalised = NormalisedImages(32, ArrayImages(images, 32), 12.0, None).read(np.arange(5))
    np.testing.assert_allclose(normalised, mrcfile.read(tmp_path / "n.mrcs"), atol=1e-5)


def test_background_is_zero_and_one_and_the_window_ends() -> None:
    rng = np.random.default_rng(2)
    images = (rng.normal(size=(4, 24, 24)) * [[[5]], [[0.1]], [[2]], [[1]]] + 1000).astype("f4")
    made = NormalisedImages(24, ArrayImages(images.copy(), 24), 9.0, 0.8).read(np.arange(4))
    plain = NormalisedImages(24, ArrayImages(images.copy(), 24), 9.0, None).read(np.arange(4))
    axis = np.arange(24) - 12
    distance = np.hypot(axis[:, None], axis)
    outside = plain[:, distance > 9]
    np.testing.assert_allclose(outside.mean(axis=1), 0, atol=1e-5)
    np.testing.assert_allclose(outside.std(axis=1), 1, rtol=1e-4)
    np.testing.assert_array_equal(made[:, distance < 9.5], plain[:, distance < 9.5])
    assert (made[:, distance >= 0.99 * 12] == 0).all()
    flat = images.copy()
    flat[2, distance > 9] = 3.0
    with pytest.raises(InputError, match=r"image 3.*background without noise"):
        NormalisedImages(24, ArrayImages(flat, 24), 9.0, None).read(np.arange(4))
