"""Where images are: the stacks that a particle file names, found and checked."""

import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float, Int, Shaped

from cryolatent.data.images import MrcImages
from cryolatent.data.places import STILL, Moves
from cryolatent.errors import InputError, InputWarning
from cryolatent.io import stack_pixel_size, stack_shape

ANCESTORS = 2
PIXEL_SIZE_TOLERANCE = 0.01


class MissingStackError(InputError):
    """A stack that a particle file names is nowhere."""


class Located(NamedTuple):
    """A stack, whether `datadir` or the working directory led there, and what is odd of that."""

    path: Path
    away: bool
    remark: str | None


@dataclass(frozen=True)
class ImageNames:
    """Images by name, as a particle file gives them.

    Args:
        source: The particle file.
        files: For each image, the stack's name as it stands in `source`.
        index: For each image, its zero-based position in the stack.
        what: The column that names the stacks, for messages.
        box: For each image, the box that `source` states, if it does.
    """

    source: Path
    files: np.ndarray
    index: np.ndarray
    what: str = "rlnImageName"
    box: Shaped[np.ndarray, " n"] | None = None

    def __len__(self) -> int:
        return len(self.index)

    @property
    def ids(self) -> np.ndarray:
        """A unique name for each image, as RELION writes it."""
        numbers = np.char.zfill((self.index + 1).astype(str), 6).tolist()
        files = self.files.tolist()
        return unique_ids([f"{n}@{file}" for n, file in zip(numbers, files, strict=True)])

    def row(self, image: int) -> str:
        """Where an image is named, for messages."""
        return f"particle row {image + 1}"


def unique_ids(names: list[str]) -> np.ndarray:
    """Make particle names unique by numbering repeats.

    Args:
        names: One per particle.

    Returns:
        The names; second and later copies end in ``#2``, ``#3`` ...
    """
    seen: dict[str, int] = {}
    if len(set(names)) == len(names):
        return np.array(names, dtype=np.str_)
    ids = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        ids.append(name if seen[name] == 1 else f"{name}#{seen[name]}")
    return np.array(ids, dtype=np.str_)


def open_stacks(
    names: ImageNames, datadir: str | Path | None, sign: np.ndarray, moves: Moves = STILL
) -> tuple[MrcImages, Path | None]:
    """Find and check the stacks that hold some images.

    A name is looked up from `datadir` first if it is given, whole and then by its last part alone;
    then from the particle file's folder, from that of its target if it is a link, from the working
    directory without `datadir`, and at last from the two folders above the particle file's, as in
    projects of RELION and cryoSPARC. What is surprising about the place is said.

    Args:
        names: The images.
        datadir: Folder that names are relative to, if not the particle file's own.
        sign: For each image, +1, or -1 to invert its contrast.
        moves: Where folders are now that absolute names mean.

    Returns:
        The images, and the folder that was needed to find them, if not the particle file's own.

    Raises:
        InputError: If a stack is missing, is no stack of square images of one even box, is too
            short, or has another box than the particle file states.
    """
    found = _find_stacks(names, datadir, moves)
    _check_boxes(names, found, int(found.shapes[0, 2]))
    of_image = found.codes, names.index, sign.astype(np.float32)
    images = MrcImages(int(found.shapes[0, 2]), found.files, *of_image, found.header_angstrom)
    return images, found.datadir


def open_mixed_stacks(
    names: ImageNames, datadir: str | Path | None, sign: np.ndarray, moves: Moves = STILL
) -> tuple[dict[int, tuple[Int[np.ndarray, " m"], MrcImages]], Path | None]:
    """Find and check stacks of several boxes, odd ones too; see `open_stacks`.

    Args:
        names: The images.
        datadir: Folder that names are relative to, if not the particle file's own.
        sign: For each image, +1, or -1 to invert its contrast.
        moves: Where folders are now that absolute names mean.

    Returns:
        For each box the places of its images among `names`, and these images; and the folder that
        was needed to find them, if not the particle file's own.

    Raises:
        InputError: If a stack is missing, is no stack of square images, is too short, or has
            another box than the particle file states.
    """
    found = _find_stacks(names, datadir, moves)
    _check_boxes(names, found, None)
    box = found.shapes[found.codes, 2]
    parts = {}
    for side in np.unique(box).tolist():
        here = np.flatnonzero(box == side)
        of_image = found.codes[here], names.index[here], sign[here].astype(np.float32)
        parts[side] = here, MrcImages(side, found.files, *of_image, found.header_angstrom)
    return parts, found.datadir


