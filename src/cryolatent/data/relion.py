"""Open a RELION particle STAR file as a stack."""

from pathlib import Path

import numpy as np
import torch

from cryolatent.data.images import MrcImages
from cryolatent.data.stack import ParticleStack
from cryolatent.errors import InputError
from cryolatent.io import StarTable, read_star, split_image_name, stack_shape
from cryolatent.physics import CTF, Poses

ANGLES = ("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi")
NEUTRAL = {
    "rlnBeamTiltX": 0.0,
    "rlnBeamTiltY": 0.0,
    "rlnMagMat00": 1.0,
    "rlnMagMat01": 0.0,
    "rlnMagMat10": 0.0,
    "rlnMagMat11": 1.0,
    "rlnCtfBfactor": 0.0,
    "rlnCtfScalefactor": 1.0,
    "rlnCtfDataAreCtfPremultiplied": 0.0,
}
REFUSED = ("rlnOddZernike", "rlnEvenZernike")


def open_star(
    path: str | Path,
    *,
    datadir: str | Path | None = None,
    invert_contrast: bool = False,
    shells: int | None = None,
    symmetry: str = "C1",
) -> ParticleStack:
    """Open a RELION 3.0 or 3.1 STAR file with its image stacks.

    Args:
        path: The STAR file; it gives images, poses, transfer functions and pixel size.
        datadir: Folder that image names are relative to, if not the STAR file's own; by default
            the working directory.
        invert_contrast: Negate the images, for stacks in which particles are dark.
        shells: Last Fourier shell to use; by default all below Nyquist.
        symmetry: Point group; every particle is expanded into its symmetric copies.

    Returns:
        The particles, one observation each; no image has been read yet.

    Raises:
        InputError: If anything needed is missing, contradictory or not supported.
    """
    table = read_star(path)
    _refuse_unsupported(table)
    elsewhere = Path.cwd() if datadir is None else Path(datadir)
    images, beside = _open_images(table, elsewhere, -1 if invert_contrast else 1)
    pixel_size = pixel_sizes_angstrom(table)
    if np.ptp(pixel_size) > 1e-4 * pixel_size[0]:
        raise InputError(
            table.path,
            f"pixel sizes from {pixel_size.min():.4f} to {pixel_size.max():.4f} Å",
            "one pixel size",
            "Resample the particles to one pixel size first.",
        )
    _check_shells(table, shells, images.box)
    rows = np.arange(len(table))
    stack = ParticleStack(
        images=images,
        poses=_poses(table, pixel_size),
        ctf=_ctf(table, pixel_size),
        ids=unique_ids(table.strings("rlnImageName").astype(str).tolist()),
        offsets=torch.arange(len(table) + 1),
        source=table.path,
        source_rows=rows,
        half_set=table.numbers("rlnRandomSubset", 0.0).astype(int),
        shells=shells,
        datadir=None if beside else elsewhere.resolve(),
    )
    return stack.expanded(symmetry)


def pixel_sizes_angstrom(table: StarTable) -> np.ndarray:
    """Pixel size of each particle, in Å, from the column that the file's version uses.

    Args:
        table: A STAR file's tables.

    Returns:
        rlnImagePixelSize (3.1), or detector pixel size over magnification (3.0).

    Raises:
        InputError: If the file has neither.
    """
    if "rlnImagePixelSize" in table:
        return _positive(table, "rlnImagePixelSize")
    if "rlnPixelSize" in table:
        return _positive(table, "rlnPixelSize")
    if "rlnDetectorPixelSize" in table and "rlnMagnification" in table:
        detector = _positive(table, "rlnDetectorPixelSize")
        return 1e4 * detector / _positive(table, "rlnMagnification")
    raise InputError(
        table.path,
        "no pixel size",
        "rlnImagePixelSize, or rlnDetectorPixelSize and rlnMagnification",
        "Add the column to the particles or to data_optics.",
    )


def _positive(table: StarTable, column: str) -> np.ndarray:
    values = table.numbers(column)
    _require(table, column, values > 0, "a positive number")
    return values


def _share(table: StarTable, column: str) -> np.ndarray:
    values = table.numbers(column)
    _require(table, column, (values >= 0) & (values <= 1), "a number from 0 to 1")
    return values


def _require(table: StarTable, column: str, good: np.ndarray, expected: str) -> None:
    bad = np.flatnonzero(~good)
    if len(bad):
        raise InputError(
            table.path,
            f"{column} = {table.strings(column).iloc[bad[0]]}",
            expected,
            "Correct the column.",
            row=f"particle row {bad[0] + 1}",
        )


def unique_ids(names: list[str]) -> np.ndarray:
    """Make particle names unique by numbering repeats.

    Args:
        names: One per particle.

    Returns:
        The names; second and later copies end in ``#2``, ``#3`` ...
    """
    seen: dict[str, int] = {}
    ids = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        ids.append(name if seen[name] == 1 else f"{name}#{seen[name]}")
    return np.array(ids, dtype=np.str_)


