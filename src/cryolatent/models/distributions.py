"""What a posterior returns: a distribution over latents, one row per particle."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from math import log, pi
from typing import Any, ClassVar, TypeVar, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor

Same = TypeVar("Same", bound="Distribution")


class Distribution(ABC):
    """A distribution of the latent of each particle in a batch, against a standard normal prior.

    With `is_bound` the log likelihood of a sample less `kl` is, on average, a lower bound of the
    evidence. Without, the distribution is a point, and the same difference is the log joint
    density ``log p(x, z)``, which bounds nothing and compares with no bound.
    """

    is_bound: ClassVar[bool] = True
    marker: ClassVar[str]
    """A column that no other kind of distribution has."""
    is_fitted: ClassVar[bool] = False
    """Whether gradient steps on single particles can fit it (`cryolatent.models.Fitted`)."""
    is_discrete: ClassVar[bool] = False
    """Whether particles are in clusters of the distribution's own: the components of the mean."""

    @property
    @abstractmethod
    def mean(self) -> Float[Tensor, "n zdim"]:
        """Expected latents."""

    @property
    def certainty(self) -> Float[Tensor, " n"] | None:
        """How much is known of each latent, from 0 (the prior) to 1; None where nothing says so."""
        return None

    @property
    def prior_mean(self) -> Float[Tensor, " zdim"]:
        """Expected latent before an image is seen."""
        return torch.zeros_like(self.mean[:1]).sum(0)

    @property
    def covariance_or_none(self) -> Float[Tensor, "n zdim zdim"] | None:
        """Full covariances, where the distribution has them."""
        return None

    def as_diagonal(self) -> "DiagonalNormal":
        """Independent normal distributions that a table may start from; of points of width one.

        Raises:
            TypeError: If the latents are not those of a normal prior.
        """
        raise TypeError(f"{type(self).__name__} is no normal distribution")

    @classmethod
    def about(cls: type[Same], loc: Float[Tensor, "n zdim"], log_var: float) -> Same:
        """Where gradient steps on single particles may begin.

        Args:
            loc: Means.
            log_var: Logarithm of the variances, for kinds that have any.

        Returns:
            One row per mean.

        Raises:
            TypeError: If the kind is not fitted so (`is_fitted`).
        """
        raise TypeError(f"{cls.__name__} is not fitted by gradient steps")

    def at(self: Same, rows: Int[Tensor, " m"]) -> Same:
        """Some of the rows.

        Args:
            rows: Their positions.

        Returns:
            A distribution of the same kind.
        """
        return type(self)(*(part[rows] for part in parameters_of(self)))

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
        """Kullback-Leibler divergence from the prior, in nats; of points what takes its place.

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


NO_DIMENSIONS = "no_dimensions"
"""Column of normal distributions over a latent space of no dimensions."""


@dataclass(frozen=True)
class DiagonalNormal(Distribution):
    """Normal distributions with independent components.

    Args:
        loc: Means.
        log_var: Logarithms of the variances.
    """

    marker: ClassVar[str] = "log_var_0"
    is_fitted: ClassVar[bool] = True
    loc: Float[Tensor, "n zdim"]
    log_var: Float[Tensor, "n zdim"]

    @property
    def mean(self) -> Float[Tensor, "n zdim"]:
        """Expected latents."""
        return self.loc

    @property
    def certainty(self) -> Float[Tensor, " n"]:
        """The share of the prior's variance that is gone."""
        return (1 - self.log_var.exp().mean(-1)).clamp(0, 1)

    def as_diagonal(self) -> "DiagonalNormal":
        """The same."""
        return self

    @classmethod
    def about(cls, loc: Float[Tensor, "n zdim"], log_var: float) -> "DiagonalNormal":
        """Of one width."""
        return cls(loc, torch.full_like(loc, log_var))

    def rsample(self, generator: torch.Generator | None = None) -> Float[Tensor, "n zdim"]:
        """Draw latents, ``μ + σ ε`` (Kingma and Welling 2014, arXiv:1312.6114, section 2.4)."""
        noise = _noise(self.loc, generator)
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


