"""A mean volume and one per latent dimension, as principal component methods leave them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from cryolatent.config.training import TrainConfig
from cryolatent.data import ParticleStack
from cryolatent.data.source import Geometry
from cryolatent.errors import InputError
from cryolatent.io import read_volume
from cryolatent.models import SubspaceDecoder
from cryolatent.models.decoders.coefficients import Linear
from cryolatent.models.system import System
from cryolatent.physics import FourierDisc
from cryolatent.sessions.systems import build, flat_setting

SCALE = (
    "Its volumes have the scale that the other program gave them, which need not be that of the "
    "images: they are drawn, but not compared with images."
)


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
    box = stack.disc.box if stack is not None else len(read[0][0])
    for path, (voxels, _) in zip((mean, *components), read, strict=True):
        if voxels.shape != (box, box, box) or box % 2:
            raise InputError(
                path,
                f"a volume of {' x '.join(map(str, voxels.shape))} voxels",
                f"{box} x {box} x {box}, of an even side",
                "Crop or scale the volumes to the box of the particles.",
            )
    pixel = read[0][1] if stack is None else stack.pixel_size_angstrom
    shells = box // 2 - 1 if stack is None else stack.disc.radius
    voxels = torch.from_numpy(np.stack([voxels for voxels, _ in read])).float()
    return Subspace(voxels, Geometry(box, shells, pixel))
