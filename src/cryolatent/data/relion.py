"""RELION's particle STAR files: images, poses and optics of every particle."""

from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int

from cryolatent.data.particle_file import ParticleFile
from cryolatent.data.relion_optics import (
    magnification_of,
    optics_of,
    phases_of,
    pixel_sizes_angstrom,
    refuse_unsupported,
)
from cryolatent.data.stacks import ImageNames, unique_ids
from cryolatent.errors import InputError
from cryolatent.io import StarTable, read_star, split_image_names
from cryolatent.physics import CTF, Poses

ANGLES = ("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi")
PARTICLE = "rlnTomoParticleName"
IMAGES = "particle images, one of them a particle"


class RelionFile(ParticleFile):
    """A STAR file of RELION 3.0 or later.

    Args:
        path: The file.
        mixed: Whether its images may be of several boxes.

    Raises:
        InputError: If it is no STAR file of particles, or says something that is not modelled.
    """

    group_columns = ("rlnMicrographName", "rlnGroupName", "rlnGroupNumber", "rlnOpticsGroup")

    def __init__(self, path: Path, mixed: bool = False) -> None:
        super().__init__(path)
        self.table: StarTable = read_star(path)
        _refuse_tilt_series(self.table)
        refuse_unsupported(self.table)
        if not mixed:
            _one_image_size(self)

    @cached_property
    def names(self) -> ImageNames:
        """The images that rlnImageName names."""
        column = self.table.strings("rlnImageName").astype(str)
        index, files = split_image_names(column.to_numpy(dtype=np.str_))
        bad = np.flatnonzero(index < 0)
        if len(bad):
            raise InputError(
                self.path,
                f"rlnImageName = {column.iloc[bad[0]]}",
                "a positive number, @ and a file",
                "Correct the row.",
                row=f"particle row {bad[0] + 1}",
            )
        box = self.table.numbers("rlnImageSize") if "rlnImageSize" in self.table else None
        return ImageNames(self.path, files, index, box=box)

    @property
    def ids(self) -> np.ndarray:
        """The image names, numbered where they repeat."""
        return unique_ids(self.table.strings("rlnImageName").astype(str).tolist())

    @property
    def particles(self) -> np.ndarray | None:
        """The column rlnTomoParticleName, of which several rows may name one particle."""
        return self.labels(PARTICLE)

    @property
    def half_set(self) -> Int[np.ndarray, " n"]:
        """The column rlnRandomSubset."""
        return self.table.numbers("rlnRandomSubset", 0.0).astype(int)

    def ctf(self) -> CTF:
        """Defocus and optics of every particle; see `optics_of`."""
        return optics_of(self.table)

    def phases(self) -> Float[np.ndarray, "n 6"] | None:
        """Beam tilt and odd Zernike polynomials."""
        return phases_of(self.table)

    def magnification(self) -> Float[np.ndarray, "n 2 2"] | None:
        """The matrices rlnMagMat00 ... rlnMagMat11."""
        return magnification_of(self.table)

    def poses(self) -> Poses:
        """Angles and origins."""
        table = self.table
        angles = np.stack([table.numbers(column) for column in ANGLES], axis=-1)
        origins = [
            table.numbers(f"rlnOrigin{axis}Angst")
            if f"rlnOrigin{axis}Angst" in table
            else table.numbers(f"rlnOrigin{axis}", 0.0) * pixel_sizes_angstrom(table)
            for axis in "XY"
        ]
        shifts = torch.from_numpy(np.stack(origins, axis=-1)).float()
        return Poses.from_relion(torch.from_numpy(angles).float(), shifts)

    def labels(self, column: str) -> np.ndarray | None:
        """A column of the particles as text."""
        if column not in self.table.particles:
            return None
        return self.table.strings(column).astype(str).to_numpy(dtype=np.str_)

    def group(self, particle: int) -> str:
        """The optics group, if the file has them."""
        row = super().group(particle)
        if "rlnOpticsGroup" not in self.table.particles:
            return row
        return f"optics group {self.table.particles['rlnOpticsGroup'].iloc[particle]}, {row}"


def _refuse_tilt_series(table: StarTable) -> None:
    """What tomography programs write for particles that were seen in several tilted images."""
    for column, bad, found in (
        ("rlnImageDimensionality", 3, "subtomograms"),
        ("rlnTomoSubTomosAre2DStacks", 1, "stacks of tilted images"),
    ):
        if column in table and (table.numbers(column) == bad).any():
            raise _tilted(table, f"{found} ({column} = {bad})")
    if "rlnTomoVisibleFrames" in table:
        raise _tilted(table, "stacks of tilted images (rlnTomoVisibleFrames)")
    for column in ("rlnMicrographName", "rlnTomoName"):
        if column in table:
            names = table.strings(column).astype(str)
            if names.str.endswith(".tomostar").any():
                raise _tilted(table, f"tilted images of Warp or M ({column} = {names.iloc[0]})")
    if _has_doses(table):
        raise _tilted(table, "tilted images (a B-factor for each image of rlnGroupName)")


def _has_doses(table: StarTable) -> bool:
    """Whether groups have a stack each and a B-factor for each image, as M writes particles."""
    if "rlnGroupName" not in table or "rlnCtfBfactor" not in table:
        return False
    group, stack = (
        pd.factorize(table.strings(column).astype(str).str.rpartition("@")[2])[0]
        for column in ("rlnGroupName", "rlnImageName")
    )
    several = np.bincount(group)[group] > 2
    pairs = (
        np.unique(np.stack([group, other], axis=1)[several], axis=0)
        for other in (stack, table.numbers("rlnCtfBfactor"))
    )
    stacks, doses = (len(found) for found in pairs)
    groups = len(np.unique(group[several]))
    return 0 < groups == stacks and doses == int(several.sum())


def _tilted(table: StarTable, found: str) -> InputError:
    return InputError(table.path, found, IMAGES, "Extract two-dimensional particle images.")


def _one_image_size(file: RelionFile) -> None:
    if "rlnImageSize" not in file.table:
        return
    sizes = file.table.numbers("rlnImageSize")
    other = np.flatnonzero(sizes != sizes[0])
    if len(other):
        at = int(other[0])
        raise InputError(
            file.path,
            f"boxes of {sizes[0]:.0f} pixels ({file.group(0)}) and {sizes[at]:.0f} "
            f"({file.group(at)})",
            "one box",
            "Bring the particles to one box and pixel size with cryolatent prepare.",
        )
