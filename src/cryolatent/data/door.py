"""The one door: a particle file of any supported program becomes a stack."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from cryolatent.data.cryodrgn import ImageList, read_ctf, read_indices, read_poses
from cryolatent.data.cryosparc import CryosparcFile
from cryolatent.data.magnification import corrected_images, unmagnified_poses
from cryolatent.data.packed import is_packed, open_packed
from cryolatent.data.particle_file import AUTO, ParticleFile
from cryolatent.data.places import STILL, Moves
from cryolatent.data.relion import RelionFile
from cryolatent.data.scale import fitting_scale
from cryolatent.data.stack import ParticleStack
from cryolatent.data.stacks import open_stacks, warn_of_headers
from cryolatent.data.units import refuse_wrong_units
from cryolatent.errors import InputError
from cryolatent.io.compressed import refuse_compressed
from cryolatent.physics import CTF, Poses

PIXEL_SIZE_TOLERANCE = 1e-4
STACKS = (".mrcs", ".mrc", ".txt")


@dataclass(frozen=True)
class Tables:
    """Files that complete or replace what a particle file says.

    Args:
        poses: cryoDRGN's ``poses.pkl``, in place of the file's own poses.
        ctf: cryoDRGN's ``ctf.pkl``, in place of all that the file says of the optics.
        ind: cryoDRGN's ``ind.pkl``, or an ``.npy``: the particles to use, counted from zero.
        passthrough: cryoSPARC's passthrough file, if it is not beside the ``.cs``.
        posed: Whether poses are read; else the file need not have any, and nothing is turned.
    """

    poses: Path | None = None
    ctf: Path | None = None
    ind: Path | None = None
    passthrough: Path | None = None
    posed: bool = True

    @property
    def given(self) -> tuple[Path, ...]:
        """The files that are given."""
        values = (self.poses, self.ctf, self.ind, self.passthrough)
        return tuple(Path(value) for value in values if value is not None)


def open_particles(
    path: str | Path,
    *,
    datadir: str | Path | None = None,
    invert_contrast: bool = False,
    shells: int | None = None,
    symmetry: str = "C1",
    tables: Tables | None = None,
    noise_groups: str = AUTO,
    relocate: Moves = STILL,
) -> ParticleStack:
    """Open a particle file with its image stacks.

    Args:
        path: A folder of ``cryolatent prepare``, a RELION ``.star``, a cryoSPARC ``.cs``, or images
            alone: an ``.mrcs`` or ``.mrc``
            stack or a ``.txt`` list of stacks, which need `tables`.
        datadir: Folder that image names are relative to, if not the file's own; by default the
            working directory.
        invert_contrast: Negate the images, for stacks in which particles are dark.
        shells: Last Fourier shell to use; by default all below Nyquist.
        symmetry: Point group; every particle is expanded into its symmetric copies.
        tables: Further files.
        noise_groups: Column that says which images share their noise; ``auto`` for that of the
            micrographs or else of the groups, ``none`` for one noise of all.
        relocate: Where folders are now that absolute names of stacks mean.

    Returns:
        The particles; of the images nine were read, to see their unit. Rows of a STAR file with one
        ``rlnTomoParticleName`` are observations of one particle; elsewhere each row is a particle.
        Images whose standard deviation is far from 1 are multiplied by a power of two.

    Raises:
        InputError: If anything needed is missing, contradictory or not supported.
    """
    path, tables = Path(path), tables or Tables()
    if is_packed(path):
        stack = open_packed(
            path, invert_contrast=invert_contrast, shells=shells, noise_groups=noise_groups
        )
        stack = _with_tables(stack, tables)
    else:
        file = particle_file(path, datadir, tables, moves=relocate)
        groups = file.noise_groups(noise_groups)
        stack = _open(file, (datadir, relocate), invert_contrast, shells, tables, groups)
    stack = stack.in_unit(fitting_scale(stack.images, path))
    return stack.expanded(symmetry)


def particle_file(
    path: Path,
    datadir: str | Path | None,
    tables: Tables,
    *,
    mixed: bool = False,
    moves: Moves = STILL,
) -> ParticleFile:
    """Read a particle file of any program, without its images.

    Args:
        path: As in `open_particles`, but no packed folder.
        datadir: As in `open_particles`.
        tables: Further files.
        mixed: Whether images may be of several boxes.
        moves: As `relocate` in `open_particles`.

    Returns:
        The file.

    Raises:
        InputError: If it cannot be read.
    """
    suffix = path.suffix.lower()
    if suffix != ".star":
        refuse_compressed(path, "a particle file as it is")
    if suffix == ".csg":
        raise InputError(
            path,
            "a list of the files of a group (.csg)",
            "a .cs file of particles",
            "Give the .cs file that it names as the metafile of alignments3D.",
        )
    if suffix == ".cs":
        return CryosparcFile(path, tables.passthrough)
    if tables.passthrough is not None:
        raise InputError(
            "`passthrough`", str(tables.passthrough), "a .cs file of particles", "Leave it out."
        )
    return ImageList(path, datadir, moves) if suffix in STACKS else RelionFile(path, mixed)


def _with_tables(stack: ParticleStack, tables: Tables) -> ParticleStack:
    """Select from packed particles; poses and transfer functions were packed with them."""
    for name in ("poses", "ctf", "passthrough"):
        given = getattr(tables, name)
        if given is not None:
            raise InputError(
                f"--{name}", str(given), "none beside packed particles", "Give it to prepare."
            )
    if tables.ind is None:
        return stack
    if len(stack) == len(stack.images):
        chosen = stack.select(read_indices(tables.ind, len(stack)))
    else:
        rows = read_indices(tables.ind, len(stack.images))
        chosen = stack.of_images(torch.from_numpy(np.argsort(stack.source_rows))[rows])
    return replace(chosen, tables=(*stack.tables, tables.ind))


def open_star(
    path: str | Path,
    *,
    datadir: str | Path | None = None,
    invert_contrast: bool = False,
    shells: int | None = None,
    symmetry: str = "C1",
) -> ParticleStack:
    """Open a RELION STAR file with its image stacks, whatever its name ends in.

    Args:
        path: The STAR file; it gives images, poses, transfer functions and pixel size.
        datadir: As in `open_particles`.
        invert_contrast: As in `open_particles`.
        shells: As in `open_particles`.
        symmetry: As in `open_particles`.

    Returns:
        The particles, one observation each; no image has been read yet.

    Raises:
        InputError: If anything needed is missing, contradictory or not supported.
    """
    file = RelionFile(Path(path))
    groups = file.noise_groups()
    search = datadir, STILL
    return _open(file, search, invert_contrast, shells, Tables(), groups).expanded(symmetry)


def _open(
    file: ParticleFile,
    search: tuple[str | Path | None, Moves],
    invert_contrast: bool,
    shells: int | None,
    tables: Tables,
    noise_groups: np.ndarray | None,
) -> ParticleStack:
    count = len(file.names)
    sign = -file.sign if invert_contrast else file.sign
    datadir, moves = search
    images, found_in = open_stacks(file.names, datadir, sign, moves)
    _check_shells(file.path, shells, images.box)
    own = tables.ctf is None
    ctf = file.ctf() if own else read_ctf(Path(tables.ctf or ""), count, images.box)
    refuse_wrong_units(file.path if own else Path(tables.ctf or ""), ctf)
    _check_pixel_sizes(file, ctf)
    phases, matrices = file.phases() if own else None, file.magnification()
    pixel_sizes = ctf.pixel_size_angstrom.double().numpy()
    warn_of_headers(file.path, images, pixel_sizes)
    side = images.box * ctf.pixel_size_angstrom
    if not tables.posed:
        poses = Poses.unknown(count)
    else:
        poses = file.poses() if tables.poses is None else read_poses(tables.poses, count, side)
    _check_shifts(file, poses, side)
    stack = ParticleStack(
        images=corrected_images(images, matrices, phases, pixel_sizes),
        poses=unmagnified_poses(poses, matrices),
        ctf=ctf,
        ids=file.ids,
        offsets=torch.arange(count + 1),
        source=file.path,
        source_rows=np.arange(count),
        half_set=file.half_set,
        shells=shells,
        datadir=found_in,
        tables=tuple(dict.fromkeys((*file.tables, *tables.given))),
        noise_groups=noise_groups,
    )
    chosen = None if tables.ind is None else read_indices(tables.ind, count)
    particles = file.particles
    if chosen is not None:
        stack = stack.select(chosen)
        particles = None if particles is None else particles[chosen.numpy()]
    return stack if particles is None else stack.grouped(particles)


def _check_shells(path: Path, shells: int | None, box: int) -> None:
    if shells is not None and not 1 <= shells <= box // 2 - 1:
        raise InputError(
            path,
            f"{shells} shells asked for",
            f"1 to {box // 2 - 1} at box {box}",
            "Leave `shells` out to use all.",
        )


def _check_shifts(file: ParticleFile, poses: Poses, side_angstrom: Float[Tensor, " n"]) -> None:
    reach = poses.shifts_angstrom.abs().amax(dim=-1)
    far = torch.nonzero(reach >= side_angstrom / 2)
    if len(far):
        at = int(far[0, 0])
        raise InputError(
            file.path,
            f"a particle {reach[at]:.1f} Å from the centre",
            f"less than half the box, {side_angstrom[at] / 2:.1f} Å",
            "Correct the origins, or leave such particles out with cryolatent prepare, "
            '`on_bad="drop"`.',
            row=f"particle row {at + 1}",
        )


def _check_pixel_sizes(file: ParticleFile, ctf: CTF) -> None:
    sizes = ctf.pixel_size_angstrom
    other = torch.nonzero((sizes / sizes[0] - 1).abs() > PIXEL_SIZE_TOLERANCE)
    if len(other):
        at = int(other[0, 0])
        raise InputError(
            file.path,
            f"pixel sizes of {sizes[0]:.4f} Å ({file.group(0)}) and {sizes[at]:.4f} Å "
            f"({file.group(at)})",
            "one pixel size",
            "Bring the particles to one pixel size with cryolatent prepare.",
        )
