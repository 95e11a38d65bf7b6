"""What a posterior returns: a distribution over latents, one row per particle."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


class Distribution(ABC):
    """A distribution of the latent of each particle in a batch, against a standard normal prior."""

    @property
    @abstractmethod
    def mean(self) -> Float[Tensor, "n zdim"]:
        """Expected latents."""

    @abstractmethod
    def rsample(self, generator: torch.Generator | None = None) -> Float[Tensor, "n zdim"]:
        """Draw latents, differentiably.

        Args:
            generator: Source of randomness.

        Returns:
            One draw per particle.
        """

    @abstractmethod
    def kl(self) -> Float[Tensor, " n"]:
        """Kullback-Leibler divergence from the prior, in nats.

        Returns:
            One value per particle.
        """

    @abstractmethod
    def to_columns(self) -> dict[str, Float[Tensor, " n"]]:
        """Name the parameters as table columns.

        Returns:
            One column per scalar parameter.
        """

    @classmethod
    @abstractmethod
    def from_columns(cls, columns: dict[str, Float[Tensor, " n"]]) -> "Distribution":
        """Build the distribution from the columns of `to_columns`.

        Args:
            columns: One column per scalar parameter.

        Returns:
            The distribution.
        """


@dataclass(frozen=True)
class DiagonalNormal(Distribution):
    """Normal distributions with independent components.

    Args:
        loc: Means.
        log_var: Logarithms of the variances.
    """

    loc: Float[Tensor, "n zdim"]
    log_var: Float[Tensor, "n zdim"]

    @property
    def mean(self) -> Float[Tensor, "n zdim"]:
        """Expected latents."""
        return self.loc

    def rsample(self, generator: torch.Generator | None = None) -> Float[Tensor, "n zdim"]:
        """Draw latents, ``μ + σ ε`` (Kingma and Welling 2014, arXiv:1312.6114, section 2.4)."""
        noise = torch.randn(self.loc.shape, generator=generator, dtype=self.loc.dtype)
        return self.loc + torch.exp(0.5 * self.log_var) * noise

    def kl(self) -> Float[Tensor, " n"]:
        """``½ Σ (σ² + μ² - 1 - log σ²)`` (Kingma and Welling 2014, appendix B)."""
        return 0.5 * (self.log_var.exp() + self.loc.square() - 1 - self.log_var).sum(-1)

    def to_columns(self) -> dict[str, Float[Tensor, " n"]]:
        """Columns ``mean_0 ...`` and ``log_var_0 ...``."""
        columns = {f"mean_{j}": self.loc[:, j] for j in range(self.loc.shape[1])}
        return columns | {f"log_var_{j}": self.log_var[:, j] for j in range(self.loc.shape[1])}

    @classmethod
    def from_columns(cls, columns: dict[str, Float[Tensor, " n"]]) -> "DiagonalNormal":
        """Build the distribution from the columns of `to_columns`."""
        z_dim = sum(name.startswith("mean_") for name in columns)
        loc = torch.stack([columns[f"mean_{j}"] for j in range(z_dim)], dim=-1)
        return cls(loc, torch.stack([columns[f"log_var_{j}"] for j in range(z_dim)], dim=-1))