@dataclass(frozen=True)
class _Found:
    """The stacks that some images are in: files, shapes, and the stack of each image."""

    files: tuple[Path, ...]
    codes: Int[np.ndarray, " n"]
    first: Int[np.ndarray, " m"]
    shapes: Int[np.ndarray, "m 3"]
    header_angstrom: Float[np.ndarray, " m"]
    datadir: Path | None


def _find_stacks(names: ImageNames, datadir: str | Path | None, moves: Moves) -> _Found:
    codes, unique = pd.factorize(names.files)
    first = np.unique(codes, return_index=True)[1]
    found = [
        locate_stack(names.source, str(name), datadir, names.what, names.row(int(row)), moves)
        for name, row in zip(unique, first, strict=True)
    ]
    files = tuple(located.path for located in found)
    remarks = [located.remark for located in found if located.remark is not None]
    if remarks:
        more = f" (and so for {len(remarks) - 1} other stacks)" * (len(remarks) > 1)
        warnings.warn(f"{names.source}: {remarks[0]}{more}", InputWarning, stacklevel=2)
    if datadir is not None:
        _refuse_merged(names, Path(datadir), dict(zip(unique.tolist(), files, strict=True)))
    away = Path(datadir or Path.cwd()).resolve() if any(located.away for located in found) else None
    headers = [(stack_shape(file), stack_pixel_size(file)) for file in files]
    shapes, sizes = (np.array(column) for column in zip(*headers, strict=True))
    return _Found(files, np.asarray(codes), first, shapes, sizes.astype(float), away)


def warn_of_headers(
    source: Path, images: MrcImages, pixel_size_angstrom: Float[np.ndarray, " n"]
) -> None:
    """Say if stacks' headers contradict the pixel sizes that a particle file states.

    Args:
        source: The particle file.
        images: The images.
        pixel_size_angstrom: For each image, the pixel size stated.
    """
    said = images.header_angstrom[images.file_index]
    differ = np.abs(said / pixel_size_angstrom - 1) > PIXEL_SIZE_TOLERANCE
    # many programs write 1 where they do not know; downsampled images have larger pixels, never so
    unsaid = (said == 0) | ((said == 1) & (pixel_size_angstrom > 1))
    other = np.flatnonzero(differ & ~unsaid)
    if not len(other):
        return
    at, count = int(other[0]), len(np.unique(images.file_index[other]))
    more = f" (and {count - 1} other stacks)" * (count > 1)
    warnings.warn(
        f"{source}: pixels of {pixel_size_angstrom[at]:.4g} Å, but the header of "
        f"{images.files[images.file_index[at]]}{more} says {said[at]:.4g} Å. The particle file is "
        "believed; if the images were downsampled after it was written, correct its pixel size",
        InputWarning,
        stacklevel=2,
    )


def _refuse_merged(names: ImageNames, datadir: Path, files: dict[str, Path]) -> None:
    """Make sure that no two stacks were taken for one because their last parts agree."""
    seen: dict[Path, str] = {}
    for name, file in files.items():
        if file != datadir / Path(name).name:
            continue
        other = seen.setdefault(file, name)
        if os.path.normpath(datadir / other) != os.path.normpath(datadir / name):
            raise InputError(
                names.source,
                f"{other} and {name}, of which {file} is the only trace",
                "a stack for each name",
                "Keep the stacks in the folders that the names give, below `datadir`.",
            )


