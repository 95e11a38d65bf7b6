"""A folder of packed particles: its manifest, its images, and the door's part of it."""

import hashlib
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from jaxtyping import Float, Int
from pydantic import BaseModel, ConfigDict, ValidationError

from cryolatent.data.images import ImageSource
from cryolatent.data.particle_file import AUTO, NONE
from cryolatent.data.stack import ParticleStack
from cryolatent.errors import InputError
from cryolatent.io.mrc import release
from cryolatent.physics import CTF, Poses
from cryolatent.progress import Advance, unwatched

MANIFEST, INDEX, IMAGES = "manifest.json", "particles.parquet", "images.npy"
KIND = "packed particles"
AGAIN = "Give the folder of cryolatent prepare, or pack the particles again."
ABERRATIONS = 9


class PackedManifest(BaseModel):
    """What a folder of packed particles says about itself; ``manifest.json``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["packed particles"] = KIND
    """What the folder is."""

    schema_version: Literal[1] = 1
    """Version of the folder's layout."""

    cryolatent_version: str
    """Program version that packed it."""

    source: Path
    """The particle file, as an absolute path."""

    source_sha256: str
    """Hash of the particle file, of the files that complete it, and of its stacks' headers and
    sizes."""

    table_sha256: str
    """Hash of the particle file alone; nothing if it is a stack of images."""

    options: dict[str, Any]
    """Options that decide the content."""

    particles: int
    """Number of particles packed."""

    images: int | None = None
    """Number of images packed, if particles have several."""

    dropped: int
    """Number of particles left out because of a finding."""

    box: int
    """Side of the images, in pixels."""

    pixel_size_angstrom: float
    """Pixel size, in Å."""

    dtype: Literal["float16", "float32"]
    """Type of the images' numbers."""

    contrast_score: float | None
    """Brightness of the particles against the background in phase-flipped images, in standard
    errors; None if there were too few to tell."""

    index_sha256: str
    """Hash of ``particles.parquet``."""

    images_sha256: str
    """Hash of the hashes of the chunks of ``images.npy``."""

    chunk_images: int | None = None
    """Images of a chunk, but for the last; None in folders of before, which are not verified."""


@dataclass(frozen=True)
class PackedImages(ImageSource):
    """Images in a folder of packed particles.

    Args:
        box: Side of every image in pixels.
        path: The file.
        row: For each image, its place in the file.
        sign: +1, or -1 to invert the contrast.
        digest: Hash of the content.
    """

    box: int
    path: Path
    row: np.ndarray
    sign: int
    digest: str

    def __len__(self) -> int:
        return len(self.row)

    def read(self, positions: Int[np.ndarray, " n"]) -> Float[np.ndarray, "n y x"]:
        """Images at some positions, float32, ``[n, y, x]``."""
        stat = self.path.stat()
        mapped = _mapped(self.path, stat.st_mtime_ns, stat.st_size)
        images = mapped[self.row[positions]].astype(np.float32, copy=False)
        release(mapped)
        return images if self.sign == 1 else -images

    def name(self, position: int) -> str:
        """Where an image comes from, for messages."""
        return f"{self.path}, image {self.row[position] + 1}"

    def fingerprint(self) -> bytes:
        """The hash of the images that the manifest holds, and their size."""
        return f"{self.path.stat().st_size} {self.digest}".encode()

    def select(self, positions: Int[np.ndarray, " n"]) -> "PackedImages":
        """The source of some of the images."""
        return PackedImages(self.box, self.path, self.row[positions], self.sign, self.digest)


@lru_cache(maxsize=8)
def _mapped(path: Path, modified_ns: int, size: int) -> np.ndarray:
    return np.load(path, mmap_mode="r", allow_pickle=False)


def is_packed(path: Path) -> bool:
    """Whether a path is to be read as a folder of packed particles.

    Args:
        path: What was given in place of a particle file.

    Returns:
        True for folders, but for those with the name of a particle file.
    """
    if not path.is_dir():
        return False
    named = path.suffix.lower() in (".star", ".cs", ".mrcs", ".mrc", ".txt")
    return not named or (path / MANIFEST).exists()


def read_manifest(folder: Path) -> PackedManifest:
    """Read the manifest of packed particles.

    Args:
        folder: The folder.

    Returns:
        The manifest.

    Raises:
        InputError: If the folder is not finished, or is something else.
    """
    try:
        return PackedManifest.model_validate_json((folder / MANIFEST).read_bytes())
    except OSError:
        unfinished = (folder / "preparing.json").exists()
        found = "an unfinished packing" if unfinished else "a folder without manifest.json"
        way_out = "Give the same cryolatent prepare command again: it continues."
        raise InputError(folder, found, KIND, way_out if unfinished else AGAIN) from None
    except ValidationError:
        raise InputError(folder, "a manifest.json of something else", KIND, AGAIN) from None


