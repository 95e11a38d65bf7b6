"""Particles and their observations, lazily."""

import warnings
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Complex, Float, Int
from torch import Tensor

from cryolatent.data.batch import Evidence, Twin
from cryolatent.data.images import ImageSource
from cryolatent.data.noise import NoiseLevels
from cryolatent.data.scale import scaled
from cryolatent.data.source import Domain, Geometry, Source
from cryolatent.errors import InputError, InputWarning
from cryolatent.physics import (
    CTF,
    FourierDisc,
    Poses,
    disc_to_images,
    images_to_disc,
    rotation_defect,
    symmetry_rotations,
)

ROTATION_TOLERANCE = 1e-3


@dataclass(frozen=True)
class ParticleStack(Source):
    """A particle owns a latent; its observations own images, poses and transfer functions.

    Particle p owns observations ``offsets[p]`` to ``offsets[p + 1] - 1``; every method takes and
    returns particles.

    Args:
        images: One image per observation.
        poses: One pose per observation.
        ctf: One transfer function per observation.
        ids: A stable name per particle.
        offsets: Where each particle's observations begin, and their number at the end.
        source: The file that the particles were read from.
        source_rows: For each observation, its zero-based row in `source`.
        half_set: For each particle the half-set (1 or 2) that the source assigned, or 0.
        shells: Last Fourier shell used; by default all below Nyquist.
        datadir: Folder that image names had to be looked up in, if not the source's own.
        tables: Files whose content makes the stack, images excepted; by default `source`.
        twin: What the posterior is shown in place of the observations.
        noise_groups: For each observation the name of the group that shares its noise, if it has
            one.
        noise_level: For each observation the noise's power relative to the mean; the same for all
            if left out. Images and transfer functions are given out divided by its root, so that
            one noise spectrum serves all of them.
        shows_beyond: Whether evidence holds what of the images lies outside the Fourier disc.
        image_scale: What images are multiplied by as they are read, a power of two.

    Raises:
        InputError: If a pose is not a rotation, or the tables disagree in length.
    """

    domain: ClassVar[Domain] = "particles"

    images: ImageSource
    poses: Poses
    ctf: CTF
    ids: np.ndarray
    offsets: Int[Tensor, " n1"]
    source: Path
    source_rows: np.ndarray
    half_set: np.ndarray
    shells: int | None = None
    datadir: Path | None = None
    tables: tuple[Path, ...] = ()
    twin: Twin | None = None
    noise_groups: np.ndarray | None = None
    noise_level: Float[Tensor, " obs"] | None = None
    shows_beyond: bool = False
    image_scale: float = 1.0

    def __post_init__(self) -> None:
        observations = int(self.offsets[-1])
        lengths = [len(self.images), len(self.poses), len(self.ctf), len(self.source_rows)]
        if lengths != [observations] * 4 or len(self.ids) != len(self):
            raise InputError(
                self.source,
                f"images, poses, CTFs, rows: {lengths}",
                f"{observations} of each",
                "Give tables of the same length.",
            )
        bad = torch.nonzero(~(rotation_defect(self.poses.rotations) < ROTATION_TOLERANCE))
        if len(bad):
            row = int(bad[0, 0])
            raise InputError(
                self.source,
                f"a pose that is no rotation ({self.poses.rotations[row].flatten().tolist()})",
                "an orthonormal matrix with determinant +1",
                "Correct the angles or remove the particle.",
                row=f"particle row {int(self.source_rows[row]) + 1}",
            )

    @cached_property
    def disc(self) -> FourierDisc:
        """The Fourier coefficients in use."""
        return FourierDisc(self.images.box, self.shells or self.images.box // 2 - 1)

    @property
    def pixel_size_angstrom(self) -> float:
        """The pixel size of the images and of the volumes made from them, in Å."""
        return float(self.ctf.pixel_size_angstrom[0])

    @property
    def geometry(self) -> Geometry:
        """Box, last shell and pixel size."""
        return Geometry(self.disc.box, self.disc.radius, self.pixel_size_angstrom)

    def pixels(self, rows: Int[np.ndarray, " obs"]) -> Float[np.ndarray, "obs y x"]:
        """Images as they are on disk, but for their noise levels."""
        images = self.images.read(rows)
        if self.noise_level is not None:
            images *= self.noise_level[rows].rsqrt().numpy()[:, None, None]
        return images

    def transfer(self, rows: Int[Tensor, " obs"]) -> CTF:
        """The transfer functions of the images that `pixels` reads.

        Args:
            rows: Observations.

        Returns:
            One each.
        """
        ctf = self.ctf[rows]
        return ctf if self.noise_level is None else ctf.scaled(self.noise_level[rows].rsqrt())

    def levelled(self, levels: NoiseLevels | None) -> "ParticleStack":
        """The same particles with noise levels.

        Args:
            levels: By group; of none every image's noise is the same.

        Returns:
            A stack that shares all else.
        """
        if levels is None or self.noise_groups is None:
            return replace(self, noise_level=None)
        level = torch.from_numpy(levels.of(self.noise_groups)).float()
        return replace(self, noise_level=level)

    def in_unit(self, scale: float) -> "ParticleStack":
        """The same particles with images in another unit.

        Args:
            scale: What the stored images are multiplied by, a power of two.

        Returns:
            A stack that shares all else.
        """
        return replace(self, images=scaled(self.images, scale), image_scale=scale)

    def from_pixels(self, pixels: Float[Tensor, "obs y x"]) -> Complex[Tensor, "obs k"]:
        """The disc's Fourier coefficients."""
        return images_to_disc(pixels, self.disc)

    def evidence(self, rows: Int[Tensor, " obs"], owner: Int[Tensor, " obs"]) -> Evidence:
        """Fourier coefficients, poses and transfer functions."""
        pixels = torch.from_numpy(self.pixels(rows.numpy()))
        images = self.from_pixels(pixels)
        beyond = pixels - disc_to_images(images, self.disc) if self.shows_beyond else None
        return Evidence(images, self.poses[rows], self.transfer(rows), owner, beyond)

    def fingerprint(self) -> bytes:
        """The particle files, and what can be told of their stacks without reading them whole."""
        tables = [table.read_bytes() for table in self.tables or (self.source,)]
        return b"".join([*tables, self.images.fingerprint()])

    def showing(self, twin: Twin | None) -> "ParticleStack":
        """The same particles with another twin."""
        return replace(self, twin=twin)

    def select(self, index: Int[Tensor, " n"]) -> "ParticleStack":
        """The stack of some particles.

        Args:
            index: Particles, in the order wanted.

        Returns:
            A stack whose particle i is particle ``index[i]`` of this one.
        """
        rows, owner = self.observations(index)
        count = torch.bincount(owner, minlength=len(index))
        return replace(
            self,
            **self._rows(rows),
            ids=self.ids[index.numpy()],
            offsets=torch.cat([torch.zeros(1, dtype=torch.long), count.cumsum(0)]),
            half_set=self.half_set[index.numpy()],
        )

    def _rows(self, rows: Int[Tensor, " obs"]) -> dict[str, Any]:
        """What belongs to some observations."""
        groups, level = self.noise_groups, self.noise_level
        return {
            "images": self.images.select(rows.numpy()),
            "poses": self.poses[rows],
            "ctf": self.ctf[rows],
            "source_rows": self.source_rows[rows.numpy()],
            "noise_groups": None if groups is None else groups[rows.numpy()],
            "noise_level": None if level is None else level[rows],
        }

    def grouped(self, particles: np.ndarray) -> "ParticleStack":
        """Make one particle of all observations that carry its name.

        Args:
            particles: For each observation of this stack, which has one a particle, the particle's
                name.

        Returns:
            A stack of particles in the order in which their names first come, their observations
            in the order of this stack.
        """
        names, first, owner = np.unique(particles, return_index=True, return_inverse=True)
        place = np.argsort(np.argsort(first))
        owner = place[owner]
        order = torch.from_numpy(np.argsort(owner, kind="stable"))
        count = np.bincount(owner, minlength=len(names))
        sorted_first = np.sort(first)
        return replace(
            self.select(order),
            ids=particles[sorted_first],
            offsets=torch.from_numpy(np.concatenate([[0], np.cumsum(count)])),
            half_set=self.half_set[sorted_first],
        )

    def of_images(self, rows: Int[Tensor, " obs"]) -> "ParticleStack":
        """The stack of some observations; particles of which none is left go.

        Args:
            rows: Observations.

        Returns:
            The particles that they belong to, with these observations alone.
        """
        _, owner = self.observations(torch.arange(len(self)))
        owner = owner[rows].numpy()
        flat = replace(
            self,
            **self._rows(rows),
            ids=self.ids[owner],
            offsets=torch.arange(len(rows) + 1),
            half_set=self.half_set[owner],
        )
        return flat.grouped(self.ids[owner])

    def expanded(self, symmetry: str) -> "ParticleStack":
        """Make a particle of every symmetric copy of each particle, to tell parts of it apart.

        Copy k sees the same images from the pose ``R g_k``, so what breaks the symmetry may differ
        from copy to copy. Copies stay together in every split.

        Args:
            symmetry: Point group, as in `symmetry_rotations`.

        Returns:
            A stack whose particles ``name#1``, ``name#2`` ... follow each other; this one for C1.

        Raises:
            InputError: If there is no such group.
        """
        rotations = symmetry_rotations(symmetry)
        copies = len(rotations)
        if copies == 1:
            return self
        repeated = self.select(torch.arange(len(self)).repeat_interleave(copies))
        copy = torch.arange(len(repeated)) % copies
        _, owner = repeated.observations(torch.arange(len(repeated)))
        turned = repeated.poses.rotations @ rotations[copy[owner]].to(repeated.poses.rotations)
        return replace(
            repeated,
            poses=Poses(turned, repeated.poses.shifts_angstrom),
            ids=np.array(
                [f"{name}#{k + 1}" for name, k in zip(repeated.ids, copy.tolist(), strict=True)]
            ),
        )

    def select_ids(self, ids: np.ndarray) -> "ParticleStack":
        """The stack of the particles of some names.

        Args:
            ids: Names, in the order wanted.

        Returns:
            A stack whose particle i is the one called ``ids[i]``.

        Raises:
            InputError: If a name is not in this stack.
        """
        position = {name: row for row, name in enumerate(self.ids.tolist())}
        missing = [name for name in ids.tolist() if name not in position]
        if missing:
            raise InputError(
                self.source,
                f"no particle {missing[0]}",
                "the particles that the run was trained on",
                "Put back the file as it was when the run was trained.",
            )
        return self.select(torch.tensor([position[name] for name in ids.tolist()]))

    def split(self, seed: int) -> tuple[Int[Tensor, " a"], Int[Tensor, " b"]]:
        """Divide the particles into halves, as the source did or else at random.

        Args:
            seed: Fixes the random division.

        Returns:
            Particles of the first and of the second half, each in ascending order.
        """
        half = self.half_set
        known = np.isin(half, (1, 2)).all()
        if known and len(self) > 1 and (half == half[0]).all():
            warnings.warn(
                f"{self.source}: all particles are of half-set {half[0]}; halves are drawn at "
                "random",
                InputWarning,
                stacklevel=2,
            )
            known = False
        if not known:
            half = np.where(self._drawn(seed) < 0.5, 1, 2)
        first, second = (torch.from_numpy(np.flatnonzero(half == side)) for side in (1, 2))
        return first, second