def _refuse_unsupported(table: StarTable) -> None:
    for column, neutral in NEUTRAL.items():
        if column not in table:
            continue
        bad = np.flatnonzero(np.abs(table.numbers(column) - neutral) > 1e-6)
        if len(bad):
            _refuse(table, column, int(bad[0]), str(neutral))
    for column in REFUSED:
        if column in table:
            values = table.strings(column).astype(str)
            bad = np.flatnonzero([_any_nonzero(value) for value in values])
            if len(bad):
                _refuse(table, column, int(bad[0]), "zeros")


def _any_nonzero(value: str) -> bool:
    numbers = value.strip("[] ").replace(",", " ").split()
    return any(number not in ("None", "<NA>", "nan") and float(number) != 0 for number in numbers)


def _refuse(table: StarTable, column: str, row: int, neutral: str) -> None:
    raise InputError(
        table.path,
        f"{column} = {table.strings(column).iloc[row]}",
        f"{neutral}, the only value this version can model",
        "Extract the particles without this correction.",
        row=f"particle row {row + 1}",
    )


def _open_images(table: StarTable, elsewhere: Path, sign: int) -> tuple[MrcImages, bool]:
    """Open the stacks, and say whether all of them were found from the STAR file's folder."""
    index, file_index, names = _image_names(table)
    folders = [table.path.parent, elsewhere]
    files, box = [], 0
    for number, name in enumerate(names):
        rows = np.flatnonzero(file_index == number)
        file = _locate(table, name, folders, int(rows[0]))
        count, height, width = stack_shape(file)
        box = box or width
        if (height, width) != (box, box) or box % 2:
            raise InputError(
                file,
                f"images of {height} x {width} pixels",
                f"square images of one even size (the first stack has {box})",
                "Extract or crop the particles to one even box.",
                row=f"named in {table.path}, particle row {rows[0] + 1}",
            )
        beyond = rows[index[rows] >= count]
        if len(beyond):
            raise InputError(
                table.path,
                f"image {index[beyond[0]] + 1} of {file}",
                f"at most {count}, the number of images in the stack",
                "Give the stack that belongs to this STAR file.",
                row=f"particle row {beyond[0] + 1}",
            )
        files.append(file)
    beside = files == [table.path.parent / name for name in names]
    return MrcImages(box, tuple(files), file_index, index, sign), beside


def _image_names(table: StarTable) -> tuple[np.ndarray, np.ndarray, list[str]]:
    index = np.empty(len(table), dtype=np.int64)
    names: list[str] = []
    for row, name in enumerate(table.strings("rlnImageName").astype(str)):
        try:
            index[row], file = split_image_name(name)
        except ValueError:
            raise InputError(
                table.path,
                f"rlnImageName = {name}",
                "a positive number, @ and a file",
                "Correct the row.",
                row=f"particle row {row + 1}",
            ) from None
        names.append(file)
    unique, file_index = np.unique(names, return_inverse=True)
    return index, file_index, unique.tolist()


def _locate(table: StarTable, name: str, folders: list[Path], row: int) -> Path:
    tried = [folder / name for folder in folders]
    for candidate in tried:
        if candidate.is_file():
            return candidate
    raise InputError(
        table.path,
        f"no image stack at {', '.join(str(path) for path in dict.fromkeys(tried))}",
        "the file that rlnImageName names",
        "Give the folder that the names are relative to with --datadir.",
        row=f"particle row {row + 1}",
    )


def _check_shells(table: StarTable, shells: int | None, box: int) -> None:
    if shells is not None and not 1 <= shells <= box // 2 - 1:
        raise InputError(
            table.path,
            f"{shells} shells asked for",
            f"1 to {box // 2 - 1} at box {box}",
            "Leave --shells out to use all.",
        )


def _poses(table: StarTable, pixel_size: np.ndarray) -> Poses:
    angles = np.stack([table.numbers(column) for column in ANGLES], axis=-1)
    origins = np.stack(
        [
            table.numbers(f"rlnOrigin{axis}Angst")
            if f"rlnOrigin{axis}Angst" in table
            else table.numbers(f"rlnOrigin{axis}", 0.0) * pixel_size
            for axis in "XY"
        ],
        axis=-1,
    )
    return Poses.from_relion(torch.from_numpy(angles).float(), torch.from_numpy(origins).float())


def _ctf(table: StarTable, pixel_size: np.ndarray) -> CTF:
    columns = [
        table.numbers("rlnDefocusU"),
        table.numbers("rlnDefocusV"),
        table.numbers("rlnDefocusAngle", 0.0),
        _positive(table, "rlnVoltage"),
        table.numbers("rlnSphericalAberration"),
        _share(table, "rlnAmplitudeContrast"),
        table.numbers("rlnPhaseShift", 0.0),
        pixel_size,
    ]
    return CTF(*(torch.from_numpy(column).float() for column in columns))
