"""The density of latents, deconvolved: what mixture of places makes the particles' likelihoods.

A histogram of posterior means is no density: each is drawn towards the prior by as much as its
image is poor. A particle's likelihood, its posterior over the prior, is not. The mixing density
that makes all of them most probable is found by expectation maximisation; it is a mixture of normal
kernels about fixed places, whose width is the largest that particles kept aside do not refuse.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from jaxtyping import Float
from torch import Tensor

from cryolatent.analysis.map_details import LatentDensity
from cryolatent.io.files import void, write_atomically
from cryolatent.models.distributions import Distribution
from cryolatent.models.latents import Latents
from cryolatent.models.mixture import likelihood_terms
from cryolatent.progress import Stage, silent
from cryolatent.runs.run import Run

PLACES = {1: 96, 2: 28}
"""Grid points along an axis, by the number of dimensions; of more, latents are the places."""

MOST_PLACES, REACH = 600, 2.0
"""Places in more dimensions; how far a grid reaches beyond a mean, in standard deviations."""

WIDTHS = (0.7, 0.5, 0.35, 0.25, 0.17, 0.12)
"""Widths of kernels that are tried, in standard deviations of the prior."""

ITERATIONS, ENOUGH = 100, 1e-5
"""Most iterations, and the gain in nats per particle below which they end."""

RESAMPLES, STEPS, KEPT_ASIDE = 25, 40, 4
LEAST_PARTICLES, MOST_PARTICLES = 100, 5_000
"""Of fewer particles no density is found, and of this many, drawn evenly, at most."""

NARROWEST = 1e-6
"""Added to a fitted normal density's variance, which of particles that are alike is zero."""


@dataclass(frozen=True)
class Density:
    """A mixture of normal kernels.

    Args:
        places: Where they are, in standard deviations of the prior.
        weights: Their shares.
        width: Their standard deviation.
        resampled: Shares for resamples of the particles.
        gain: As in `LatentDensity`.
    """

    places: Float[Tensor, "g zdim"]
    weights: Float[Tensor, " g"]
    width: float
    resampled: Float[Tensor, "b g"]
    gain: float

    def at(self, points: Float[Tensor, "m zdim"]) -> Float[Tensor, "b1 m"]:
        """The density, and that of every resample.

        Args:
            points: In standard deviations of the prior.

        Returns:
            Per unit of latent space; the first row is that of all particles.
        """
        z_dim = points.shape[1]
        squared = torch.cdist(points.double(), self.places.double()).square()
        norm = (2 * torch.pi) ** (z_dim / 2) * self.width**z_dim
        kernel = torch.exp(-0.5 * squared / self.width**2) / norm
        return torch.cat([self.weights[None], self.resampled]).double() @ kernel.T

    @property
    def modes(self) -> tuple[int, float]:
        """Number of maxima along one dimension, and the share of resamples with as many."""
        rows = self.at(self.places).numpy()
        counts = [_maxima(row) for row in rows]
        return counts[0], float(np.mean([count == counts[0] for count in counts[1:]]))


