"""A mean volume and one per latent dimension, as principal component methods leave them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from cryolatent.config.training import TrainConfig
from cryolatent.data import ParticleStack
from cryolatent.data.source import Geometry
from cryolatent.errors import InputError
from cryolatent.importers.directory import Foreign, recorded, write_run
from cryolatent.io import read_volume
from cryolatent.models import SubspaceDecoder
from cryolatent.models.decoders.coefficients import Linear
from cryolatent.models.system import System
from cryolatent.physics import FourierDisc
from cryolatent.runs.run import Run
from cryolatent.sessions.systems import build, flat_setting

SCALE = (
    "Its volumes have the scale that the other program gave them, which need not be that of the "
    "images: they are drawn, but not compared with images."
)
UPSIDE_DOWN = "Its mean volume explains the images better upside down: check `invert_contrast`."
STRANGERS = (
    "Its latents explain the images of their particles no better than those of others do: are "
    "these the particles, poses, selection and order that it was run with?"
)
CHECKED = 512
"""Particles whose images are compared with the volumes at their latents."""

SURE = 3.0
"""Standard errors by which a particle's own latent must beat another's."""

SAME_SIDE = 0.01
"""Largest relative difference of two boxes' sides in Å that are the same field of view."""


@dataclass(frozen=True)
class Subspace:
    """Volumes of one linear latent space.

    Args:
        voxels: The mean, then one volume per dimension.
        geometry: Their size.
    """

    voxels: Float[Tensor, "c z y x"]
    geometry: Geometry

    def system(self, config: TrainConfig, particles: int) -> System:
        """Parts whose decoder draws these volumes.

        Args:
            config: Options with a linear subspace decoder.
            particles: Their number.

        Returns:
            The parts.
        """
        z_dim = len(self.voxels) - 1
        system = build(config.resolved(), flat_setting(self.geometry, particles, z_dim))
        disc = FourierDisc(self.geometry.box, self.geometry.shells)
        given = SubspaceDecoder(disc, Linear(z_dim), torch.ones(disc.radius + 1))
        given.set_volumes(self.voxels)
        system.model.decoder.take_volumes(given)
        return system


def write_rows(
    output: Path, reading: Mapping[str, Any], foreign: Foreign, volumes: Subspace | None
) -> Run:
    """Write a run of latents, with a decoder if their method is linear and left its volumes.

    Args:
        output: New folder.
        reading: Options that the particles were opened with.
        foreign: What is known but for the decoder.
        volumes: Mean and components.

    Returns:
        A finished run.

    Raises:
        InputError: If the folder is not free.
    """
    distribution, particles = foreign.latents.distribution, foreign.particles
    config = TrainConfig.of(
        {"decoder": "none" if volumes is None else "subspace"},
        posterior="imported",
        z_dim=distribution.mean.shape[1],
        widths=distribution.is_bound,
        threads=1,
        **recorded(reading),
    )
    if volumes is not None:
        system = volumes.system(config, len(foreign.latents.ids))
        remarks = [*foreign.remarks, SCALE]
        if particles is not None:
            remarks += doubts(system, particles, distribution.mean)
        foreign = replace(foreign, geometry=volumes.geometry, system=system, remarks=tuple(remarks))
    return write_run(output, config, foreign)


