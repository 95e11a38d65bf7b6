"""Volumes and their central slices."""

import torch
from jaxtyping import Complex, Float, Int
from torch import Tensor
from torch.nn.functional import pad

from cryolatent.physics.grid import FourierDisc


def volume_to_fourier(
    volume: Float[Tensor, "*n z y x"], oversampling: int = 2, *, correct_gridding: bool = True
) -> Complex[Tensor, "*n kz ky kx"]:
    """Transform a volume to a Fourier grid that `slice_volume` can interpolate.

    The phase origin is voxel ``box / 2``. Values are scaled so that a central slice is the unitary
    transform of the projection (the sum of voxels along z).

    Args:
        volume: Real volume of even side.
        oversampling: How many grid points per Fourier voxel (the volume is zero-padded).
        correct_gridding: Divide the volume by the transform of the trilinear kernel first, which
            undoes the attenuation that interpolation would cause away from the centre.

    Returns:
        The transform in FFT order (zero frequency first).
    """
    box = volume.shape[-1]
    padded = oversampling * box
    if correct_gridding:
        position = torch.arange(-(box // 2), box // 2, dtype=volume.dtype) / padded
        kernel = torch.sinc(position) ** 2
        volume = volume / (kernel[:, None, None] * kernel[:, None] * kernel)
    margin = (padded - box) // 2
    volume = pad(volume, (margin,) * 6)
    volume = torch.fft.ifftshift(volume, dim=(-3, -2, -1))
    return torch.fft.fftn(volume, dim=(-3, -2, -1)) / box


def slice_volume(
    transform: Complex[Tensor, "kz ky kx"],
    rotations: Float[Tensor, "*n 3 3"],
    disc: FourierDisc,
) -> Complex[Tensor, "*n k"]:
    """Sample central slices of a volume's transform by trilinear interpolation.

    Args:
        transform: Grid from `volume_to_fourier`; its side over the disc's box is the oversampling.
        rotations: Rotation R of each slice; coefficient k samples the point ``(kx, ky, 0) @ R``.
        disc: The coefficients wanted.

    Returns:
        Slices, the unitary transforms of the volume's projections.
    """
    side = transform.shape[-1]
    points = disc.coordinates.to(rotations) @ rotations[..., :2, :] * (side / disc.box)
    corner = points.floor()
    fraction = points - corner
    corner = corner.long()
    flat = transform.reshape(-1)
    result = torch.zeros(points.shape[:-1], dtype=transform.dtype)
    for offset in range(8):
        step = torch.tensor([offset & 1, offset >> 1 & 1, offset >> 2 & 1])
        weight = torch.where(step.bool(), fraction, 1 - fraction).prod(dim=-1)
        x, y, z = ((corner + step) % side).unbind(-1)
        result = result + weight * flat[(z * side + y) * side + x]
    return result


def lattice_half_space(box: int, radius: int) -> tuple[Int[Tensor, "v 3"], Int[Tensor, " v"]]:
    """The canonical half of a Fourier lattice inside a ball.

    Args:
        box: Side of the volume in voxels.
        radius: Last shell kept.

    Returns:
        Positions (x, y, z) in cycles per box with ``k`` in the half-space of
        `in_canonical_half`, DC included, and each position's shell.
    """
    axis = torch.arange(-radius, radius + 1)
    z, y, x = torch.meshgrid(axis, axis, axis, indexing="ij")
    points = torch.stack([x, y, z], dim=-1).reshape(-1, 3)
    shell = torch.linalg.vector_norm(points.double(), dim=-1).round().long()
    keep = (shell <= radius) & in_canonical_half(points)
    return points[keep], shell[keep]


def in_canonical_half(points: Float[Tensor, "*n 3"] | Int[Tensor, "*n 3"]) -> Tensor:
    """Whether each Fourier point (x, y, z) lies in the half-space that represents its pair ±k.

    The half is z > 0; on the plane z = 0 it is y > 0; on that line x >= 0. Exactly one of k and -k
    is inside, the origin excepted, so a real volume is determined by it.

    Args:
        points: Fourier positions.

    Returns:
        A boolean per point.
    """
    x, y, z = points.unbind(-1)
    return (z > 0) | ((z == 0) & ((y > 0) | ((y == 0) & (x >= 0))))


def half_space_to_volume(
    values: Complex[Tensor, "*n v"], points: Int[Tensor, "v 3"], box: int
) -> Float[Tensor, "*n z y x"]:
    """Assemble a real volume from the Fourier values of its canonical half-space.

    Args:
        values: The transform at `points`, in the scale of `volume_to_fourier`.
        points: Positions (x, y, z) in cycles per box, from `lattice_half_space`.
        box: Side of the volume in voxels.

    Returns:
        The real volume, centred on voxel ``box / 2``.
    """
    grid = torch.zeros(*values.shape[:-1], box, box, box, dtype=values.dtype)
    x, y, z = points.unbind(-1)
    grid[..., z % box, y % box, x % box] = values
    grid[..., -z % box, -y % box, -x % box] = values.conj()
    origin = (points == 0).all(-1)
    if origin.any():
        grid[..., 0, 0, 0] = values[..., origin].real[..., 0].to(values.dtype)
    volume = torch.fft.ifftn(grid, dim=(-3, -2, -1)).real * box
    return torch.fft.fftshift(volume, dim=(-3, -2, -1))


def within_shells(
    volumes: Float[Tensor, "*n z y x"], first: int, last: int
) -> Float[Tensor, "*n z y x"]:
    """Keep some Fourier shells of volumes.

    Args:
        volumes: Real volumes.
        first: First shell kept; 1 leaves out the mean.
        last: Last shell kept.

    Returns:
        Volumes without the other shells ``round(|k|)``.
    """
    shells = torch.arange(volumes.shape[-1])
    return weigh_shells(volumes, ((shells >= first) & (shells <= last)).float())


def weigh_shells(
    volumes: Float[Tensor, "*n z y x"], weights: Float[Tensor, " shells"]
) -> Float[Tensor, "*n z y x"]:
    """Multiply the Fourier shells of volumes.

    Args:
        volumes: Real volumes.
        weights: Of shells ``round(|k|)`` from 0 on; those beyond the last weight are set to zero.

    Returns:
        Filtered volumes.
    """
    box = volumes.shape[-1]
    axis, half = torch.fft.fftfreq(box) * box, torch.fft.rfftfreq(box) * box
    shell = (axis[:, None, None] ** 2 + axis[:, None] ** 2 + half**2).sqrt().round().long()
    padded = torch.zeros(int(shell.max()) + 1)
    padded[: len(weights)] = weights[: len(padded)]
    transform = torch.fft.rfftn(volumes, dim=(-3, -2, -1)) * padded[shell]
    return torch.fft.irfftn(transform, s=(box,) * 3, dim=(-3, -2, -1))
