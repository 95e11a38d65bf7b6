"""cryoDRGN's project files: image stacks with pickles of poses, transfer functions and indices."""

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from cryolatent.data.particle_file import ParticleFile
from cryolatent.data.places import STILL, Moves
from cryolatent.data.stack import ROTATION_TOLERANCE
from cryolatent.data.stacks import ImageNames, locate_stack
from cryolatent.errors import InputError
from cryolatent.io import read_pickles, stack_shape
from cryolatent.physics import CTF, Poses, rotation_defect

CTF_COLUMNS = 9
LARGEST = 2**62
SAME = "Give the files that were made from the same particles."


class ImageList(ParticleFile):
    """Images alone: a stack, or a text file that names one stack per line.

    Args:
        path: An ``.mrcs``, ``.mrc`` or ``.txt`` file.
        datadir: Folder that the text file's names are relative to, if not its own.
        moves: Where folders are now that absolute names mean.

    Raises:
        InputError: If the text file is missing or names nothing.
    """

    def __init__(self, path: Path, datadir: str | Path | None = None, moves: Moves = STILL) -> None:
        super().__init__(path)
        self.datadir, self.moves = datadir, moves

    @cached_property
    def names(self) -> ImageNames:
        """All images of all stacks."""
        stacks = _lines(self.path) if self.path.suffix.lower() == ".txt" else [self.path.name]
        counts = []
        for line, name in enumerate(stacks):
            place = "the line", f"line {line + 1}"
            found = locate_stack(self.path, name, self.datadir, *place, self.moves)
            counts.append(stack_shape(found.path)[0])
        index = np.concatenate([np.arange(count) for count in counts])
        files = np.repeat(np.array(stacks, dtype=object), counts)
        return ImageNames(self.path, files, index, "the line")

    @property
    def tables(self) -> tuple[Path, ...]:
        """The text file, if it is one."""
        return (self.path,) if self.path.suffix.lower() == ".txt" else ()

    def ctf(self) -> CTF:
        """Images know nothing of the microscope."""
        raise self._incomplete("transfer functions", '`ctf="ctf.pkl"`')

    def poses(self) -> Poses:
        """Images know nothing of their poses."""
        raise self._incomplete("poses", '`poses="poses.pkl"`')

    def _incomplete(self, what: str, option: str) -> InputError:
        return InputError(
            self.path,
            f"images without {what}",
            f"{option}, or a .star or .cs file",
            "Give cryoDRGN's file, or the particle file of a refinement.",
        )


def _lines(path: Path) -> list[str]:
    try:
        text = path.read_text()
    except (OSError, ValueError) as error:
        raise InputError(
            path,
            f"no text in UTF-8 ({error})",
            "a list of image stacks, one per line",
            "Check the name, or save it as UTF-8.",
        ) from None
    found = [line.strip() for line in text.splitlines() if line.strip()]
    if not found or "\0" in text:
        raise InputError(path, "no names", "a list of image stacks", "Name one stack per line.")
    return found


def read_poses(
    path: str | Path, count: int, side_angstrom: Float[Tensor, " n"], *, checked: bool = True
) -> Poses:
    """Read cryoDRGN's ``poses.pkl``.

    Args:
        path: A pickle of rotations (n, 3, 3) and displacements (n, 2), or of rotations alone.
        count: Number of images.
        side_angstrom: Side of each image, in Å, of which displacements are fractions.
        checked: Whether to refuse what is no rotation, and displacements beyond the image.

    Returns:
        The poses.

    Raises:
        InputError: If the file does not fit the images, a pose is not finite or no rotation, or a
            displacement is half the box or more.
    """
    what = f"poses.pkl of {count} particles"
    found = _one(path, what)
    parts = found if isinstance(found, tuple | list) else [found]
    rotations = _array(path, parts[0] if parts else None, (count, 3, 3), "rotations")
    shifts = np.zeros((count, 2))
    if len(parts) > 1:
        shifts = _array(path, parts[1], (count, 2), "displacements")
    bad = torch.nonzero(rotation_defect(torch.from_numpy(rotations)) >= ROTATION_TOLERANCE)
    if checked and len(bad):
        row = int(bad[0, 0])
        raise InputError(
            path,
            f"a pose that is no rotation ({rotations[row].round(4).ravel().tolist()})",
            "an orthonormal matrix with determinant +1",
            "Make the file again, or remove the particle from every file.",
            row=f"row {row + 1}",
        )
    far = np.flatnonzero((np.abs(shifts) >= 0.5).any(axis=1))
    if checked and len(far):
        raise InputError(
            path,
            f"a displacement of {shifts[far[0]].round(4).tolist()}",
            "fractions of the box, below 0.5",
            "Divide displacements in pixels by the box, or remove the particle from every file.",
            row=f"row {far[0] + 1}",
        )
    return Poses.from_cryodrgn(
        torch.from_numpy(rotations).float(), torch.from_numpy(shifts).float(), side_angstrom
    )


