"""MRC stacks and volumes."""

import contextlib
from pathlib import Path

import mrcfile
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cryolatent.errors import InputError
from cryolatent.io import new_stack, read_images, read_volume, stack_shape, write_volume

SHAPE = (3, 4, 6)


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)


@pytest.fixture
def stack(tmp_path, pixels):
    path = tmp_path / "stack.mrcs"
    with new_stack(path, SHAPE, 1.25) as images:
        images[:] = pixels
    return path


def test_stack_round_trip(stack, pixels):
    assert stack_shape(stack) == SHAPE
    np.testing.assert_array_equal(read_images(stack, np.arange(3)), pixels)


def test_images_come_in_the_order_asked_for(stack, pixels):
    order = np.array([2, 0, 2])
    np.testing.assert_array_equal(read_images(stack, order), pixels[order])


def test_stack_header_is_that_of_an_image_stack(stack, pixels):
    assert mrcfile.validate(stack)
    with mrcfile.open(stack) as mrc:
        assert mrc.is_image_stack()
        assert mrc.voxel_size.x == mrc.voxel_size.y == pytest.approx(1.25)
        assert mrc.header.dmean == pytest.approx(pixels.mean(), abs=1e-6)


def test_single_image_is_a_stack_of_one(tmp_path, pixels):
    with mrcfile.new(tmp_path / "one.mrc") as mrc:
        mrc.set_data(pixels[0])
    assert stack_shape(tmp_path / "one.mrc") == (1, 4, 6)
    np.testing.assert_array_equal(read_images(tmp_path / "one.mrc", np.array([0])), pixels[:1])


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.uint16, np.float16])
def test_other_modes_are_read_as_float32(tmp_path, dtype):
    values = np.arange(np.prod(SHAPE)).reshape(SHAPE).astype(dtype)
    with mrcfile.new(tmp_path / "a.mrcs") as mrc:
        mrc.set_data(values)
    images = read_images(tmp_path / "a.mrcs", np.arange(3))
    assert images.dtype == np.float32
    np.testing.assert_array_equal(images, values.astype(np.float32))


def test_file_without_identification_is_read(stack, pixels):
    content = bytearray(stack.read_bytes())
    content[208:212] = bytes(4)
    stack.write_bytes(content)
    np.testing.assert_array_equal(read_images(stack, np.arange(3)), pixels)


def test_rewritten_file_is_read_anew(stack, pixels):
    assert stack_shape(stack) == SHAPE
    with new_stack(stack, (2, 4, 6), 1.0) as images:
        images[:] = -pixels[:2]
    np.testing.assert_array_equal(read_images(stack, np.arange(2)), -pixels[:2])


def test_volume_round_trip(tmp_path, pixels):
    write_volume(tmp_path / "map.mrc", pixels.astype(np.float64), 2.5)
    volume, pixel_size = read_volume(tmp_path / "map.mrc")
    np.testing.assert_array_equal(volume, pixels)
    assert pixel_size == pytest.approx(2.5)


def test_volume_order_is_z_y_x(tmp_path, pixels):
    write_volume(tmp_path / "map.mrc", pixels, 1.0)
    with mrcfile.open(tmp_path / "map.mrc") as mrc:
        assert (int(mrc.header.nx), int(mrc.header.ny), int(mrc.header.nz)) == SHAPE[::-1]


def test_image_is_no_volume(tmp_path, pixels):
    with mrcfile.new(tmp_path / "one.mrc") as mrc:
        mrc.set_data(pixels[0])
    with pytest.raises(InputError, match=r"one\.mrc: found 2 dimensions; expected a volume"):
        read_volume(tmp_path / "one.mrc")


@pytest.mark.parametrize("length", [0, 10, 1023, 1024, 1025, 1024 + 4 * 4 * 6 * 3 - 1])
def test_truncated_file_is_an_error(stack, length):
    stack.write_bytes(stack.read_bytes()[:length])
    with pytest.raises(InputError, match=r"stack\.mrcs: found no readable MRC data"):
        stack_shape(stack)


