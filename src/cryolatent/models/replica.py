"""Images as a model would have made them: the same particles, microscope and errors, no data."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Complex, Float, Int
from torch import Tensor

from cryolatent.data.images import ImageSource
from cryolatent.physics import (
    CTF,
    FourierDisc,
    FourierLattice,
    Interpolation,
    Poses,
    disc_to_images,
    images_to_disc,
    shift_phases,
    slice_lattice,
)


@dataclass(frozen=True)
class Drawn:
    """What a replica's particles are; nothing of it is handed to who analyses the images.

    Args:
        weights: Of the volumes in each particle's, its contrast included; zeros where an image
            shows no particle.
        shapeless: Particles of power without structure.
        poses: True pose of each observation.
        owner: Particle of each observation.
    """

    weights: Float[Tensor, "n c"]
    shapeless: Float[Tensor, " n"]
    poses: Poses
    owner: Int[Tensor, " obs"]


@dataclass(frozen=True)
class ReplicaImages(ImageSource):
    """Images drawn from volumes as they are read; an image is the same whenever it is read.

    ``x = C exp(-2 πi k·t) Σ_c w_c U_c(k R) + ε``; of something shapeless the sum is normal noise
    of its spectrum. What lies outside the disc is white noise of the last shell's variance.

    Args:
        lattice: Where volumes are sliced.
        values: Volumes at its voxels.
        noise: Variance of a coefficient in shells 0 to the last.
        junk_spectrum: Power of shapeless things before the transfer function, same shells.
        drawn: The particles.
        ctf: Transfer function of each observation.
        rows: Observation of each image.
        seed: Fixes the noise.
    """

    lattice: FourierLattice
    values: Complex[Tensor, "v c"]
    noise: Float[Tensor, " shells"]
    junk_spectrum: Float[Tensor, " shells"]
    drawn: Drawn
    ctf: CTF
    rows: Int[np.ndarray, " images"]
    seed: int = 0

    @cached_property
    def box(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Side of every image in pixels."""
        return self.lattice.disc.box

    def __len__(self) -> int:
        return len(self.rows)

    @torch.no_grad()
    def read(self, positions: Int[np.ndarray, " n"]) -> Float[np.ndarray, "n y x"]:
        """Images at some positions, float32, ``[n, y, x]``."""
        rows, disc, shells = self.rows[positions], self.lattice.disc, self.lattice.disc.shells
        draws = [np.random.default_rng((self.seed, int(row))) for row in rows]
        white = torch.from_numpy(
            np.stack([rng.standard_normal((self.box, self.box), np.float32) for rng in draws])
        )
        blank = torch.from_numpy(
            np.stack([rng.standard_normal((disc.size, 2), np.float32) for rng in draws])
        )
        here = torch.from_numpy(rows)
        owner, poses, ctf = self.drawn.owner[here], self.drawn.poses[here], self.ctf[here]
        slices = slice_lattice(self.values, poses.rotations, self.lattice, Interpolation.NEAREST)
        signal = (slices * self.drawn.weights[owner, None]).sum(-1)
        # a complex normal number of variance one
        junk = torch.view_as_complex(blank) * (0.5 * self.junk_spectrum[shells]).sqrt()
        signal = signal + self.drawn.shapeless[owner, None] * junk
        shifts = poses.shifts_angstrom / ctf.pixel_size_angstrom[:, None]
        signal = signal * ctf.evaluate(disc.cycles_per_pixel) * shift_phases(disc, shifts)
        inside = images_to_disc(white, disc) * self.noise[shells].sqrt()
        images = disc_to_images(signal + inside, disc)
        return (images + beyond_disc(white, disc, self.noise)).numpy()

    def name(self, position: int) -> str:
        """Which observation an image is of."""
        return f"a replica, image {self.rows[position] + 1}"

    def fingerprint(self) -> bytes:
        """What the images are drawn from."""
        parts = self.values[:: max(1, len(self.values) // 1000)], self.drawn.weights, self.noise
        arrays = (part.resolve_conj().numpy().tobytes() for part in parts)
        return b"".join([str(self.seed).encode(), self.rows.tobytes(), *arrays])

    def select(self, positions: Int[np.ndarray, " n"]) -> "ReplicaImages":
        """The source of some of the images."""
        return replace(self, rows=self.rows[positions])


def beyond_disc(
    white: Float[Tensor, "n y x"], disc: FourierDisc, noise: Float[Tensor, " shells"]
) -> Float[Tensor, "n y x"]:
    """What noise has outside the disc: white, of the last shell's variance.

    Args:
        white: Normal pixels of variance one.
        disc: The coefficients that are left out.
        noise: Variance of a coefficient in shells 0 to the last.

    Returns:
        Pixels.
    """
    return (white - disc_to_images(images_to_disc(white, disc), disc)) * noise[-1].sqrt()