def open_packed(
    folder: Path,
    *,
    invert_contrast: bool = False,
    shells: int | None = None,
    noise_groups: str = AUTO,
) -> ParticleStack:
    """Open packed particles.

    Args:
        folder: What ``cryolatent prepare`` wrote.
        invert_contrast: Negate the images (again, if they were negated as they were packed).
        shells: Last Fourier shell to use; by default all below Nyquist.
        noise_groups: ``auto`` for those that were packed, or ``none``.

    Returns:
        The particles; no image has been read yet.

    Raises:
        InputError: If something is missing or was changed.
    """
    if noise_groups not in (AUTO, NONE):
        expected = f"{AUTO} or {NONE} of packed particles"
        raise InputError("`noise_groups`", noise_groups, expected, "Give it to prepare.")
    manifest = read_manifest(folder)
    if shells is not None and not 1 <= shells <= manifest.box // 2 - 1:
        found, expected = f"{shells} shells", f"1 to {manifest.box // 2 - 1}"
        raise InputError("`shells`", found, expected, "Leave it out to use all.")
    count, path = manifest.images or manifest.particles, folder / IMAGES
    try:
        table = pq.read_table(folder / INDEX)
        stat = path.stat()
        images = _mapped(path, stat.st_mtime_ns, stat.st_size)
    # an array file without a byte is an EOFError
    except (OSError, ValueError, EOFError, pa.ArrowException) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(folder, f"unreadable files ({reason})", KIND, AGAIN) from None
    if file_digest(folder / INDEX) != manifest.index_sha256:
        found = f"another {INDEX} than was packed"
        raise InputError(folder, found, f"SHA-256 {manifest.index_sha256[:12]}...", AGAIN)
    shape = (count, manifest.box, manifest.box)
    if images.shape != shape or images.dtype != manifest.dtype or len(table) != count:
        found = f"{len(table)} rows and images of {images.dtype} {images.shape}"
        raise InputError(folder, found, f"{count} and {manifest.dtype} {shape}", AGAIN)
    sign = -1 if invert_contrast else 1
    names = np.array(table["id"].to_pylist(), dtype=np.str_)
    stack = ParticleStack(
        images=PackedImages(manifest.box, path, np.arange(count), sign, manifest.images_sha256),
        poses=_poses(table),
        ctf=_ctf(table),
        ids=names,
        offsets=torch.arange(count + 1),
        source=folder,
        source_rows=np.arange(count),
        half_set=table["half_set"].to_numpy().copy(),
        shells=shells,
        tables=(folder / MANIFEST, folder / INDEX),
        noise_groups=_groups(table) if noise_groups == AUTO else None,
    )
    return stack if manifest.images is None else stack.grouped(names)


def verify_images(folder: Path, progress: Advance = unwatched) -> None:
    """Read all packed images, and make sure that they are what was packed.

    Args:
        folder: What ``cryolatent prepare`` wrote.
        progress: Called with the number of images read.

    Raises:
        InputError: If a byte of them is another.
    """
    manifest, path = read_manifest(folder), folder / IMAGES
    if manifest.chunk_images is None:
        return
    images, whole = np.load(path, mmap_mode="r", allow_pickle=False), hashlib.sha256()
    for first in range(0, len(images), manifest.chunk_images):
        chunk = images[first : first + manifest.chunk_images]
        whole.update(hashlib.sha256(chunk.data).digest())
        progress(first + len(chunk))
        release(images)
    if whole.hexdigest() != manifest.images_sha256:
        found = f"other images than were packed, SHA-256 {whole.hexdigest()[:12]}..."
        raise InputError(path, found, f"{manifest.images_sha256[:12]}...", AGAIN)


def file_digest(path: Path) -> str:
    """Hash a file, if it is there.

    Args:
        path: The file.

    Returns:
        SHA-256 in hexadecimal, or nothing.
    """
    if not path.is_file():
        return ""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def origin_rows(folder: Path) -> Int[np.ndarray, " n"]:
    """For packed particles their rows in the particle file that they were packed from.

    Args:
        folder: What ``cryolatent prepare`` wrote.

    Returns:
        Rows counted from zero.
    """
    return pq.read_table(folder / INDEX, columns=["source_row"])["source_row"].to_numpy()


def index_table(stack: ParticleStack) -> pa.Table:
    """What ``particles.parquet`` holds.

    Args:
        stack: The particles.

    Returns:
        One row per image: name of its particle, place in the source, half-set, pose, transfer
        function.
    """
    _, owner = stack.observations(torch.arange(len(stack)))
    columns: dict[str, Any] = {
        "id": stack.ids[owner.numpy()].tolist(),
        "image": [stack.images.name(row) for row in range(len(stack.images))],
        "source_row": stack.source_rows.astype(np.int64),
        "half_set": stack.half_set[owner.numpy()].astype(np.int64),
    }
    if stack.noise_groups is not None:
        columns["noise_group"] = stack.noise_groups.tolist()
    rotations = stack.poses.rotations.flatten(1).numpy()
    columns |= {f"rotation_{at // 3}{at % 3}": rotations[:, at] for at in range(9)}
    shifts = stack.poses.shifts_angstrom.numpy()
    columns |= {f"shift_{axis}_angstrom": shifts[:, at] for at, axis in enumerate("xy")}
    for field in fields(CTF):
        values = getattr(stack.ctf, field.name)
        if field.name == "aberration" and values is not None:
            columns |= {f"aberration_{at}": values[:, at].numpy() for at in range(ABERRATIONS)}
        elif values is not None:
            columns[field.name] = values.numpy()
    return pa.table(columns)


def _column(table: pa.Table, name: str) -> torch.Tensor:
    return torch.from_numpy(table[name].to_numpy().copy())


def _groups(table: pa.Table) -> np.ndarray | None:
    if "noise_group" not in table.column_names:
        return None
    return np.array(table["noise_group"].to_pylist(), dtype=np.str_)


def _poses(table: pa.Table) -> Poses:
    rotations = [_column(table, f"rotation_{at // 3}{at % 3}") for at in range(9)]
    shifts = [_column(table, f"shift_{axis}_angstrom") for axis in "xy"]
    return Poses(torch.stack(rotations, -1).reshape(-1, 3, 3), torch.stack(shifts, -1))


def _ctf(table: pa.Table) -> CTF:
    names = set(table.column_names)
    parts = {f.name: _column(table, f.name) for f in fields(CTF) if f.name in names}
    if "aberration_0" in names:
        terms = [_column(table, f"aberration_{at}") for at in range(ABERRATIONS)]
        parts["aberration"] = torch.stack(terms, dim=-1)
    return CTF(**parts)
