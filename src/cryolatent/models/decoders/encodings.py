"""How a point of Fourier space enters a coordinate network."""

from abc import ABC, abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import linear

GAUSSIAN_SPREAD = 0.25
"""Standard deviation of the random frequencies, in radians per voxel of Fourier space."""


class Encoding(nn.Module, ABC):
    """Makes features of points; it has nothing to learn."""

    size: int
    """Number of features."""

    @abstractmethod
    def forward(self, points: Float[Tensor, "*n 3"]) -> Float[Tensor, "*n size"]:
        """Encode points.

        Args:
            points: Positions (x, y, z) in cycles per box.

        Returns:
            Features of order one.
        """


class GeometricEncoding(Encoding):
    """Sines and cosines of a point's components at geometrically spaced wavelengths.

    Those of ``k_j D π (2 / D)^{i / (D/2 - 1)}`` for the components k_j in cycles per pixel and
    ``i = 0 ... D/2 - 1``.

    Args:
        box: Side D of the box; periods run from 2 to D voxels of Fourier space.

    Source:
        Edelberg and Lederman 2023, YALEU/TR-1565, eq. 21 (``geom_lowf``).
    """

    def __init__(self, box: int) -> None:
        super().__init__()
        count = box // 2
        steps = torch.arange(count) / (count - 1)
        frequencies = torch.pi * (2 / box) ** steps
        matrix = torch.kron(torch.eye(3), frequencies[None])
        quarter = torch.full((3 * count,), torch.pi / 2)
        self.register_buffer("matrix", torch.cat([matrix, matrix], dim=1), persistent=False)
        self.register_buffer("offset", torch.cat([0 * quarter, quarter]), persistent=False)
        self.matrix: Tensor
        self.offset: Tensor
        self.size = 6 * count

    def forward(self, points: Float[Tensor, "*n 3"]) -> Float[Tensor, "*n size"]:
        """Sines, then cosines, as sines a quarter of a turn on."""
        return linear(points, self.matrix.T, self.offset).sin_()


class GaussianEncoding(Encoding):
    """Random Fourier features: sines and cosines along normally distributed directions.

    The frequencies are kept in checkpoints, so that they do not depend on how they were drawn.

    Args:
        box: Side of the box; there are as many features as in `GeometricEncoding`.
        seed: Fixes the frequencies.

    Source:
        Tancik et al. 2020, arXiv:2006.10739, eq. 5; spread as in Zhong et al. 2021,
        doi:10.1038/s41592-020-01049-4.
    """

    def __init__(self, box: int, seed: int) -> None:
        super().__init__()
        count = 3 * (box // 2)
        drawn = torch.randn(count, 3, generator=torch.Generator().manual_seed(seed))
        self.register_buffer("frequencies", GAUSSIAN_SPREAD * drawn)
        self.frequencies: Tensor
        self.size = 2 * count

    def forward(self, points: Float[Tensor, "*n 3"]) -> Float[Tensor, "*n size"]:
        """Sines, then cosines."""
        phases = linear(points, self.frequencies)
        return torch.cat([phases.sin(), phases.cos()], dim=-1)


class Coordinates(Encoding):
    """The coordinates themselves, from -1 to 1 below Nyquist.

    Args:
        box: Side of the box.
    """

    size = 3

    def __init__(self, box: int) -> None:
        super().__init__()
        self.scale = 2 / box

    def forward(self, points: Float[Tensor, "*n 3"]) -> Float[Tensor, "*n size"]:
        """Scale points by Nyquist's frequency."""
        return points * self.scale