def deconvolved(latents: Latents, *, seed: int = 0) -> Density | None:
    """Find the density of latents from the particles' likelihoods.

    Args:
        latents: Those of a run, against a standard normal prior.
        seed: Fixes the particles kept aside, the places in more than two dimensions and resamples.

    Returns:
        The density; None of latents without widths, whose likelihoods are not known, of none, and
        of fewer than `LEAST_PARTICLES`.

    Source:
        Kiefer and Wolfowitz 1956, doi:10.1214/aoms/1177728066; Laird 1978,
        doi:10.1080/01621459.1978.10480103.
    """
    posterior = latents.distribution
    covariance = covariance_of(posterior)
    few = float(latents.is_particle.sum()) < LEAST_PARTICLES
    if covariance is None or not posterior.mean.shape[1] or few:
        return None
    terms = likelihood_terms(posterior.mean.double(), covariance.double())
    gram, inner = _positive(terms[0][:, 1:, 1:].double()), terms[1][:, 1:].double()
    generator = torch.Generator().manual_seed(seed)
    real = latents.is_particle.double()
    places = _places(posterior.mean, covariance, generator).double()
    drawn = torch.randperm(len(real), generator=generator)[:MOST_PARTICLES]
    gram, inner, real = gram[drawn], inner[drawn], real[drawn]
    aside = torch.randperm(len(real), generator=generator) % KEPT_ASIDE == 0
    scores = {}
    for width in WIDTHS:
        table = _likelihoods(gram, inner, places, width)
        weights = _climb(table[~aside], real[~aside])
        scores[width] = _score(table[aside], weights)
    width = _widest(scores, real[aside])
    table = _likelihoods(gram, inner, places, width)
    weights = _climb(table, real)
    draws = [
        torch.bincount(
            torch.randint(len(real), (len(real),), generator=generator), minlength=len(real)
        )
        for _ in range(RESAMPLES)
    ]
    resampled = [_climb(table, real * draw) for draw in draws]
    normal = _normal_score(gram, inner, real, aside)
    gain = float((real[aside] * (scores[width] - normal)).sum() / real[aside].sum())
    return Density(places, weights, width, torch.stack(resampled), gain)


def write_density(
    run: Run, latents: Latents, seed: int, stage: Stage = silent
) -> LatentDensity | None:
    """Write ``analysis/density.parquet``: places ``z0 ...``, density, and its 95 % interval.

    Args:
        run: A run with such latents.
        latents: Its latents.
        seed: As in `deconvolved`.
        stage: Told when it is done.

    Returns:
        What it says; None where there is no density.
    """
    path = run.analysis / "density.parquet"
    path.unlink(missing_ok=True)
    advance = stage("density", 1)
    found = deconvolved(latents, seed=seed)
    advance(1)
    if found is None:
        return None
    values = found.at(found.places)
    error = 1.96 * values[1:].std(0)
    columns = {f"z{axis}": column.numpy() for axis, column in enumerate(found.places.T)}
    columns |= {"density": values[0].numpy()}
    columns |= {"low": (values[0] - error).clamp(min=0).numpy()}
    columns |= {"high": (values[0] + error).numpy()}
    table = pa.table(columns)
    write_atomically(path, lambda partial: void(pq.write_table(table, partial)))
    modes = found.modes if found.places.shape[1] == 1 else (None, None)
    return LatentDensity(
        file=path.relative_to(run.path).as_posix(),
        width=found.width,
        gain=found.gain,
        modes=modes[0],
        modes_share=modes[1],
    )


def covariance_of(posterior: Distribution) -> Float[Tensor, "n zdim zdim"] | None:
    """The covariances of normal posteriors.

    Args:
        posterior: Of any kind.

    Returns:
        One per particle; None of a kind that has none.
    """
    if posterior.is_discrete or not posterior.is_bound:
        return None
    full = posterior.covariance_or_none
    return torch.diag_embed(posterior.as_diagonal().log_var.exp()) if full is None else full


def _positive(gram: Float[Tensor, "n z z"]) -> Float[Tensor, "n z z"]:
    """A posterior that is wider than the prior says nothing; it does not say less."""
    values, vectors = torch.linalg.eigh(gram)
    return (vectors * values.clamp(min=0)[:, None]) @ vectors.mT


def _places(mean: Tensor, covariance: Tensor, generator: torch.Generator) -> Float[Tensor, "g z"]:
    """An even grid of one or two dimensions; of more, a draw from some particles' posteriors."""
    z_dim = mean.shape[1]
    if z_dim not in PLACES:
        rows = torch.randperm(len(mean), generator=generator)[:MOST_PLACES]
        noise = torch.randn(len(rows), z_dim, 1, generator=generator)
        return mean[rows] + (torch.linalg.cholesky(covariance[rows]) @ noise)[..., 0]
    spread = REACH * covariance.diagonal(dim1=-2, dim2=-1).sqrt()
    low, high = (mean - spread).amin(0), (mean + spread).amax(0)
    axes = [
        torch.linspace(float(a), float(b), PLACES[z_dim]) for a, b in zip(low, high, strict=True)
    ]
    return torch.cartesian_prod(*axes).reshape(-1, z_dim)