def _check_boxes(names: ImageNames, found: _Found, box: int | None) -> None:
    """Make sure that stacks are square and long enough, and of the even box, if one is given."""
    files, shapes, codes = found.files, found.shapes, found.codes
    wanted = shapes[:, 2] if box is None else np.full(len(shapes), box)
    bad = (shapes[:, 1:] != wanted[:, None]).any(axis=1)
    bad |= (shapes[:, 2] < 4) | ((shapes[:, 2] % 2 == 1) & (box is not None))
    if bad.any():
        at = int(np.flatnonzero(bad)[0])
        square = shapes[at, 1] == shapes[at, 2] >= 4
        raise InputError(
            files[at],
            f"images of {shapes[at, 1]} x {shapes[at, 2]} pixels",
            "square images of at least 4 pixels"
            if box is None
            else f"square images of one even size of at least 4 (the first stack, {files[0].name}, "
            f"has {shapes[0, 1]} x {shapes[0, 2]})",
            "Bring the particles to one even box with cryolatent prepare, or extract them in one."
            if square
            else "Extract the particles anew in square boxes.",
            row=f"named in {names.source}, {names.row(int(found.first[at]))}",
        )
    beyond = np.flatnonzero((names.index >= shapes[codes, 0]) | (names.index < 0))
    if len(beyond):
        at = int(beyond[0])
        raise InputError(
            names.source,
            f"image {names.index[at] + 1} of {files[codes[at]]}",
            f"at most {shapes[codes[at], 0]}, the number of images in the stack",
            "Give the stack that belongs to this file.",
            row=names.row(at),
        )
    stated = shapes[codes, 2] if names.box is None else names.box
    other = np.flatnonzero(stated != shapes[codes, 2])
    if len(other):
        at = int(other[0])
        raise InputError(
            names.source,
            f"a box of {stated[at]:g} pixels stated",
            f"{shapes[codes[at], 2]}, as in {files[codes[at]]}",
            "Give the stack that belongs to this file, or correct the file's box and pixel size.",
            row=names.row(at),
        )


def locate_stack(
    source: Path,
    name: str,
    datadir: str | Path | None,
    what: str,
    row: str,
    moves: Moves = STILL,
) -> Located:
    """Find a stack; see `open_stacks` for where.

    Args:
        source: The particle file.
        name: The stack's name as it stands there.
        datadir: Folder that names are relative to, if not the particle file's own.
        what: What names the stack, for messages.
        row: Where it is named, for messages.
        moves: Where folders are now that an absolute name means.

    Returns:
        The stack.

    Raises:
        InputError: If there is no such file, naming every place that was tried.
    """
    absolute = Path(name).is_absolute()
    if absolute:
        tried = dict.fromkeys(moves.places(Path(name)), False)
        tried |= {} if datadir is None else {Path(datadir) / Path(name).name: True}
    else:
        tried = _places(source, name, datadir)
    found = [(place, away) for place, away in tried.items() if _is_file(place)]
    if not found:
        places = ", ".join(map(str, tried))
        way_out = "Give the folder that the names are relative to as `datadir`"
        if absolute:
            way_out += ', or say where a folder is now: `relocate="OLD=NEW"`'
        way_out += "."
        raise MissingStackError(
            source, f"no image stack at {places}", f"the file that {what} names", way_out, row=row
        )
    (taken, away), others = found[0], [place for place, _ in found[1:]]
    remark = None
    if absolute:
        return Located(taken, away, None)
    if datadir is not None and not away and taken != source:
        remark = f"there is no {name} in {datadir} (`datadir`); {taken} is read"
    elif source.is_symlink():
        target = source.resolve().parent / name
        if taken == target:
            remark = f"a link; images are read from the folder of its target, {target}"
        elif target in others and not target.samefile(taken):
            remark = f"a link; {taken} is read, and not {target} beside its target"
    return Located(taken, away, remark)


def _places(source: Path, name: str, datadir: str | Path | None) -> dict[Path, bool]:
    """Where a stack may be, and whether `datadir` or the working directory led there."""
    if source.parent / name == source:
        return {source: False}
    own = [source.parent, source.resolve().parent] if source.is_symlink() else [source.parent]
    above = [parent for folder in own for parent in [*folder.resolve().parents][:ANCESTORS]]
    if datadir is None:
        places = {folder / name: False for folder in own} | {Path.cwd() / name: True}
    else:
        places = {Path(datadir) / name: True, Path(datadir) / Path(name).name: True}
        places |= {folder / name: False for folder in own}
    for folder in above:
        places.setdefault(folder / name, False)
    return places


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that no file can have
        return False
