"""Poses: how each observation's particle is turned and displaced, in one convention."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Poses:
    """Orientations and in-plane displacements.

    An observation with rotation R and shift t has the coefficients
    ``exp(-2 pi i k.t) V((kx, ky, 0) @ R)``, where V is its volume's transform and vectors are rows
    in the order x, y, z.

    Args:
        rotations: Rotation matrices.
        shifts_angstrom: Displacement (x, y) of the particle from the image's centre, in Å.
    """

    rotations: Float[Tensor, "*n 3 3"]
    shifts_angstrom: Float[Tensor, "*n 2"]

    def __getitem__(self, index: Tensor | slice) -> "Poses":
        return Poses(self.rotations[index], self.shifts_angstrom[index])

    def __len__(self) -> int:
        return self.rotations.shape[0]

    @staticmethod
    def unknown(count: int) -> "Poses":
        """Poses that say nothing: not turned, in the centre.

        Args:
            count: How many.

        Returns:
            The poses.
        """
        return Poses(torch.eye(3).repeat(count, 1, 1), torch.zeros(count, 2))

    @staticmethod
    def from_relion(
        angles_degrees: Float[Tensor, "n 3"], origins_angstrom: Float[Tensor, "n 2"]
    ) -> "Poses":
        """Convert RELION's angles (rot, tilt, psi) and origins (x, y).

        With ``A = intrinsic ZYZ(rot, tilt, psi)`` a RELION image samples its volume at
        ``A (x, y, z)``, hence ``R = A.T``; RELION's origin is the shift that centres the image,
        hence the particle's displacement is minus the origin.

        Args:
            angles_degrees: rlnAngleRot, rlnAngleTilt, rlnAnglePsi in degrees.
            origins_angstrom: rlnOriginXAngst, rlnOriginYAngst in Å.

        Returns:
            The poses.
        """
        (a, b, c), (x, y, z) = (
            function(torch.deg2rad(angles_degrees.double())).unbind(-1)
            for function in (torch.cos, torch.sin)
        )
        rows = [
            [a * b * c - x * z, -a * b * z - x * c, a * y],
            [x * b * c + a * z, -x * b * z + a * c, x * y],
            [-y * c, y * z, b],
        ]
        rotations = torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)
        return Poses(rotations.mT.to(angles_degrees.dtype), -origins_angstrom)

    @staticmethod
    def from_cryosparc(
        rotation_vectors: Float[Tensor, "n 3"], shifts_angstrom: Float[Tensor, "n 2"]
    ) -> "Poses":
        """Convert cryoSPARC's rotation vectors and shifts.

        The matrix of a rotation vector is RELION's A, hence ``R = A.T``, and a shift centres the
        image, as RELION's origin does.

        Args:
            rotation_vectors: alignments3D/pose: axis times angle in radians.
            shifts_angstrom: alignments3D/shift (x, y) times the pixel size, in Å.

        Returns:
            The poses.
        """
        from scipy.spatial.transform import Rotation

        # roma takes a second to import, longer than a large file takes to open
        matrices = Rotation.from_rotvec(rotation_vectors.double().numpy()).as_matrix()
        return Poses(torch.from_numpy(matrices).mT.to(shifts_angstrom.dtype), -shifts_angstrom)

    @staticmethod
    def from_cryodrgn(
        rotations: Float[Tensor, "n 3 3"],
        shifts: Float[Tensor, "n 2"],
        side_angstrom: Float[Tensor, " n"],
    ) -> "Poses":
        """Convert cryoDRGN's rotations, which are R itself, and shifts, which centre the image.

        Args:
            rotations: Rotation matrices.
            shifts: Shifts (x, y) as fractions of the box.
            side_angstrom: Side of each box, in Å.

        Returns:
            The poses.
        """
        return Poses(rotations, -shifts * side_angstrom[:, None])

    def to_cryosparc(self) -> tuple[Float[Tensor, "n 3"], Float[Tensor, "n 2"]]:
        """Convert to cryoSPARC's rotation vectors and shifts in Å.

        Returns:
            Vectors and shifts; `from_cryosparc` of them gives these poses back.
        """
        import roma

        vectors = roma.rotmat_to_rotvec(self.rotations.double().mT)
        return vectors.to(self.rotations.dtype), -self.shifts_angstrom

    def to_relion(self) -> tuple[Float[Tensor, "n 3"], Float[Tensor, "n 2"]]:
        """Convert to RELION's angles (rot, tilt, psi) in degrees and origins (x, y) in Å.

        Returns:
            Angles and origins; `from_relion` of them gives these poses back.
        """
        import roma

        angles = roma.rotmat_to_euler("ZYZ", self.rotations.double().mT, degrees=True)
        return torch.as_tensor(angles).to(self.rotations.dtype), -self.shifts_angstrom


def rotation_defect(rotations: Float[Tensor, "n 3 3"]) -> Float[Tensor, " n"]:
    """How far each matrix is from a rotation.

    Args:
        rotations: Matrices that should be rotations.

    Returns:
        The larger of the largest element of ``|R Rᵀ - 1|`` and ``|det R - 1|``; not finite where
        the matrix is not.
    """
    matrices = rotations.double()
    identity = torch.eye(3, dtype=matrices.dtype)
    orthogonality = (matrices @ matrices.mT - identity).abs().amax(dim=(-2, -1))
    return torch.maximum(orthogonality, (torch.linalg.det(matrices) - 1).abs())


def turned(
    rotations: Float[Tensor, "n 3 3"], turns: Float[Tensor, "n 3"]
) -> Float[Tensor, "n 3 3"]:
    """Turn particles about their images' axes: ``exp(-[w]×) R``.

    Args:
        rotations: Rotations R.
        turns: Rotation vectors w in the images' frames, in radians.

    Returns:
        Rotations.
    """
    import roma

    return (roma.rotvec_to_rotmat(-turns) @ rotations).contiguous()


def turn_between(
    rotations: Float[Tensor, "n 3 3"], others: Float[Tensor, "n 3 3"]
) -> Float[Tensor, "n 3"]:
    """The turns that lead from rotations to others (`turned`).

    Args:
        rotations: Rotations R.
        others: Where they lead to.

    Returns:
        Rotation vectors, in radians.
    """
    import roma

    return -roma.rotmat_to_rotvec(others @ rotations.mT)


def composed(first: Float[Tensor, "n 3"], second: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3"]:
    """The turn that two turns, one after the other, make (`turned`).

    Args:
        first: Rotation vectors, in radians.
        second: Rotation vectors of what follows.

    Returns:
        Rotation vectors.
    """
    import roma

    return -roma.rotvec_composition((-second, -first))


def view_order(rotations: Float[Tensor, "n 3 3"]) -> Int[Tensor, " n"]:
    """An order in which neighbours see a volume from about the same side, or the opposite one.

    Half of the sphere is walked in strips as wide as views are apart, back and forth.

    Args:
        rotations: Rotations R of poses; the last row is the view.

    Returns:
        Positions.
    """
    view = rotations[:, 2].double()
    view = torch.where(view[:, 2:] < 0, -view, view)
    width = (2 * torch.pi / max(1, len(view))) ** 0.5
    strip = (view[:, 2].clamp(max=1).acos() / width).floor()
    across = torch.atan2(view[:, 1], view[:, 0]) / (2 * torch.pi)
    return torch.argsort(strip + torch.where(strip % 2 == 0, across, -across), stable=True)
