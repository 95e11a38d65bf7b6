"""A part of a molecule that turns about an axis, by another angle in each particle."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Bool, Complex, Float
from scipy import ndimage
from scipy.spatial import KDTree
from torch import Tensor

from cryolatent.physics import FourierDisc, shift_phases, slice_volume

CONTACT_ANGSTROM = 5.0


@dataclass(frozen=True)
class Hinge:
    """Which points of a molecule turn, and about what.

    Args:
        moving: Which points turn.
        axis: Direction (x, y, z) of the axis, of length one; angles are right-handed about it.
        centre_angstrom: A point (x, y, z) on the axis, in Å from the centre of the box.
    """

    moving: Bool[np.ndarray, " points"]
    axis: Float[np.ndarray, "3"]
    centre_angstrom: Float[np.ndarray, "3"]

    @staticmethod
    def at_contact(
        positions_angstrom: Float[np.ndarray, "points 3"], moving: Bool[np.ndarray, " points"]
    ) -> "Hinge":
        """A hinge where the moving part touches the rest, as a door's touches the wall.

        The contact are the moving points whose distance to the rest exceeds the smallest such
        distance by at most 5 Å. The axis is the line through their centre along which they extend
        farthest.

        Args:
            positions_angstrom: All points (x, y, z) in Å.
            moving: Which of them turn; some must, and some must not.

        Returns:
            The hinge.
        """
        part = positions_angstrom[moving]
        distance = np.asarray(KDTree(positions_angstrom[~moving]).query(part)[0])
        contact = part[distance <= distance.min() + CONTACT_ANGSTROM]
        centre = contact.mean(axis=0)
        axis = np.linalg.svd(contact - centre)[2][0]
        return Hinge(moving, axis * np.sign(axis[np.abs(axis).argmax()]), centre)

    def turned(
        self, positions_angstrom: Float[np.ndarray, "points 3"], degrees: float
    ) -> Float[np.ndarray, "points 3"]:
        """The molecule's points with the moving part turned.

        Args:
            positions_angstrom: All points at angle zero.
            degrees: The angle.

        Returns:
            All points.
        """
        turn = turns(self.axis, np.array([degrees]))[0].numpy()
        moved = (positions_angstrom - self.centre_angstrom) @ turn.T + self.centre_angstrom
        return np.where(self.moving[:, None], moved, positions_angstrom)


def turns(axis: Float[np.ndarray, "3"], degrees: Float[np.ndarray, " n"]) -> Float[Tensor, "n 3 3"]:
    """Right-handed rotations about an axis.

    Args:
        axis: Direction (x, y, z) of length one.
        degrees: Angles.

    Returns:
        Matrices Q that turn a column vector x to Q x.
    """
    import roma

    return roma.rotvec_to_rotmat(torch.from_numpy(np.deg2rad(degrees)[:, None] * axis))


@dataclass(frozen=True)
class Motion:
    """The motion of a simulated stack, and the density that moves.

    Args:
        range_degrees: Angles lie within plus and minus half of this.
        axis: Direction (x, y, z) of the axis, of length one.
        centre_angstrom: A point (x, y, z) on the axis, in Å from the centre of the box.
        angle_degrees: Each particle's angle; it shows only where the particle's state moves.
        parts: For each state that moves, by its number, the density of the moving part at angle
            zero, in the scale of the images.
        pixel_size_angstrom: Voxel size of the densities, in Å.
    """

    range_degrees: float
    axis: Float[np.ndarray, "3"]
    centre_angstrom: Float[np.ndarray, "3"]
    angle_degrees: Float[np.ndarray, " n"]
    parts: dict[int, Float[Tensor, "z y x"]]
    pixel_size_angstrom: float

    def slices(
        self,
        transform: Complex[Tensor, "kz ky kx"],
        rotations: Float[Tensor, "n 3 3"],
        degrees: Float[np.ndarray, " n"],
        disc: FourierDisc,
    ) -> Complex[Tensor, "n k"]:
        """Central slices of the turned part, exact at any angle.

        The part turned by Q about the point c has the transform
        ``F(k Q) exp(-2πi k·(c - Q c))``, with F that of the part at angle zero.

        Args:
            transform: The part's transform, from `volume_to_fourier`.
            rotations: Rotation of each slice.
            degrees: Angle of each slice.
            disc: The coefficients wanted.

        Returns:
            Slices in the scale of `slice_volume`.
        """
        turn = turns(self.axis, degrees).to(rotations)
        centre = torch.from_numpy(self.centre_angstrom / self.pixel_size_angstrom).to(rotations)
        displacement = (rotations @ (centre - turn @ centre)[..., None])[:, :2, 0]
        return slice_volume(transform, rotations @ turn, disc) * shift_phases(disc, displacement)

    def turned(self, state: int, degrees: float) -> Float[Tensor, "z y x"]:
        """The density of the turned part.

        Args:
            state: A state that moves.
            degrees: The angle.

        Returns:
            Its density, by cubic splines on a grid refined twofold; nothing enters from outside
            the box.
        """
        spline = self._splines[state]
        box = spline.shape[0] // 2
        back = turns(self.axis, np.array([degrees]))[0].numpy().T[::-1, ::-1]
        centre = self.centre_angstrom[::-1] / self.pixel_size_angstrom + box // 2
        volume = ndimage.affine_transform(
            spline,
            2 * back,
            offset=2 * (centre - back @ centre),
            output_shape=(box,) * 3,
            prefilter=False,
            mode="grid-constant",
        )
        return torch.from_numpy(volume).float()

    @cached_property
    def _splines(self) -> dict[int, np.ndarray]:
        """Spline coefficients of each part on a grid of half the voxel size."""
        return {
            state: ndimage.spline_filter(_refined(part.double().numpy()), mode="grid-wrap")
            for state, part in self.parts.items()
        }


def _refined(volume: np.ndarray) -> np.ndarray:
    """A volume on a grid of half the voxel size, by zero-padding its transform."""
    box = volume.shape[0]
    padded = np.pad(np.fft.fftshift(np.fft.fftn(volume)), box // 2)
    return 8 * np.fft.ifftn(np.fft.ifftshift(padded)).real
