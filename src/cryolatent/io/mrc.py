"""MRC files: image stacks read row by row from a memory map, volumes written with a pixel size."""

import mmap
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, cast

import mrcfile
import numpy as np
from mrcfile.mrcmemmap import MrcMemmap

from cryolatent.errors import InputError
from cryolatent.io.compressed import refuse_compressed

HEADER_BYTES = 1024
PIXEL_SIZE_TOLERANCE = 0.01
RANGE_TOLERANCE = 1e-3
LABEL = "Written by cryolatent"  # mrcfile's own label holds the time; equal inputs, equal bytes


AT_ONCE = 256
"""Images of a new stack that are described at once."""

IMOD, SIGNED = 1146047817, 1
"""IMOD's stamp, and the flag with which its bytes are signed."""

FRAME = "a map whose first voxel, or whose middle, is at the origin"
AXES = "columns along x, rows along y, sections along z (1, 2, 3)"
REWRITE = "Write it on the grid of the particles' own map, with its axes in the order x, y, z."


class _Mapped(NamedTuple):
    mrc: MrcMemmap
    data: np.ndarray


def _mapped(path: str | Path) -> _Mapped:
    try:
        stat = Path(path).stat()
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(
            path, "no such file", "an MRC stack", "Check the name, or give its folder (`datadir`)."
        ) from None
    return _mapped_version(str(path), stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=64)
def _mapped_version(path: str, modified_ns: int, size: int) -> _Mapped:
    """Keep recently used stacks mapped; the oldest are closed when too many are open.

    Files without the format's identification string are common (RELION's own test data among
    them), so they are read, but the data block must be complete.
    """
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            with Path(path).open("rb") as stream:
                extended = int.from_bytes(stream.read(96)[92:96], sys.byteorder)
            if min(extended, _swapped(extended)) > size:
                raise ValueError("the extended header is longer than the file")
            mrc = mrcfile.mmap(path, mode="r", permissive=True)
    except (ValueError, OSError) as error:
        raise _unreadable(path, str(error)) from None
    if mrc.data is None:
        raise _unreadable(path, "; ".join(str(warning.message) for warning in caught))
    if mrc.data.ndim not in (2, 3) or np.iscomplexobj(mrc.data):
        raise _unreadable(path, f"{mrc.data.ndim} dimensions of {mrc.data.dtype}")
    expected = HEADER_BYTES + int(mrc.header.nsymbt) + mrc.data.nbytes  # pyright: ignore
    if size != expected or mrc.data.size == 0:
        shape = " x ".join(map(str, mrc.data.shape))
        raise _unreadable(path, f"{size} bytes; {expected} for the header's {shape} numbers")
    return _Mapped(mrc, mrc.data.view(np.uint8) if _has_unsigned_bytes(mrc) else mrc.data)


def _has_unsigned_bytes(mrc: MrcMemmap) -> bool:
    """Mode 0 is of signed bytes, but for files that bear IMOD's stamp and say otherwise."""
    header: Any = mrc.header
    stamp, flags = (header.tobytes()[at : at + 4] for at in (152, 156))
    order = "little" if header.nx.dtype.newbyteorder("<") == header.nx.dtype else "big"
    known = int.from_bytes(stamp, order) == IMOD
    signed = bool(int.from_bytes(flags, order) & SIGNED)
    return bool(header.mode == 0) and known and not signed


def _axes(path: str | Path, header: Any) -> tuple[int, int, int]:
    """Which of x, y, z (1, 2, 3) sections, rows and columns run along; zeros say nothing."""
    order = (int(header.maps), int(header.mapr), int(header.mapc))
    if order == (0, 0, 0):
        return 3, 2, 1
    if sorted(order) != [1, 2, 3]:
        raise InputError(path, f"axes {order[::-1]} in its header", AXES, REWRITE)
    return order


def _swapped(number: int) -> int:
    """The number with its four bytes reversed, as a file of the other byte order holds it."""
    return int.from_bytes(number.to_bytes(4, "little"), "big")


def _unreadable(path: str, reason: str) -> InputError:
    refuse_compressed(path, "an MRC file as it is")
    return InputError(
        path,
        f"no readable MRC data ({reason})",
        "a complete MRC file",
        "Copy the file again or write it anew.",
    )