@dataclass(frozen=True)
class FullNormal(Distribution):
    """Normal distributions with correlated components.

    Args:
        loc: Means.
        covariance: Covariances.
    """

    marker: ClassVar[str] = "cov_0_0"
    loc: Float[Tensor, "n zdim"]
    covariance: Float[Tensor, "n zdim zdim"]

    @property
    def mean(self) -> Float[Tensor, "n zdim"]:
        """Expected latents."""
        return self.loc

    @property
    def certainty(self) -> Float[Tensor, " n"]:
        """The share of the prior's variance that is gone."""
        size = max(1, self.loc.shape[1])
        gone = 1 - self.covariance.diagonal(dim1=-2, dim2=-1)
        return (gone.sum(-1) / size).clamp(0, 1)

    @property
    def covariance_or_none(self) -> Float[Tensor, "n zdim zdim"]:
        """The covariances."""
        return self.covariance

    def as_diagonal(self) -> DiagonalNormal:
        """The same means and variances without correlations."""
        return DiagonalNormal(self.loc, self.covariance.diagonal(dim1=-2, dim2=-1).log())

    def rsample(self, generator: torch.Generator | None = None) -> Float[Tensor, "n zdim"]:
        """Draw latents, ``μ + L ε`` with ``L Lᵀ = Σ``."""
        noise = _noise(self.loc, generator)
        return self.loc + (torch.linalg.cholesky(self.covariance) @ noise[..., None])[..., 0]

    def kl(self) -> Float[Tensor, " n"]:
        """``½ (tr Σ + μᵀμ - d - log det Σ)``."""
        return normal_kl(self.loc, self.covariance)

    def to_columns(self) -> dict[str, Float[Tensor, " n"]]:
        """Columns ``mean_0 ...`` and ``cov_0_0``, ``cov_1_0``, ``cov_1_1`` ..."""
        size = self.loc.shape[1]
        if not size:
            return {NO_DIMENSIONS: self.loc.new_zeros(len(self.loc))}
        columns = {f"mean_{j}": self.loc[:, j] for j in range(size)}
        return columns | {
            f"cov_{j}_{k}": self.covariance[:, j, k] for j in range(size) for k in range(j + 1)
        }

    @classmethod
    def from_columns(cls, columns: dict[str, Float[Tensor, " n"]]) -> "FullNormal":
        """Build the distribution from the columns of `to_columns`."""
        size = sum(name.startswith("mean_") for name in columns)
        loc = torch.stack([columns[f"mean_{j}"] for j in range(size)], dim=-1)
        rows = [
            torch.stack([columns[f"cov_{max(j, k)}_{min(j, k)}"] for k in range(size)], dim=-1)
            for j in range(size)
        ]
        return cls(loc, torch.stack(rows, dim=1))


@dataclass(frozen=True)
class OneOf(Distribution):
    """Distributions over K states; a latent is the state's unit vector.

    Args:
        shares: Probability of each state.
        log_weights: Logarithms of the states' prior probabilities.
    """

    marker: ClassVar[str] = "share_0"
    is_discrete: ClassVar[bool] = True
    shares: Float[Tensor, "n k"]
    log_weights: Float[Tensor, "n k"]

    @property
    def mean(self) -> Float[Tensor, "n k"]:
        """Expected latents: the shares."""
        return self.shares

    @property
    def prior_mean(self) -> Float[Tensor, " k"]:
        """Prior probabilities of the states."""
        return self.log_weights[0].exp()

    @property
    def certainty(self) -> Float[Tensor, " n"]:
        """The largest share."""
        return self.shares.amax(-1)

    def rsample(self, generator: torch.Generator | None = None) -> Float[Tensor, "n k"]:
        """Draw states; the gradient is that of the shares (straight through).

        Source:
            Bengio, Léonard and Courville 2013, arXiv:1308.3432.
        """
        shares = self.shares.detach()
        if generator is not None:
            shares = shares.to(generator.device)
        drawn = torch.multinomial(shares, 1, generator=generator)[:, 0].to(self.shares.device)
        hard = torch.nn.functional.one_hot(drawn, self.shares.shape[1]).to(self.shares.dtype)
        return hard + self.shares - self.shares.detach()

    def kl(self) -> Float[Tensor, " n"]:
        """``Σ_k r_k (log r_k - log π_k)``."""
        entropy = torch.xlogy(self.shares, self.shares)
        return (entropy - self.shares * self.log_weights).sum(-1).clamp(min=0)

    def to_columns(self) -> dict[str, Float[Tensor, " n"]]:
        """Columns ``share_0 ...`` and ``log_weight_0 ...``."""
        columns = {f"share_{k}": self.shares[:, k] for k in range(self.shares.shape[1])}
        return columns | {
            f"log_weight_{k}": self.log_weights[:, k] for k in range(self.shares.shape[1])
        }

    @classmethod
    def from_columns(cls, columns: dict[str, Float[Tensor, " n"]]) -> "OneOf":
        """Build the distribution from the columns of `to_columns`."""
        states = range(sum(name.startswith("share_") for name in columns))
        parts = (
            torch.stack([columns[f"{name}_{k}"] for k in states], dim=-1)
            for name in ("share", "log_weight")
        )
        return cls(*parts)


