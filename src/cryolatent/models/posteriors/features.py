"""What an encoder is fed: evidence as one row of numbers per observation."""

from abc import ABC, abstractmethod
from dataclasses import replace
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from cryolatent.data import Evidence
from cryolatent.models.setting import Setting
from cryolatent.physics import FourierDisc, in_plane_degrees, rotate_in_plane, shift_phases


class Features(nn.Module, ABC):
    """Turns evidence into numbers; whatever knows of microscopes or of pixels stands here."""

    size: int
    """Numbers per observation."""

    @abstractmethod
    def forward(self, evidence: Evidence) -> Float[Tensor, "obs features"]:
        """The features of each observation.

        Args:
            evidence: What the posterior is shown.

        Returns:
            `size` numbers of order one per observation.
        """


class FourierFeatures(Features):
    """Phase-flipped coefficients in units of the data's root mean square of their shell.

    The sign is that of the evidence's own transfer function; without one nothing is flipped. In the
    aligned frame the evidence's own displacement and in-plane rotation are undone after that, so a
    particle that is moved with its pose gives the same features (exactly for displacements and
    quarter turns, but for interpolation otherwise). Evidence without poses stays as it is, and so
    does evidence without transfer function, which holds the pixel size.

    Args:
        disc: The coefficients of the evidence.
        power_spectrum: Mean power of the data, shells 0 to ``disc.radius``.
        frame: ``raw``, as recorded, or ``aligned``.

    Source:
        Phase flipping: Zhong et al. 2021, doi:10.1038/s41592-020-01049-4.
    """

    def __init__(
        self,
        disc: FourierDisc,
        power_spectrum: Float[Tensor, " shells"],
        frame: Literal["raw", "aligned"] = "raw",
    ) -> None:
        super().__init__()
        self.disc, self.frame, self.size = disc, frame, 2 * disc.size
        scale = power_spectrum[disc.shells].clamp(min=torch.finfo(torch.float32).tiny).rsqrt()
        self.register_buffer("scale", scale)
        self.scale: Tensor

    def forward(self, evidence: Evidence) -> Float[Tensor, "obs features"]:
        """Real and imaginary parts, one after the other, of each coefficient."""
        images = evidence.images * self.scale
        if evidence.ctf is not None:
            images = (
                images * evidence.ctf.evaluate(self.disc.to(images.device).cycles_per_pixel).sign()
            )
        if self.frame == "aligned":
            images = aligned(replace(evidence, images=images), self.disc).images
        return torch.view_as_real(images * 2**0.5).flatten(1)


class PixelFeatures(Features):
    """The pixels themselves.

    Args:
        box: Side of the images.
    """

    def __init__(self, box: int) -> None:
        super().__init__()
        self.size = box**2

    def forward(self, evidence: Evidence) -> Float[Tensor, "obs features"]:
        """The pixels, row by row."""
        return evidence.images


def aligned(evidence: Evidence, disc: FourierDisc) -> Evidence:
    """Undo the displacement and the in-plane rotation that the poses record.

    Args:
        evidence: Phase-flipped images.
        disc: Where their coefficients belong.

    Returns:
        Images centred and turned by `in_plane_degrees` back; all else as it was.
    """
    poses, ctf = evidence.poses, evidence.ctf
    if poses is None or ctf is None:
        return evidence
    shifts = poses.shifts_angstrom / ctf.pixel_size_angstrom[:, None]
    centred = evidence.images * shift_phases(disc, -shifts)
    turned = rotate_in_plane(centred, -in_plane_degrees(poses.rotations), disc)
    return replace(evidence, images=turned)


def features_for(setting: Setting, frame: Literal["raw", "aligned"] = "raw") -> Features:
    """What an encoder is fed of a setting's images.

    Args:
        setting: Their size and spectra.
        frame: ``raw``, as recorded, or ``aligned``; of pictures without poses there is no other.

    Returns:
        Fourier coefficients, or pixels where pixels are compared.
    """
    if not setting.geometry.shells:
        return PixelFeatures(setting.geometry.box)
    return FourierFeatures(setting.disc, setting.spectra.power, frame)