def _likelihoods(
    gram: Float[Tensor, "n z z"],
    inner: Float[Tensor, "n z"],
    places: Float[Tensor, "g z"],
    width: float,
) -> Float[Tensor, "n g"]:
    """Log likelihood of every particle under a normal kernel about every place.

    ``∫ exp(bᵀz - ½ zᵀAz) N(z; c, h²) dz`` in closed form.
    """
    eye = torch.eye(gram.shape[-1], dtype=gram.dtype)
    wider = torch.linalg.inv(eye + width**2 * gram)
    quadratic, linear = gram @ wider, (wider @ inner[..., None])[..., 0]
    constant = 0.5 * (torch.logdet(wider) + width**2 * (linear * inner).sum(-1))
    outer = (places[:, :, None] * places[:, None]).flatten(1)
    return constant[:, None] + linear @ places.T - 0.5 * quadratic.flatten(1) @ outer.T


def _climb(
    table: Float[Tensor, "n g"], counts: Float[Tensor, " n"], iterations: int = ITERATIONS
) -> Float[Tensor, " g"]:
    """Expectation maximisation of the shares; the likelihood is concave in them."""
    likelihood = torch.exp(table - table.amax(1, keepdim=True))
    weights = torch.full(table.shape[1:], 1 / table.shape[1], dtype=table.dtype)
    before, counts = -torch.inf, counts / counts.sum()
    for _ in range(iterations):
        each = (likelihood @ weights).clamp(min=1e-300)
        found = float(counts @ each.log())
        if found - before < ENOUGH:
            break
        weights, before = weights * ((counts / each) @ likelihood), found
    return weights


def _score(table: Float[Tensor, "n g"], weights: Float[Tensor, " g"]) -> Float[Tensor, " n"]:
    return torch.logsumexp(table + weights.clamp(min=1e-300).log(), dim=1)


def _widest(scores: dict[float, Float[Tensor, " n"]], real: Float[Tensor, " n"]) -> float:
    """The widest kernel at most one standard error behind the best, particle by particle."""
    means = {width: float((real * score).sum()) for width, score in scores.items()}
    best = max(means, key=lambda width: means[width])
    for width, score in scores.items():
        behind = real * (scores[best] - score)
        if float(behind.sum()) <= float(behind.std()) * len(behind) ** 0.5:
            return width
    return best


def _normal_score(gram: Tensor, inner: Tensor, real: Tensor, aside: Tensor) -> Float[Tensor, " n"]:
    """Log likelihood of particles kept aside under a normal density fitted to the others."""
    kept, counts = ~aside, real[~aside] / real[~aside].sum()
    z_dim = gram.shape[-1]
    mean, covariance = torch.zeros(z_dim).double(), torch.eye(z_dim).double()
    for _ in range(STEPS):
        precision = torch.linalg.inv(covariance)
        posterior = torch.linalg.inv(gram[kept] + precision)
        means = (posterior @ (inner[kept] + precision @ mean)[..., None])[..., 0]
        mean = counts @ means
        apart = means - mean
        scatter = posterior + apart[:, :, None] * apart[:, None]
        covariance = torch.einsum("n,nab->ab", counts, scatter)
    root = torch.linalg.cholesky(covariance + NARROWEST * torch.eye(z_dim).double())
    turned = root.mT @ gram[aside] @ root
    right = (root.mT @ (inner[aside] - gram[aside] @ mean)[..., None])[..., 0]
    narrow = torch.linalg.inv(torch.eye(z_dim).double() + turned)
    at_mean = inner[aside] @ mean - 0.5 * torch.einsum("nab,a,b->n", gram[aside], mean, mean)
    quadratic = torch.einsum("na,nab,nb->n", right, narrow, right)
    return at_mean + 0.5 * (torch.logdet(narrow) + quadratic)


def _maxima(row: Float[np.ndarray, " g"]) -> int:
    """Maxima of a curve that is zero beyond its ends."""
    signs = np.sign(np.diff(np.concatenate([[0.0], row, [0.0]])))
    signs = signs[signs != 0]
    return sum(1 for first, second in pairwise(signs) if first > 0 > second)