@dataclass(frozen=True)
class Delta(Distribution):
    """Points: one latent per particle and no uncertainty.

    The divergence of a point from a density is infinite, so none is given; a training that takes
    the penalty in its place finds the maximum a posteriori of the joint density.

    Args:
        point: The latents.

    Source:
        Auto-decoding: Park et al. 2019, arXiv:1901.05103, eq. 9.
    """

    is_bound: ClassVar[bool] = False
    marker: ClassVar[str] = "point_0"
    is_fitted: ClassVar[bool] = True
    point: Float[Tensor, "n zdim"]

    @property
    def mean(self) -> Float[Tensor, "n zdim"]:
        """The points."""
        return self.point

    @classmethod
    def about(cls, loc: Float[Tensor, "n zdim"], log_var: float) -> "Delta":
        """At the means."""
        return cls(loc)

    def as_diagonal(self) -> DiagonalNormal:
        """The points as means, for a table that takes these alone."""
        return DiagonalNormal(self.point, torch.zeros_like(self.point))

    def rsample(self, generator: torch.Generator | None = None) -> Float[Tensor, "n zdim"]:
        """The points; nothing is drawn."""
        return self.point

    def kl(self) -> Float[Tensor, " n"]:
        """The penalty, minus the log density of the prior: ``½ |z|² + ½ d log 2π``."""
        return 0.5 * (self.point.square() + log(2 * pi)).sum(-1)

    def to_columns(self) -> dict[str, Float[Tensor, " n"]]:
        """Columns ``point_0 ...``."""
        return {f"point_{j}": self.point[:, j] for j in range(self.point.shape[1])}

    @classmethod
    def from_columns(cls, columns: dict[str, Float[Tensor, " n"]]) -> "Delta":
        """Build the distribution from the columns of `to_columns`."""
        size = sum(name.startswith("point_") for name in columns)
        return cls(torch.stack([columns[f"point_{j}"] for j in range(size)], dim=-1))


def parameters_of(q: Distribution) -> list[Tensor]:
    """The parameters of a distribution, in the order of its fields.

    Args:
        q: One row per particle.

    Returns:
        Tensors whose first dimension is the particles'.
    """
    return [getattr(q, field.name) for field in fields(cast(Any, q))]


def _noise(like: Tensor, generator: torch.Generator | None) -> Tensor:
    """Standard normal numbers, the same on every device, where the generator is the processor's."""
    if generator is None:
        return torch.randn_like(like)
    drawn = torch.randn(like.shape, generator=generator, dtype=like.dtype)
    return drawn.to(like.device)


def normal_kl(
    mean: Float[Tensor, "n zdim"], covariance: Float[Tensor, "n zdim zdim"]
) -> Float[Tensor, " n"]:
    """Divergence of normal distributions from the standard normal, in nats.

    Args:
        mean: Means.
        covariance: Covariances.

    Returns:
        ``½ (tr Σ + μᵀμ - d - log det Σ)``.
    """
    trace = covariance.diagonal(dim1=-2, dim2=-1).sum(-1)
    root = torch.linalg.cholesky(covariance)
    log_det = 2 * root.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    return 0.5 * (trace + mean.square().sum(-1) - mean.shape[-1] - log_det)


def from_columns(columns: dict[str, Float[Tensor, " n"]]) -> Distribution:
    """Build the distribution that some columns describe.

    Args:
        columns: One column per scalar parameter, perhaps among others.

    Returns:
        A distribution of the kind that names its columns so.

    Raises:
        ValueError: If the columns are of no kind.
    """
    if NO_DIMENSIONS in columns:
        blank = columns[NO_DIMENSIONS][:, None]
        return FullNormal(blank[:, :0], blank[:, :0, None].mT[:, :0])
    for kind in _kinds(Distribution):
        if getattr(kind, "marker", None) in columns:
            return kind.from_columns(columns)
    raise ValueError(f"columns {sorted(columns)} describe no distribution")


def _kinds(of: type[Distribution]) -> list[type[Distribution]]:
    """All kinds, those of other packages included."""
    children = of.__subclasses__()
    return [*children, *(kind for child in children for kind in _kinds(child))]