def stack_shape(path: str | Path) -> tuple[int, int, int]:
    """The shape of an image stack.

    Args:
        path: An MRC file; a single image counts as a stack of one.

    Returns:
        Number of images, rows, columns.

    Raises:
        InputError: If the file is missing or is not a complete MRC file.
    """
    mrc, data = _mapped(path)
    axes = _axes(path, mrc.header)
    if axes != (3, 2, 1):
        way_out = "Write the stack again with a program that knows axes."
        raise InputError(path, f"axes {axes[::-1]} in its header", AXES, way_out)
    return (1, *data.shape) if data.ndim == 2 else data.shape[-3:]


def stack_pixel_size(path: str | Path) -> float:
    """The pixel size that a stack's header states.

    Args:
        path: An MRC file.

    Returns:
        Pixel size in Å; 0 if the header does not say.

    Raises:
        InputError: If the file is missing, is not a complete MRC file, or has pixels that are not
            square.
    """
    return _pixel_size(path, _mapped(path).mrc, "xy")


def _pixel_size(path: str | Path, mrc: MrcMemmap, axes: str) -> float:
    with np.errstate(divide="ignore", invalid="ignore"):
        sizes = np.array([abs(float(mrc.voxel_size[axis])) for axis in axes])
    if (sizes == 0).any() or not np.isfinite(sizes).all():
        return float(sizes[0]) if not np.isfinite(sizes[0]) else 0.0
    if np.ptp(sizes) > PIXEL_SIZE_TOLERANCE * sizes[0]:
        found = " x ".join(f"{size:.4g}" for size in sizes)
        way_out = "Rescale it, or correct its header."
        raise InputError(path, f"pixels of {found} Å", "equal sides", way_out)
    return float(sizes[0])


def read_images(path: str | Path, indices: np.ndarray) -> np.ndarray:
    """Read some images of a stack.

    Args:
        path: An MRC file.
        indices: Zero-based positions in the stack.

    Returns:
        Images as float32, in the order of `indices`.

    Raises:
        InputError: If the file is missing or is not a complete MRC file.
    """
    data = _mapped(path).data
    stack = data[None] if data.ndim == 2 else data
    images = np.asarray(stack[indices], dtype=np.float32)
    release(data)
    return images


