"""cryoSPARC's particle files: images, poses and optics of every particle."""

import re
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int

from cryolatent.data.particle_file import ParticleFile
from cryolatent.data.stacks import ImageNames
from cryolatent.errors import InputError
from cryolatent.io import read_cs
from cryolatent.physics import CTF, Poses

REFINE = "Give the particles of a refinement, or its passthrough file as `passthrough`."
REPLACE = "Give transfer functions as `ctf` in place of the file's, or correct it in cryoSPARC."
DISTORTED = "Write a STAR file with rlnMagMat00 ... rlnMagMat11, which are read."
JOB = re.compile(r"J\d+(?!\d)")
# field: value that means nothing
REFUSED = {
    "ctf/scale": 1.0,
    "ctf/scale_const": 0.0,
    "ctf/bfactor": 0.0,
    "ctf/shift_A": 0.0,
    "ctf/tilt_A": 0.0,
    "ctf/trefoil_A": 0.0,
    "ctf/tetra_A": 0.0,
    "ctf/anisomag": 0.0,
}


class CryosparcFile(ParticleFile):
    """A ``.cs`` file, completed by a passthrough file of the same particles.

    Args:
        path: The file.
        passthrough: A file of the same ``uid`` that holds the fields that `path` lacks; by default
            the one beside it, as cryoSPARC's jobs leave it.

    Raises:
        InputError: If a file cannot be read, the passthrough file lacks a particle, or the images
            are distorted in a way that is not modelled.
    """

    group_columns = ("location/micrograph_uid", "location/micrograph_path", "ctf/exp_group_id")

    def __init__(self, path: Path, passthrough: Path | None = None) -> None:
        super().__init__(path)
        self.records = read_cs(path)
        self.given = passthrough
        # a distortion of the image remains where `ctf` replaces the optics
        self._refuse("ctf/anisomag")

    def __len__(self) -> int:
        return len(self.records)

    @cached_property
    def further(self) -> list[tuple[Path, np.ndarray]]:
        """Passthrough files, their records in the order of the particles."""
        if self.given is not None:
            rows, records = self._matched(self.given)
            missing = np.flatnonzero(rows < 0)
            if len(missing):
                raise InputError(
                    self.given,
                    f"no particle with uid {self.records['uid'][missing[0]]} "
                    f"({len(missing)} of {len(self)} are missing)",
                    f"the particles of {self.path}",
                    "Give the passthrough file of the same job.",
                )
            return [(self.given, records[rows])]
        folders = dict.fromkeys((self.path.parent, self.path.resolve().parent))
        beside = (sorted(folder.glob("*passthrough*.cs")) for folder in folders)
        found = []
        for path in next((paths for paths in beside if paths), []):
            if path != self.path:
                rows, records = self._matched(path)
                found += [(path, records[rows])] * bool((rows >= 0).all())
        jobs = set(JOB.findall(self.path.name))
        own = [(path, records) for path, records in found if jobs & {*JOB.findall(path.name)}]
        return own or found

    def _matched(self, path: Path) -> tuple[Int[np.ndarray, " n"], np.ndarray]:
        """For each particle its row in another file, or -1, and that file's records."""
        records = read_cs(path)
        order = np.argsort(records["uid"])
        uid = records["uid"][order]
        place = np.searchsorted(uid, self.records["uid"]).clip(max=len(uid) - 1)
        return np.where(uid[place] == self.records["uid"], order[place], -1), records

    def _find(self, field: str) -> tuple[Path, np.ndarray] | None:
        if field in (self.records.dtype.names or ()):
            return self.path, self.records[field]
        found = [
            (path, records[field])
            for path, records in self.further
            if field in (records.dtype.names or ())
        ]
        for path, values in found[1:]:
            if not np.array_equal(values, found[0][1]):
                raise InputError(
                    self.path,
                    f"{field} in {found[0][0].name} and another in {path.name}",
                    "one passthrough file of these particles",
                    "Say which as `passthrough`.",
                )
        return found[0] if found else None

    def _column(self, field: str, width: int | None = None, unit: str = "") -> np.ndarray:
        """A field that must be there, finite and of one shape."""
        found = self._find(field)
        if found is None:
            looked = ", ".join(str(path.name) for path, _ in self.further) or "no passthrough file"
            names = [name for name in self.records.dtype.names or () if name.endswith("/pose")]
            others = f", but {names[0]} and {len(names) - 1} more" if names[1:] else ""
            raise InputError(
                self.path,
                f"no field {field} (nor in {looked}){others}",
                f"{field} for every particle",
                REFINE,
            )
        path, values = found
        shape = (len(self),) if width is None else (len(self), width)
        if values.shape != shape or values.dtype.kind not in "fiu":
            raise InputError(
                path,
                f"{field} of shape {values.shape} and type {values.dtype}",
                f"numbers of shape {shape}",
                "Export the particles again.",
            )
        numbers = values.astype(np.float64)
        self._require(path, field, np.isfinite(numbers), "a finite number")
        return numbers

    def _require(
        self,
        path: Path,
        field: str,
        good: np.ndarray,
        expected: str,
        way_out: str = "Correct or remove the particle.",
    ) -> None:
        bad = np.flatnonzero(~good.reshape(len(self), -1).all(axis=1))
        if len(bad):
            value = (self._find(field) or (path, np.zeros(len(self))))[1][bad[0]]
            raise InputError(
                path,
                f"{field} = {value}",
                expected,
                way_out,
                row=f"particle row {bad[0] + 1}",
            )

    def _refuse(self, field: str) -> None:
        found, neutral = self._find(field), REFUSED[field]
        if found is not None:
            good = np.abs(found[1] - neutral) <= 1e-6
            way_out = DISTORTED if field == "ctf/anisomag" else REPLACE
            self._require(found[0], field, good, f"{neutral}, all that is modelled", way_out)

    def _positive(self, field: str) -> np.ndarray:
        values = self._column(field)
        self._require(self.path, field, values > 0, "a positive number")
        return values

    @property
    def tables(self) -> tuple[Path, ...]:
        """The file and the passthrough files."""
        return (self.path, *(path for path, _ in self.further))

    @cached_property
    def names(self) -> ImageNames:
        """The images that blob/path and blob/idx name."""
        found = self._find("blob/path")
        index = self._column("blob/idx").astype(np.int64)
        if found is None or found[1].dtype.kind not in "SU" or found[1].shape != (len(self),):
            raise InputError(
                self.path,
                "no field blob/path with names",
                "blob/path for every particle",
                "Give the particles with their passthrough file (`passthrough`).",
            )
        # '>' marks a path inside the project's folder
        text = (
            np.char.decode(found[1], "utf-8", "replace")
            if found[1].dtype.kind == "S"
            else (found[1])
        )
        files = np.array([name.removeprefix(">") for name in text.tolist()], dtype=object)
        box = None
        if self._find("blob/shape") is not None:
            box = self._column("blob/shape", 2).max(axis=1)
        return ImageNames(self.path, files, index, "blob/path", box)

    @property
    def sign(self) -> Int[np.ndarray, " n"]:
        """The field blob/sign: -1 where particles are dark."""
        if self._find("blob/sign") is None:
            return super().sign
        values = self._column("blob/sign")
        self._require(self.path, "blob/sign", np.abs(values) == 1, "1 or -1")
        return values.astype(np.int64)

    @property
    def half_set(self) -> Int[np.ndarray, " n"]:
        """The field alignments3D/split, if both halves occur."""
        if self._find("alignments3D/split") is None:
            return super().half_set
        split = self._column("alignments3D/split").astype(np.int64)
        return split + 1 if set(np.unique(split)) == {0, 1} else super().half_set

    def ctf(self) -> CTF:
        """Defocus and optics; fields that are not modelled are refused."""
        for field in REFUSED:
            self._refuse(field)
        amplitude = self._column("ctf/amp_contrast")
        inside = (amplitude >= 0) & (amplitude <= 1)
        self._require(self.path, "ctf/amp_contrast", inside, "a number from 0 to 1")
        phase = np.zeros(len(self))
        if self._find("ctf/phase_shift_rad") is not None:
            phase = np.rad2deg(self._column("ctf/phase_shift_rad"))
        columns = [
            self._column("ctf/df1_A"),
            self._column("ctf/df2_A"),
            np.rad2deg(self._column("ctf/df_angle_rad")),
            self._positive("ctf/accel_kv"),
            self._column("ctf/cs_mm"),
            amplitude,
            phase,
            self._positive("blob/psize_A"),
        ]
        return CTF(*(torch.from_numpy(column).float() for column in columns))

    def poses(self) -> Poses:
        """The fields alignments3D/pose and alignments3D/shift."""
        vectors, shifts = (
            self._column("alignments3D/pose", 3),
            self._column("alignments3D/shift", 2),
        )
        has_own = self._find("alignments3D/psize_A") is not None
        pixel = self._positive("alignments3D/psize_A" if has_own else "blob/psize_A")
        return Poses.from_cryosparc(
            torch.from_numpy(vectors), torch.from_numpy(shifts * pixel[:, None]).float()
        )

    def labels(self, column: str) -> np.ndarray | None:
        """A field as text."""
        found = self._find(column)
        return None if found is None else found[1].astype(np.str_)

    def group(self, particle: int) -> str:
        """The exposure group, if the file has them."""
        row, found = super().group(particle), self._find("ctf/exp_group_id")
        return row if found is None else f"exposure group {found[1][particle]}, {row}"
