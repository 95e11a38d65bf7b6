"""What headers of MRC files say is honoured or refused, for stacks, volumes and masks."""

from itertools import permutations
from pathlib import Path

import mrcfile
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cryolatent.errors import InputError
from cryolatent.io import read_images, read_mask, read_volume, stack_pixel_size, stack_shape

BOX, PIXEL = 6, 2.5
QUIET = settings(
    deadline=None,
    max_examples=100,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
WORDS = ("mapc", "mapr", "maps")


def values() -> np.ndarray:
    """A mask without any symmetry, in the order z, y, x."""
    return np.random.default_rng(0).random((BOX, BOX, BOX)).astype(np.float32)


def written(path: Path, order=(1, 2, 3), byte_order="<", **header: object) -> Path:
    """The same map in a file whose columns, rows and sections run along other axes."""
    stored = values().transpose([3 - axis for axis in order[::-1]])
    with mrcfile.new(path, overwrite=True) as mrc:
        mrc.set_data(np.ascontiguousarray(stored).astype(f"{byte_order}f4"))
        mrc.voxel_size = PIXEL
        for name, value in header.items():
            mrc.header[name] = value
        for word, axis in zip(WORDS, order, strict=True):
            mrc.header[word] = axis
    return path


@pytest.mark.parametrize("order", list(permutations((1, 2, 3))))
@pytest.mark.parametrize("byte_order", ["<", ">"])
def test_axes_of_volumes_and_masks_are_honoured_in_every_order(tmp_path, order, byte_order):
    path = written(tmp_path / "a.mrc", order, byte_order)
    volume, pixel_size = read_volume(path)
    np.testing.assert_array_equal(volume, values())
    assert pixel_size == PIXEL
    np.testing.assert_array_equal(read_mask(path, BOX, PIXEL), values())


@pytest.mark.parametrize("order", list(permutations((1, 2, 3)))[1:])
def test_other_axes_of_stacks_are_refused(tmp_path, order):
    path = written(tmp_path / "a.mrcs", order)
    with pytest.raises(InputError, match=r"a\.mrcs: found axes \(.*columns along x, rows along y"):
        stack_shape(path)


@QUIET
@given(order=st.tuples(*[st.integers(-1, 4)] * 3))
def test_any_axis_words_are_honoured_or_refused(tmp_path, order):
    path = written(tmp_path / "a.mrc")
    with mrcfile.open(path, "r+") as mrc:
        for word, axis in zip(WORDS, order, strict=True):
            mrc.header[word] = axis
    if order == (0, 0, 0):
        np.testing.assert_array_equal(read_volume(path)[0], values())
        assert stack_shape(path) == (BOX,) * 3
    elif sorted(order) == [1, 2, 3]:
        # axis a of z, y, x is where the file says
        stored = values()
        expected = stored.transpose([order[::-1].index(axis) for axis in (3, 2, 1)])
        np.testing.assert_array_equal(read_volume(path)[0], expected)
    else:
        for read in (read_volume, stack_shape):
            with pytest.raises(InputError, match="axes"):
                read(path)


PLACES = st.tuples(*[st.integers(-BOX, BOX)] * 3)


@QUIET
@given(start=PLACES, origin=PLACES)
def test_maps_elsewhere_are_refused(tmp_path, start, origin):
    header = dict(zip(("nxstart", "nystart", "nzstart"), start, strict=True))
    path = written(tmp_path / "a.mrc", **header)
    with mrcfile.open(path, "r+") as mrc:
        mrc.header.origin = tuple(PIXEL * place for place in origin)
    usual = ((0, 0, 0), (-BOX // 2,) * 3)
    if start in usual and origin in usual:
        assert read_mask(path, BOX, PIXEL).shape == (BOX,) * 3
    else:
        with pytest.raises(InputError, match=r"found a (start|origin) of .* voxels; expected"):
            read_mask(path, BOX, PIXEL)
    # images are where their pixels are
    assert stack_shape(path) == (BOX,) * 3


@pytest.mark.parametrize("frame", [0, -BOX // 2])
def test_maps_about_their_first_voxel_or_their_middle_are_read(tmp_path, frame):
    path = written(tmp_path / "a.mrc", nxstart=frame, nystart=frame, nzstart=frame)
    np.testing.assert_array_equal(read_volume(path)[0], values())


@QUIET
@given(sizes=st.tuples(*[st.sampled_from([0.0, 1.0, 1.005, 2.0])] * 3))
def test_pixel_sizes_are_of_equal_sides_or_refused(tmp_path, sizes):
    path = written(tmp_path / "a.mrc")
    with mrcfile.open(path, "r+") as mrc:
        mrc.voxel_size = sizes
    flat = all(size == 0 or abs(size / sizes[0] - 1) < 0.01 for size in sizes if sizes[0])
    if 0 in sizes:
        assert read_volume(path)[1] == 0
    elif flat:
        assert read_volume(path)[1] == pytest.approx(sizes[0])
    else:
        with pytest.raises(InputError, match=r"found pixels of .*; expected equal sides"):
            read_volume(path)
    if 0 in sizes[:2]:
        assert stack_pixel_size(path) == 0
    elif max(sizes[:2]) < 1.01 * min(sizes[:2]):
        assert stack_pixel_size(path) == pytest.approx(sizes[0])
    else:
        with pytest.raises(InputError, match="found pixels of"):
            stack_pixel_size(path)


@pytest.mark.parametrize("angles", [(90, 90, 120), (80, 90, 90)])
def test_skewed_cells_are_refused(tmp_path, angles):
    path = written(tmp_path / "a.mrc", cellb=angles)
    with pytest.raises(InputError, match="a cell with angles of"):
        read_volume(path)


@pytest.mark.parametrize("byte_order", ["<", ">"])
@pytest.mark.parametrize("stamp", [b"\x44\x44\0\0", b"\x44\x41\0\0", b"\x11\x11\0\0", bytes(4)])
@pytest.mark.parametrize("extended", [0, 1024])
def test_byte_order_and_further_headers_are_read_or_refused(
    tmp_path, byte_order, stamp, extended
) -> None:
    path = written(tmp_path / "a.mrc", byte_order=byte_order)
    content = bytearray(path.read_bytes())
    order = "little" if byte_order == "<" else "big"
    content[92:96] = extended.to_bytes(4, order)
    content[212:216] = stamp
    path.write_bytes(content[:1024] + bytes(range(256)) * (extended // 256) + content[1024:])
    right = stamp[:1] == (b"\x44" if byte_order == "<" else b"\x11")
    try:
        found = read_volume(path)[0], read_images(path, np.arange(BOX))
    except InputError:
        assert not right
        return
    for read in found:
        np.testing.assert_array_equal(read, values())


@pytest.mark.parametrize("byte_order", ["<", ">"])
@pytest.mark.parametrize(("stamp", "flags"), [(False, 0), (True, 1), (True, 0)])
def test_bytes_are_signed_unless_imod_says_otherwise(tmp_path, byte_order, stamp, flags):
    path, order = tmp_path / "a.mrc", "little" if byte_order == "<" else "big"
    raw = np.arange(4 * BOX * BOX, dtype=np.uint8).reshape(4, BOX, BOX)
    with mrcfile.new(path) as mrc:
        mrc.set_data(raw.view(np.int8))
    content = bytearray(path.read_bytes())
    if byte_order == ">":
        words = np.frombuffer(bytes(content[:224]), "<i4").astype(">i4").tobytes()
        content[:208], content[212:216] = words[:208], b"\x11\x11\0\0"
        content[216:224] = words[216:224]
    if stamp:
        content[152:160] = (1146047817).to_bytes(4, order) + flags.to_bytes(4, order)
    path.write_bytes(content)
    expected = raw if stamp and not flags else raw.view(np.int8)
    np.testing.assert_array_equal(read_images(path, np.arange(4)), expected.astype(np.float32))
