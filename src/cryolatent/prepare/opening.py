"""Particles as they are, of any boxes and pixel sizes, before anything is known to be right."""

import warnings
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int

from cryolatent.data.cryodrgn import read_ctf, read_indices, read_poses
from cryolatent.data.door import Tables, is_packed, particle_file
from cryolatent.data.images import TrimmedImages
from cryolatent.data.magnification import corrected_images, unmagnified_poses
from cryolatent.data.places import STILL, Moves
from cryolatent.data.scale import fitting_scale, scaled
from cryolatent.data.stack import ParticleStack
from cryolatent.data.stacks import ImageNames, open_mixed_stacks, warn_of_headers
from cryolatent.data.units import refuse_wrong_units
from cryolatent.errors import InputError, InputWarning
from cryolatent.physics import CTF, Poses
from cryolatent.prepare.resample import Frame, Part, ResampledImages

PIXEL_DIGITS = 4


@dataclass(frozen=True)
class Opened:
    """Particles of a file, one image each, not checked.

    Args:
        source: The particle file.
        tables: The files whose content makes the particles, images excepted.
        names: The image that each particle names.
        ids: Particle names.
        half_set: As in `ParticleStack`.
        poses: Poses, which may be no rotations.
        ctf: Transfer functions, with the pixel sizes of the images as they are.
        parts: Images of one box and pixel size each.
        part: For each particle, its part.
        position: For each particle, its image's place in the part.
        rows: For each particle, its row in the source.
        particles: For each image the name of its particle; None if each is a particle of its own.
        noise_groups: As in `ParticleStack`.
    """

    source: Path
    tables: tuple[Path, ...]
    names: ImageNames
    ids: np.ndarray
    half_set: np.ndarray
    poses: Poses
    ctf: CTF
    parts: tuple[Part, ...]
    part: np.ndarray
    position: np.ndarray
    rows: np.ndarray
    particles: np.ndarray | None = None
    noise_groups: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def side_angstrom(self) -> np.ndarray:
        """Side of each image, in Å."""
        return np.array([part.frame.side_angstrom for part in self.parts])[self.part]

    def select(self, chosen: Int[np.ndarray, " m"]) -> "Opened":
        """Some of the particles.

        Args:
            chosen: Which, in the order wanted.

        Returns:
            The same of these alone.
        """
        index = torch.from_numpy(chosen)
        names = ImageNames(
            self.names.source, self.names.files[chosen], self.names.index[chosen], self.names.what
        )
        arrays = ("ids", "half_set", "part", "position", "rows")
        return replace(
            self,
            names=names,
            poses=self.poses[index],
            ctf=self.ctf[index],
            **{name: getattr(self, name)[chosen] for name in arrays},
            particles=None if self.particles is None else self.particles[chosen],
            noise_groups=None if self.noise_groups is None else self.noise_groups[chosen],
        )

    def stack(self, frame: Frame) -> ParticleStack:
        """The particles at one box and pixel size.

        Args:
            frame: Box and pixel size.

        Returns:
            A stack whose images are resampled as they are read.

        Raises:
            InputError: If a pose is no rotation.
        """
        boxes = [part.frame.box for part in self.parts]
        # within one field of view pixel sizes may differ a little, and are kept
        scale = torch.tensor([box / frame.box for box in boxes], dtype=torch.float64)[self.part]
        same = torch.tensor([part.frame.same_field(frame) for part in self.parts])[self.part]
        own = self.ctf.pixel_size_angstrom
        pixel = torch.where(same, own.double() * scale, frame.pixel_size_angstrom)
        stack = ParticleStack(
            images=ResampledImages(frame.box, frame, self.parts, self.part, self.position),
            poses=self.poses,
            ctf=replace(self.ctf, pixel_size_angstrom=pixel.to(own.dtype)),
            ids=self.ids,
            offsets=torch.arange(len(self) + 1),
            source=self.source,
            source_rows=self.rows,
            half_set=self.half_set,
            tables=self.tables,
            noise_groups=self.noise_groups,
        )
        return stack if self.particles is None else stack.grouped(self.particles)


def open_mixed(
    path: Path,
    *,
    datadir: Path | None = None,
    invert_contrast: bool = False,
    tables: Tables | None = None,
    relocate: Moves = STILL,
) -> Opened:
    """Open a particle file whose images may differ in box and pixel size.

    Args:
        path: As in `open_particles`, but no packed folder.
        datadir: As in `open_particles`.
        invert_contrast: As in `open_particles`.
        tables: As in `open_particles`.
        relocate: As in `open_particles`.

    Returns:
        The particles; no image has been read, and no pose or defocus judged. Images of an odd box
        are read without their last row and column, images of an odd unit as `open_particles` does.

    Raises:
        InputError: If anything needed is missing, contradictory or not supported.
    """
    tables = tables or Tables()
    if is_packed(path):
        raise InputError(path, "a folder", "a particle file", "Pack the file it came from anew.")
    file = particle_file(path, datadir, tables, mixed=True, moves=relocate)
    count = len(file.names)
    sign = -file.sign if invert_contrast else file.sign
    by_box, _ = open_mixed_stacks(file.names, datadir, sign, relocate)
    box = np.zeros(count, dtype=np.int64)
    for side, (rows, _images) in by_box.items():
        box[rows] = side
    own = tables.ctf is None
    ctf = file.ctf() if own else read_ctf(Path(tables.ctf or ""), count, box)
    refuse_wrong_units(file.path if own else Path(tables.ctf or ""), ctf)
    pixel = ctf.pixel_size_angstrom.double().numpy()
    phases, matrices = file.phases() if own else None, file.magnification()
    parts, part, position = [], np.zeros(count, dtype=np.int64), np.zeros(count, dtype=np.int64)
    for side, (rows, images) in by_box.items():
        warn_of_headers(file.path, images, pixel[rows])
        its_matrices = None if matrices is None else matrices[rows]
        its_phases = None if phases is None else phases[rows]
        even = side - side % 2
        if side != even:
            _say_trimmed(file.path, side)
        stored = images if side == even else TrimmedImages(even, images)
        source = corrected_images(stored, its_matrices, its_phases, pixel[rows])
        sizes = np.round(pixel[rows], PIXEL_DIGITS)
        for size in np.unique(sizes):
            here = np.flatnonzero(sizes == size)
            part[rows[here]] = len(parts)
            position[rows[here]] = np.arange(len(here))
            frame = Frame(even, float(pixel[rows[here[0]]]))
            parts.append(Part(source.select(here), frame))
    scale = fitting_scale(parts[0].images, file.path)
    parts = [Part(scaled(part.images, scale), part.frame) for part in parts]
    side_angstrom = torch.from_numpy(box * pixel).float()
    poses = (
        file.poses()
        if tables.poses is None
        else read_poses(tables.poses, count, side_angstrom, checked=False)
    )
    opened = Opened(
        source=file.path,
        tables=tuple(dict.fromkeys((*file.tables, *tables.given))),
        names=file.names,
        ids=file.ids,
        half_set=file.half_set,
        poses=unmagnified_poses(poses, matrices),
        ctf=ctf,
        parts=tuple(parts),
        part=part,
        position=position,
        rows=np.arange(count),
        particles=file.particles,
        noise_groups=file.noise_groups(),
    )
    if tables.ind is None:
        return opened
    return opened.select(read_indices(tables.ind, count).numpy())


def _say_trimmed(source: Path, side: int) -> None:
    warnings.warn(
        f"{source}: images of {side} x {side} pixels are read without their last row and column; "
        f"the centre, pixel {side // 2}, stays",
        InputWarning,
        stacklevel=3,
    )