def release(data: np.ndarray) -> None:
    """Let go of the pages that were read: they stay in the system's cache, not in the process."""
    mapping = data.base
    if isinstance(mapping, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        mapping.madvise(mmap.MADV_DONTNEED)


def read_volume(path: str | Path) -> tuple[np.ndarray, float]:
    """Read a volume.

    Args:
        path: An MRC file.

    Returns:
        Voxels as float32 in the order z, y, x, and the pixel size in Å.

    Raises:
        InputError: If the file is missing, incomplete or not a volume, or its header has no grid.
    """
    mrc, data = _mapped(path)
    if data.ndim != 3:
        raise InputError(
            path, f"{data.ndim} dimensions", "a volume", "Give a three-dimensional map."
        )
    pixel_size = _pixel_size(path, mrc, "xyz")
    if not np.isfinite(pixel_size):
        raise InputError(
            path,
            f"a pixel size of {pixel_size}",
            "a cell and a grid that are not zero",
            "Set them in its header.",
        )
    axes = _axes(path, mrc.header)
    _check_place(path, mrc.header, data.shape, pixel_size)
    volume = data.transpose([axes.index(axis) for axis in (3, 2, 1)])
    return np.array(volume, dtype=np.float32, order="C"), pixel_size


def _check_place(
    path: str | Path, header: Any, shape: tuple[int, ...], pixel_size_angstrom: float
) -> None:
    """Make sure that a map lies where maps of its box do, and that its axes are at right angles."""
    angles = [float(header.cellb[name]) for name in ("alpha", "beta", "gamma")]
    if any(angle not in (0, 90) for angle in angles):
        found = "a cell with angles of " + ", ".join(f"{angle:g}" for angle in angles)
        raise InputError(path, found, "right angles", REWRITE)
    start = np.array([header.nzstart, header.nystart, header.nxstart], dtype=float)
    origin = np.array([float(header.origin[axis]) for axis in "zyx"])
    middle = -(np.array(shape) // 2)
    # without a pixel size an origin in Å says nothing
    places = {"start": start, "origin": origin / pixel_size_angstrom if pixel_size_angstrom else 0}
    for word, place in places.items():
        if not any(np.abs(place - usual).max() < 0.5 for usual in (0, middle)):
            found = "a {} of {:g}, {:g}, {:g} voxels".format(word, *place[::-1])
            raise InputError(path, found, FRAME, REWRITE)


def read_mask(path: str | Path, box: int, pixel_size_angstrom: float) -> np.ndarray:
    """Read a mask and check that it fits.

    Args:
        path: An MRC file.
        box: Side that it must have, in voxels.
        pixel_size_angstrom: Pixel size that it must have within one per cent, in Å; a header that
            says nothing (zero) is believed.

    Returns:
        Values from 0 to 1 as float32 in the order z, y, x.

    Raises:
        InputError: If the file is no volume, or box, pixel size or values do not fit.
    """
    mask, pixel_size = read_volume(path)
    if mask.shape != (box,) * 3:
        found = " x ".join(map(str, mask.shape))
        raise InputError(
            path,
            f"a mask of {found} voxels",
            f"{box} x {box} x {box}, as the images",
            "Rescale or crop the mask to the images' box.",
        )
    if pixel_size != 0 and not abs(pixel_size / pixel_size_angstrom - 1) < PIXEL_SIZE_TOLERANCE:
        raise InputError(
            path,
            f"a pixel size of {pixel_size:.4g} Å",
            f"{pixel_size_angstrom:.4g} Å, as the images",
            "Rescale the mask, or correct its header.",
        )
    # not finite is not within either
    if not (np.abs(mask - 0.5) <= 0.5 + RANGE_TOLERANCE).all():
        raise InputError(
            path,
            f"values from {mask.min():.4g} to {mask.max():.4g}",
            "values from 0 to 1",
            "Give a mask, not a map.",
        )
    if not (mask > 0.5).any():
        raise InputError(
            path, "no voxel above 0.5", "a mask that keeps something", "Make the mask again."
        )
    return mask.clip(0, 1)


def write_volume(path: str | Path, volume: np.ndarray, pixel_size_angstrom: float) -> None:
    """Write a volume.

    Args:
        path: Where to write; an existing file is replaced.
        volume: Voxels in the order z, y, x.
        pixel_size_angstrom: Pixel size, in Å.
    """
    with mrcfile.new(path, overwrite=True) as mrc:
        mrc.header["label"][0] = LABEL  # pyright: ignore
        mrc.set_data(np.ascontiguousarray(volume, dtype=np.float32))
        mrc.voxel_size = pixel_size_angstrom


def _reserve(path: Path) -> None:
    """Take a file's room on the disk now: a map of a full disk kills the process that writes."""
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as stream:
            os.posix_fallocate(stream.fileno(), 0, path.stat().st_size)


@contextmanager
def new_stack(
    path: str | Path, shape: tuple[int, int, int], pixel_size_angstrom: float
) -> Iterator[np.ndarray]:
    """Create an image stack on disk and fill it through a memory map.

    Args:
        path: Where to write; an existing file is replaced.
        shape: Number of images, rows, columns.
        pixel_size_angstrom: Pixel size, in Å.

    Yields:
        A writable float32 array of that shape.
    """
    with mrcfile.new_mmap(path, shape=shape, mrc_mode=2, overwrite=True) as mrc:
        _reserve(Path(path))
        mrc.header["label"][0] = LABEL  # pyright: ignore
        yield cast(np.ndarray, mrc.data)
        mrc.set_image_stack()
        mrc.voxel_size = pixel_size_angstrom
        _describe(cast(np.recarray, mrc.header), cast(np.ndarray, mrc.data))


def _describe(header: np.recarray, images: np.ndarray) -> None:
    """Put extremes, mean and deviation into a header, a few images at a time."""
    low, high, total, square = np.inf, -np.inf, 0.0, 0.0
    for start in range(0, len(images), AT_ONCE):
        part = images[start : start + AT_ONCE].astype(np.float64)
        low, high = min(low, part.min()), max(high, part.max())
        total, square = total + part.sum(), square + np.vdot(part, part)
    mean = total / images.size
    header.dmin, header.dmax, header.dmean = low, high, mean
    header.rms = max(square / images.size - mean**2, 0.0) ** 0.5