@pytest.mark.parametrize("text", ["short\n", "1 2 3\n" * 9999])
def test_text_file_is_an_error(tmp_path, text):
    (tmp_path / "text.mrcs").write_text(text)
    with pytest.raises(InputError, match=r"text\.mrcs: found no readable MRC data") as error:
        read_images(tmp_path / "text.mrcs", np.array([0]))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "found"), [("missing.mrcs", "no such file"), (".", "no readable MRC data")]
)
def test_missing_file_and_folder_are_errors(tmp_path, name, found):
    with pytest.raises(InputError, match=found):
        stack_shape(tmp_path / name)


def test_text_is_refused_before_its_header_is_believed(tmp_path: Path) -> None:
    """Bytes 92 to 95 name the length of an extended header: in text, gigabytes."""
    (tmp_path / "notes.mrcs").write_text("these are notes, not images\n" * 100)
    with pytest.raises(InputError, match="longer than the file"):
        stack_shape(tmp_path / "notes.mrcs")


def test_folder_named_like_a_file_is_a_missing_file(tmp_path: Path) -> None:
    (tmp_path / "a.mrcs").write_text("")
    with pytest.raises(InputError, match="no such file"):
        stack_shape(tmp_path / "a.mrcs" / "b.mrcs")


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("dtype", ["i1", "i2", "f4", "u2", "f2"], ids="mode {}".format)
def test_every_mode_and_byte_order_is_read(tmp_path, dtype, order):
    images = np.arange(3 * 4 * 6).reshape(3, 4, 6).astype(order + dtype)
    with mrcfile.new(tmp_path / "a.mrcs") as mrc:
        mrc.set_data(images)
        mrc.set_image_stack()
    assert stack_shape(tmp_path / "a.mrcs") == (3, 4, 6)
    found = read_images(tmp_path / "a.mrcs", np.array([2, 0]))
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, images[[2, 0]].astype(np.float32))


@pytest.mark.parametrize("change", [-4, -100, 4, 4096])
def test_size_that_contradicts_the_header_is_refused(tmp_path, change):
    path = tmp_path / "a.mrcs"
    with new_stack(path, (2, 4, 4), 1.0) as images:
        images[:] = 1
    content = path.read_bytes()
    path.write_bytes(content[:change] if change < 0 else content + bytes(change))
    with pytest.raises(InputError, match="no readable MRC data"):
        stack_shape(path)


def test_volume_without_a_grid_is_refused(tmp_path):
    path = tmp_path / "a.mrc"
    write_volume(path, np.ones((4, 4, 4), np.float32), 2.0)
    content = bytearray(path.read_bytes())
    content[28:32] = bytes(4)
    path.write_bytes(content)
    with pytest.raises(InputError, match="pixel size of"):
        read_volume(path)


def fuzz(path: Path, data: st.DataObject) -> None:
    """A valid file with some bytes of its header changed, and perhaps its end cut off."""
    with new_stack(path, (2, 4, 4), 1.0) as images:
        images[:] = 1
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(0, 6))):
        place = data.draw(st.one_of(st.integers(0, 31), st.integers(88, 220)))
        content[place] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.sampled_from([len(content), 1024, 1000, 3, 0]))])


def check_fuzz(folder: Path, data: st.DataObject) -> None:
    path = folder / "a.mrcs"
    fuzz(path, data)
    with contextlib.suppress(InputError):
        count, _, _ = stack_shape(path)
        read_images(path, np.arange(min(count, 2)))
    with contextlib.suppress(InputError):
        read_volume(path)


QUIET = {
    "deadline": None,
    "suppress_health_check": [HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
}


@given(st.data())
@settings(max_examples=500, **QUIET)
def test_changed_bytes_are_read_or_refused(tmp_path, data):
    check_fuzz(tmp_path, data)


@pytest.mark.thorough
@given(st.data())
@settings(max_examples=20_000, **QUIET)
def test_many_changed_bytes_are_read_or_refused(tmp_path, data):
    check_fuzz(tmp_path, data)
