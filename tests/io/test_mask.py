"""Masks from files: a fitting one is read, any other is one helpful line."""

import mrcfile
import numpy as np
import pytest

from cryolatent.errors import InputError
from cryolatent.io import read_mask, write_volume

BOX, PIXEL = 8, 2.5


@pytest.fixture
def mask() -> np.ndarray:
    return np.linspace(0, 1, BOX**3, dtype=np.float32).reshape((BOX,) * 3)


def test_fitting_mask_is_read(tmp_path, mask):
    write_volume(tmp_path / "mask.mrc", mask, PIXEL)
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.mrc", BOX, PIXEL), mask)


def test_mask_of_unsaid_pixel_size_is_believed(tmp_path, mask):
    write_volume(tmp_path / "mask.mrc", mask, 0.0)
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.mrc", BOX, PIXEL), mask)


def test_rounding_beyond_the_range_is_clipped(tmp_path, mask):
    write_volume(tmp_path / "mask.mrc", mask * 1.0008 - 0.0004, PIXEL)
    read = read_mask(tmp_path / "mask.mrc", BOX, PIXEL)
    assert (read.min(), read.max()) == (0, 1)


@pytest.mark.parametrize(
    ("change", "pixel_size", "found"),
    [
        (lambda m: m[:6], PIXEL, "a mask of 6 x 8 x 8 voxels"),
        (lambda m: m, 2.6, "a pixel size of 2.6 Å"),
        (lambda m: m + 0.5, PIXEL, "values from 0.5 to 1.5"),
        (lambda m: m - 0.5, PIXEL, "values from -0.5 to 0.5"),
        (lambda m: np.where(m > 0.9, np.nan, m), PIXEL, "values from nan to nan"),
        (lambda m: 0 * m, PIXEL, "no voxel above 0.5"),
    ],
)
@pytest.mark.filterwarnings("ignore:Data array contains NaN")
def test_mask_that_does_not_fit_is_one_helpful_line(tmp_path, mask, change, pixel_size, found):
    path = tmp_path / "mask.mrc"
    with mrcfile.new(path) as mrc:
        mrc.set_data(change(mask).astype(np.float32))
        mrc.voxel_size = pixel_size
    with pytest.raises(InputError) as caught:
        read_mask(path, BOX, PIXEL)
    assert caught.value.found == found
    assert caught.value.file == str(path)
    assert "\n" not in str(caught.value)


def test_missing_mask_is_an_error(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_mask(tmp_path / "mask.mrc", BOX, PIXEL)
