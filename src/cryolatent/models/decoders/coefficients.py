"""Coefficient maps: how a latent weights the volumes of a subspace decoder."""

from abc import ABC, abstractmethod
from itertools import combinations_with_replacement

import torch
from jaxtyping import Float
from torch import Tensor, nn

from cryolatent.models.layers import ResidualMlp


class CoefficientMap(nn.Module, ABC):
    """Weights of the volumes as functions of the latent.

    Args:
        z_dim: Number of latent dimensions.
    """

    def __init__(self, z_dim: int) -> None:
        super().__init__()
        self.z_dim = z_dim

    @property
    @abstractmethod
    def size(self) -> int:
        """Number of volumes."""

    @abstractmethod
    def forward(self, z: Float[Tensor, "n zdim"]) -> Float[Tensor, "n c"]:
        """Evaluate the weights.

        Args:
            z: Latents.

        Returns:
            One weight per volume.
        """


class Linear(CoefficientMap):
    """``(1, z)``: a mean volume and one per dimension; the model of principal components."""

    @property
    def size(self) -> int:
        """One more than the latent has dimensions."""
        return self.z_dim + 1

    def forward(self, z: Float[Tensor, "n zdim"]) -> Float[Tensor, "n c"]:
        """``(1, z)``."""
        return torch.cat([z.new_ones(len(z), 1), z], dim=-1)


class Shares(CoefficientMap):
    """``z`` itself: volumes of distinct states, weighted by a particle's share in each."""

    @property
    def size(self) -> int:
        """As many as the latent has dimensions."""
        return self.z_dim

    def forward(self, z: Float[Tensor, "n zdim"]) -> Float[Tensor, "n c"]:
        """``z``."""
        return z


class Polynomial(CoefficientMap):
    """All monomials of z up to a degree.

    Args:
        z_dim: Number of latent dimensions.
        degree: Largest degree.

    Source:
        Hyper-molecules, Lederman, Andén and Singer 2020, doi:10.1088/1361-6420/ab5ede.
    """

    def __init__(self, z_dim: int, degree: int = 3) -> None:
        super().__init__(z_dim)
        self.factors = [
            list(combination)
            for order in range(1, degree + 1)
            for combination in combinations_with_replacement(range(z_dim), order)
        ]

    @property
    def size(self) -> int:
        """The number of monomials, the constant included."""
        return 1 + len(self.factors)

    def forward(self, z: Float[Tensor, "n zdim"]) -> Float[Tensor, "n c"]:
        """``(1, z_1, ..., z_1², z_1 z_2, ...)``, each of order m divided by the root of m!."""
        columns = [torch.ones_like(z[:, 0])]
        for factors in self.factors:
            scale = float(torch.lgamma(torch.tensor(len(factors) + 1.0)).exp()) ** -0.5
            columns.append(scale * z[:, factors].prod(dim=-1))
        return torch.stack(columns, dim=-1)


class Fourier(CoefficientMap):
    """Sines and cosines of each dimension, for motions that are periodic or bounded.

    Args:
        z_dim: Number of latent dimensions.
        order: Number of harmonics; the period is `PERIOD` standard deviations of the prior.

    Source:
        Hyper-molecules, Lederman, Andén and Singer 2020, doi:10.1088/1361-6420/ab5ede.
    """

    PERIOD = 8.0

    def __init__(self, z_dim: int, order: int = 2) -> None:
        super().__init__(z_dim)
        self.order = order

    @property
    def size(self) -> int:
        """A constant, and a sine and a cosine per dimension and harmonic."""
        return 1 + 2 * self.order * self.z_dim

    def forward(self, z: Float[Tensor, "n zdim"]) -> Float[Tensor, "n c"]:
        """``(1, sin(2π m z_j / period), ..., cos(2π m z_j / period), ...)``."""
        harmonics = torch.arange(1, self.order + 1, dtype=z.dtype, device=z.device)
        phase = (2 * torch.pi / self.PERIOD * z[:, :, None] * harmonics).flatten(1)
        return torch.cat([torch.ones_like(z[:, :1]), phase.sin(), phase.cos()], dim=-1)


class Network(CoefficientMap):
    """A constant, and the outputs of a small network.

    Args:
        z_dim: Number of latent dimensions.
        outputs: Number of weights that it computes.
        width: Units per layer.
    """

    def __init__(self, z_dim: int, outputs: int = 8, width: int = 64) -> None:
        super().__init__(z_dim)
        self.input = nn.Linear(z_dim, width)
        self.hidden = ResidualMlp(width, 1)
        self.output = nn.Linear(width, outputs)

    @property
    def size(self) -> int:
        """One more than the network has outputs."""
        return 1 + self.output.out_features

    def forward(self, z: Float[Tensor, "n zdim"]) -> Float[Tensor, "n c"]:
        """``(1, network(z))``."""
        weights = self.output(self.hidden(torch.relu(self.input(z))))
        return torch.cat([torch.ones_like(z[:, :1]), weights], dim=-1)


COEFFICIENTS: dict[str, type[CoefficientMap]] = {
    "linear": Linear,
    "polynomial": Polynomial,
    "fourier": Fourier,
    "network": Network,
    "shares": Shares,
}