def read_ctf(path: str | Path, count: int, box: int | Int[np.ndarray, " n"]) -> CTF:
    """Read cryoDRGN's ``ctf.pkl``.

    Args:
        path: A pickle of n rows: box, Å per pixel, defocus U and V in Å, angle in degrees, kV, Cs
            in mm, amplitude contrast, phase shift in degrees.
        count: Number of images.
        box: Side of the images, or of each image, in pixels; pixel sizes are converted if the
            file's box is another, as in a stack that was downsampled.

    Returns:
        The transfer functions.

    Raises:
        InputError: If the file does not fit the images, or a number is out of range.
    """
    rows = _array(path, _one(path, f"ctf.pkl of {count} particles"), (count, CTF_COLUMNS), "CTFs")
    side, pixel, u, v, angle, voltage, cs, amplitude, phase = rows.T
    for name, values, good, expected in (
        ("box", side, side > 0, "a positive number"),
        ("pixel size", pixel, pixel > 0, "a positive number"),
        ("voltage", voltage, voltage > 0, "a positive number"),
        ("amplitude contrast", amplitude, (amplitude >= 0) & (amplitude <= 1), "0 to 1"),
    ):
        bad = np.flatnonzero(~good)
        if len(bad):
            raise InputError(
                path,
                f"{name} = {values[bad[0]]}",
                expected,
                "Make the file again.",
                row=f"row {bad[0] + 1}",
            )
    columns = (u, v, angle, voltage, cs, amplitude, phase, pixel * side / box)
    return CTF(*(torch.from_numpy(np.ascontiguousarray(c)).float() for c in columns))


def read_indices(path: str | Path, count: int) -> Int[Tensor, " n"]:
    """Read a selection of particles.

    Args:
        path: cryoDRGN's ``ind.pkl``, or an ``.npy``, of whole numbers counted from zero.
        count: Number of particles to choose from.

    Returns:
        The selection, in its order.

    Raises:
        InputError: If it is no such list, is empty, or names a particle twice or one that is not
            there.
    """
    what = f"a list of particles from 0 to {count - 1}"
    found = _load_npy(path, what) if Path(path).suffix == ".npy" else _one(path, what)
    if isinstance(found, list | tuple):
        whole = [_whole(entry) for entry in found]
        found = None if None in whole else np.array(whole, dtype=np.int64)
    if not isinstance(found, np.ndarray) or found.ndim != 1 or found.dtype.kind not in "iu":
        is_mask = isinstance(found, np.ndarray) and found.dtype.kind == "b"
        raise InputError(
            path,
            "a mask of true and false" if is_mask else "no list of whole numbers",
            what,
            "Write numpy.flatnonzero(mask) instead." if is_mask else "Write it again.",
        )
    if len(found) == 0:
        raise InputError(path, "no particles", what, "Check the selection.")
    copies = np.ones(len(found), dtype=bool)
    copies[np.unique(found, return_index=True)[1]] = False
    outside = (found < 0) | (found >= count)
    for bad, twice in ((outside, ""), (copies, " twice")):
        if bad.any():
            at = int(np.flatnonzero(bad)[0])
            raise InputError(
                path, f"particle {found[at]}{twice}", what, SAME, row=f"entry {at + 1}"
            )
    return torch.from_numpy(found.astype(np.int64))


def _whole(entry: Any) -> int | None:
    """A whole number of Python or of NumPy; None if it is none, or too large."""
    if isinstance(entry, np.ndarray) and entry.ndim == 0 and entry.dtype.kind in "iu":
        entry = entry.item()
    return entry if type(entry) is int and abs(entry) < LARGEST else None


def read_latents(path: str | Path) -> tuple[Float[np.ndarray, "n z"], Float[np.ndarray, "n z"]]:
    """Read cryoDRGN's ``z.pkl``: two consecutive pickles.

    Args:
        path: The file.

    Returns:
        Means and log variances of the particles' latents.

    Raises:
        InputError: If it is no such file.
    """
    found = read_pickles(path, "z.pkl")
    shape = found[0].shape if isinstance(found[0], np.ndarray) else ()
    if len(found) != 2 or len(shape) != 2:
        raise InputError(
            path,
            f"{len(found)} arrays, the first of shape {shape}",
            "two arrays of means and log variances",
            "Give the z.pkl of a finished epoch.",
        )
    mean, log_variance = (_array(path, part, shape, "latents") for part in found)
    return mean, log_variance


def _one(path: str | Path, what: str) -> Any:
    found = read_pickles(path, what)
    if len(found) != 1:
        raise InputError(path, f"{len(found)} pickles", what, "Give the right file.")
    return found[0]


def _load_npy(path: str | Path, what: str) -> np.ndarray:
    try:
        with Path(path).open("rb") as stream:
            return np.asarray(np.load(stream, allow_pickle=False))
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(path, f"no array ({reason})", what, "Write it with numpy.save.") from None


def _array(path: str | Path, value: Any, shape: tuple[int, ...], what: str) -> np.ndarray:
    """Numbers of a shape, all finite, as float64."""
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "fiu":
        raise InputError(path, f"no array of {what}", f"{what} of shape {shape}", SAME)
    if value.shape != shape:
        raise InputError(path, f"{what} of shape {value.shape}", f"shape {shape}", SAME)
    bad = np.flatnonzero(~np.isfinite(value).reshape(len(value), -1).all(axis=1))
    if len(bad):
        raise InputError(
            path,
            f"{what} that are not finite",
            "finite numbers",
            "Remove the particle from every file.",
            row=f"row {bad[0] + 1}",
        )
    return value.astype(np.float64)