@torch.no_grad()
def doubts(system: System, stack: ParticleStack, z: Float[Tensor, "n zdim"]) -> list[str]:
    """Whether volumes, latents and particles belong together, whatever the volumes' scale.

    Of every particle what its latent adds to the mean volume is correlated with what the mean
    leaves of its image, and so is what the latent of another particle would add. Coefficients are
    weighted by their inverse power in the images.

    Args:
        system: Parts with a linear decoder.
        stack: The particles.
        z: Their latents.

    Returns:
        What does not come out as it should.
    """
    model, found = system.model, []
    index = torch.linspace(0, len(stack) - 1, min(CHECKED, len(stack))).long()
    images, means, own, foreign = [], [], [], []
    for part, other in zip(index.split(64), index.roll(1).split(64), strict=True):
        batch = stack.batch(part)
        mean = model.predict(torch.zeros_like(z[part]), batch)
        images.append(batch.images)
        means.append(mean)
        own.append(model.predict(z[part], batch) - mean)
        foreign.append(model.predict(z[other], batch) - mean)
    image, mean = torch.cat(images), torch.cat(means)
    weight = 1 / image.abs().square().mean(dim=0).clamp(min=1e-20)
    along = _inner(image, mean, weight).sum()
    if along <= 0:
        return [UPSIDE_DOWN]
    left = image - along / _inner(mean, mean, weight).sum() * mean
    gain = _inner(left, torch.cat(own) - torch.cat(foreign), weight)
    if gain.mean() < SURE * gain.std() / len(gain) ** 0.5:
        found.append(STRANGERS)
    return found


def _inner(a: Tensor, b: Tensor, weight: Tensor) -> Float[Tensor, " n"]:
    return ((a.conj() * b).real * weight).sum(dim=1).double()


def read_subspace(
    mean: Path, components: Sequence[Path], z_dim: int, stack: ParticleStack | None = None
) -> Subspace:
    """Read the volumes of a linear latent space.

    Args:
        mean: Volume at latent zero.
        components: For each dimension the volume that its latent weighs.
        z_dim: Number of latent dimensions.
        stack: The particles, whose box and pixel size the volumes must have.

    Returns:
        The volumes.

    Raises:
        InputError: If they are not one per dimension, or not of one even box.
    """
    if len(components) != z_dim:
        raise InputError(
            "`components`",
            f"{len(components)} volumes",
            f"{z_dim}, one per latent dimension",
            "Name them in the order of the latents' columns.",
        )
    read = [read_volume(path) for path in (mean, *components)]
    side, pixel = len(read[0][0]), read[0][1]
    for path, (voxels, _) in zip((mean, *components), read, strict=True):
        if voxels.shape != (side, side, side) or side % 2:
            raise InputError(
                path,
                f"a volume of {' x '.join(map(str, voxels.shape))} voxels",
                f"{side} x {side} x {side}, of an even side",
                "Give a mean and components of one box.",
            )
    volumes = np.stack([voxels for voxels, _ in read])
    if stack is None:
        geometry = Geometry(side, side // 2 - 1, pixel)
    else:
        geometry = Geometry(stack.disc.box, stack.disc.radius, stack.pixel_size_angstrom)
        _check_side(mean, side, pixel, geometry)
    return Subspace(torch.from_numpy(resized(volumes, geometry.box)).float(), geometry)


def resized(volumes: Float[np.ndarray, "c z y x"], box: int) -> Float[np.ndarray, "c z2 y2 x2"]:
    """Sample volumes on another grid of the same field of view, by their Fourier coefficients.

    Args:
        volumes: Volumes of one box.
        box: New box.

    Returns:
        The volumes, values in the same unit.
    """
    from scipy.signal import resample

    if volumes.shape[-1] != box:
        for axis in (1, 2, 3):
            volumes = np.asarray(resample(volumes, box, axis=axis))
    return volumes


def _check_side(path: Path, box: int, pixel: float, wanted: Geometry) -> None:
    found, expected = box * pixel, wanted.box * wanted.pixel_size_angstrom
    # a header that says nothing is believed to be of the particles' box
    if box != wanted.box and abs(found / expected - 1) > SAME_SIDE:
        raise InputError(
            path,
            f"a box of {box} voxels of {pixel:.4g} Å, {found:.1f} Å",
            f"one of {expected:.1f} Å, like the particles' {wanted.box} pixels of "
            f"{wanted.pixel_size_angstrom:.4g} Å",
            "Give the particles that these volumes were made of, or scale the volumes.",
        )
