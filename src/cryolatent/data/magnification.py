"""Images whose anisotropic magnification is undone as they are read."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import scipy.fft
import torch
from jaxtyping import Bool, Complex, Float, Int

from cryolatent.data.images import ImageSource, PhaseCorrectedImages
from cryolatent.physics import Poses

Matrix = tuple[float, float, float, float]
IDENTITY: Matrix = (1.0, 0.0, 0.0, 1.0)


@dataclass(frozen=True)
class UnmagnifiedImages(ImageSource):
    """Images that are given the frequencies they would have without magnification.

    The coefficient of a stored image at frequency k is what the particle shows at M k, M being the
    magnification matrix. The image that is read has it at M k, where slices and transfer functions
    are evaluated: ``F(q) = F_stored(M⁻¹ q)``. White noise keeps its variance in every coefficient.
    Coefficients beyond M times the Nyquist frequency hold noise of others.

    Args:
        box: Side of every image in pixels.
        source: The images as they are stored.
        matrices: For each image M, which acts on (kx, ky); the identity changes no value.
    """

    box: int
    source: ImageSource
    matrices: Float[np.ndarray, "n 2 2"]

    def __len__(self) -> int:
        return len(self.matrices)

    def read(self, positions: Int[np.ndarray, " n"]) -> Float[np.ndarray, "n y x"]:
        """Images at some positions, float32, ``[n, y, x]``."""
        images = self.source.read(positions)
        keys = self.matrices[positions].reshape(-1, 4)
        distinct, group = np.unique(keys, axis=0, return_inverse=True)
        for number, key in enumerate(distinct.tolist()):
            if tuple(key) == IDENTITY:
                continue
            here = group == number
            images[here] = unmagnified(images[here], tuple(key))
        return images

    def name(self, position: int) -> str:
        """Where an image comes from, for messages."""
        return self.source.name(position)

    def fingerprint(self) -> bytes:
        """That of the stored images; the matrices are in the particle file."""
        return self.source.fingerprint()

    def select(self, positions: Int[np.ndarray, " n"]) -> "UnmagnifiedImages":
        """The source of some of the images."""
        chosen = self.source.select(positions), self.matrices[positions]
        return UnmagnifiedImages(self.box, *chosen)


def unmagnified(images: Float[np.ndarray, "n y x"], matrix: Matrix) -> Float[np.ndarray, "n y x"]:
    """Undo a magnification: ``F(q) = F_stored(M⁻¹ q)``, or ``|M| f_stored(Mᵀ x)`` about the centre.

    ``Mᵀ`` is a shear along y, a scaling of both axes and a shear along x, each of them exact for
    what an image of this box can hold.

    Args:
        images: Images of an even box; the centre is pixel ``box / 2``.
        matrix: M, row by row; acts on (kx, ky).

    Returns:
        The images as float32.
    """
    m00, m01, m10, m11 = matrix
    box = images.shape[-1]
    # what is beyond an image's edges counts as its background, or the edges would show
    level = images[:, _corners(box)].mean(axis=-1)[:, None, None]
    images = images - level
    sheared = _sheared(images.swapaxes(1, 2), _ramp(m01 / m00, box)).swapaxes(1, 2)
    scale_x, scale_y = _scaling(m00, box), _scaling(m11 - m01 * m10 / m00, box)
    scaled = scale_y @ sheared @ scale_x.T
    return _sheared(scaled, _ramp(m10 / m00, box)) + level


def unmagnified_poses(poses: Poses, matrices: Float[np.ndarray, "n 2 2"] | None) -> Poses:
    """Poses of particles in images whose magnification is undone.

    Args:
        poses: Poses with displacements in the images as they are stored.
        matrices: For each image M, or None if no image is magnified.

    Returns:
        The same rotations, with the displacements ``M⁻ᵀ t``.
    """
    if matrices is None:
        return poses
    inverse = torch.from_numpy(np.linalg.inv(matrices)).to(poses.shifts_angstrom)
    return Poses(poses.rotations, torch.einsum("ni,nij->nj", poses.shifts_angstrom, inverse))


def magnified_poses(poses: Poses, matrices: Float[np.ndarray, "n 2 2"] | None) -> Poses:
    """Undo `unmagnified_poses`: poses as the file of the images as they are stored has them.

    Args:
        poses: Poses of images whose magnification is undone.
        matrices: For each image M, or None if no image is magnified.

    Returns:
        The same rotations, with the displacements ``Mᵀ t``.
    """
    return unmagnified_poses(poses, None if matrices is None else np.linalg.inv(matrices))


def corrected_images(
    images: ImageSource,
    matrices: Float[np.ndarray, "n 2 2"] | None,
    phases: Float[np.ndarray, "n 6"] | None,
    pixel_size_angstrom: Float[np.ndarray, " n"],
) -> ImageSource:
    """Images without magnification and odd aberrations, which apply to undone frequencies.

    Args:
        images: The images as they are stored.
        matrices: For each image its magnification matrix, or None.
        phases: For each image its odd aberrations, as in `PhaseCorrectedImages`, or None.
        pixel_size_angstrom: For each image.

    Returns:
        Images that are corrected as they are read.
    """
    source = images
    if matrices is not None:
        source = UnmagnifiedImages(images.box, source, matrices)
    if phases is not None:
        source = PhaseCorrectedImages(images.box, source, phases, pixel_size_angstrom)
    return source


@lru_cache(maxsize=32)
def _corners(box: int) -> Bool[np.ndarray, "y x"]:
    """The pixels outside the largest circle."""
    axis = np.arange(box) - box / 2
    return np.hypot(axis[:, None], axis) > box / 2


def _sheared(
    images: Float[np.ndarray, "n y x"], ramp: Complex[np.ndarray, "y k"]
) -> Float[np.ndarray, "n y x"]:
    """Move every row along x by what its ramp says."""
    transform = np.asarray(scipy.fft.rfft(images, axis=-1)) * ramp
    return np.asarray(scipy.fft.irfft(transform, n=images.shape[-1], axis=-1))


@lru_cache(maxsize=32)
def _ramp(slope: float, box: int) -> Complex[np.ndarray, "y k"]:
    """What replaces x by ``x + slope y`` in each row's transform."""
    turns = slope * np.outer(np.arange(box) - box / 2, np.arange(box // 2 + 1)) / box
    return np.exp(2j * np.pi * turns).astype(np.complex64)


@lru_cache(maxsize=32)
def _scaling(scale: float, box: int) -> Float[np.ndarray, "y2 y"]:
    """What each old pixel gives each new one so that frequency k comes to ``scale k``."""
    axis = np.arange(box) - box / 2
    angle = 2 * np.pi / box * (axis[:, None] - axis / scale)
    terms = np.cos(angle[..., None] * np.arange(1, box // 2)).sum(axis=-1)
    return ((1 + 2 * terms) / box).astype(np.float32)
