"""Inference particle by particle with a frozen decoder: gradient ascent on each one's bound."""

import math
from collections.abc import Sequence
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from cryolatent.data import Batch
from cryolatent.models.distributions import Distribution, parameters_of
from cryolatent.models.generative import GenerativeModel

Fit = TypeVar("Fit", bound=Distribution)

STEPS = 200
LEARNING_RATE = 0.1
SAMPLES = 16
NARROW_LOG_VAR = -2.0


def fit_latents(
    batch: Batch,
    model: GenerativeModel,
    start: Fit,
    *,
    steps: int = STEPS,
    learning_rate: float = LEARNING_RATE,
    generator: torch.Generator | None = None,
) -> Fit:
    """Raise the evidence lower bound of each particle's images, or the log joint density of points.

    Adam on the distributions' own parameters, with a learning rate that falls to zero along half a
    cosine, and with samples in pairs ``μ ± σ ε``, whose slopes in μ are free of noise where the
    bound is quadratic. Neither decoder nor likelihood is changed, and no residuals are collected.

    Args:
        batch: The particles, with the images to be explained.
        model: Decoder and likelihood.
        start: Where to begin: normal distributions or points.
        steps: Number of steps.
        learning_rate: That of the first step.
        generator: Source of randomness of the samples.

    Returns:
        Distributions of the kind of the start.
    """
    parts = [part.detach().clone().requires_grad_() for part in parameters_of(start)]
    q = type(start)(*parts)
    optimiser = torch.optim.Adam(parts, lr=learning_rate)
    with model.frozen():
        misfit = model.misfit(batch)
        for step in range(steps):
            optimiser.param_groups[0]["lr"] = _falling(learning_rate, step / steps)
            optimiser.zero_grad()
            z = q.rsample(generator)
            mean = 0.5 * (misfit(z) + misfit(2 * q.mean - z)) if q.is_bound else misfit(z)
            (mean + q.kl()).sum().backward()
            optimiser.step()
    return type(start)(*(part.detach() for part in parts))


@torch.no_grad()
def bounds(
    batch: Batch,
    model: GenerativeModel,
    candidates: Sequence[Distribution],
    *,
    samples: int = SAMPLES,
    seed: int = 0,
) -> Float[Tensor, "c n"]:
    """Bounds of some particles' images under several distributions, by the same samples.

    Args:
        batch: The particles, with the images to be explained.
        model: Decoder and likelihood.
        candidates: Distributions, each of all particles.
        samples: Number of samples; points need but one.
        seed: Fixes the samples.

    Returns:
        Evidence lower bounds, or log joint densities of points, in nats.
    """
    misfit, scores = model.misfit(batch), []
    for q in candidates:
        generator = torch.Generator().manual_seed(seed)
        draws = [misfit(q.rsample(generator)) for _ in range(samples if q.is_bound else 1)]
        scores.append(-(torch.stack(draws).mean(0) + q.kl()))
    return torch.stack(scores)


@torch.no_grad()
def best_of(
    batch: Batch,
    model: GenerativeModel,
    candidates: Sequence[Fit],
    *,
    samples: int = SAMPLES,
    seed: int = 0,
) -> Fit:
    """Choose the best candidate for each particle, all judged by the same samples.

    Args:
        batch: The particles, with the images to be explained.
        model: Decoder and likelihood.
        candidates: Distributions of one kind, each of all particles.
        samples: Number of samples; points need but one.
        seed: Fixes the samples.

    Returns:
        Each particle's candidate of the largest bound, or log joint density of points; not a number
        where no candidate has one.
    """
    stacked = -bounds(batch, model, candidates, samples=samples, seed=seed)
    best = stacked.nan_to_num(nan=torch.inf).argmin(0)
    rows = torch.arange(len(batch), device=best.device)
    columns = zip(*(parameters_of(q) for q in candidates), strict=True)
    chosen = [torch.stack(part)[best, rows] for part in columns]
    # where no candidate has a score none is better, and nobody should take the first for it
    lost = stacked.isnan().all(0)
    return type(candidates[0])(*(part.masked_fill(_like(lost, part), torch.nan) for part in chosen))


def prior_starts(
    kind: type[Fit], particles: int, z_dim: int, starts: int, seed: int = 0
) -> list[Fit]:
    """Where to begin without a proposal: the prior or its mean, then draws of the prior.

    Args:
        kind: Normal distributions or points.
        particles: Number of particles.
        z_dim: Number of latent dimensions.
        starts: Number of starts, at least one.
        seed: Fixes the draws; those of fewer starts come first.

    Returns:
        The starts; normal distributions about draws are narrower than the prior.
    """
    generator = torch.Generator().manual_seed(seed)
    zero = torch.zeros(particles, z_dim)
    found = [kind.about(zero, 0.0)]
    for _ in range(starts - 1):
        drawn = torch.randn(zero.shape, generator=generator)
        found.append(kind.about(drawn, NARROW_LOG_VAR))
    return found


@torch.no_grad()
def pool_start(batch: Batch, model: GenerativeModel, pool: Fit) -> Fit:
    """Where to begin, given what is believed of other particles: the most probable of it.

    Args:
        batch: The particles, with the images to be explained.
        model: Decoder and likelihood.
        pool: Distributions of the other particles' latents.

    Returns:
        For each particle the distribution of the pool whose mean has the largest joint density.
    """
    misfit = model.misfit(batch)
    best = torch.full((len(batch),), torch.inf)
    chosen = torch.zeros(len(batch), dtype=torch.long)
    for number, latent in enumerate(pool.mean):
        score = misfit(latent.expand(len(batch), -1)) + 0.5 * latent.square().sum()
        closer = score < best
        best, chosen = torch.where(closer, score, best), chosen.masked_fill(closer, number)
    return pool.at(chosen)


def _like(rows: Tensor, part: Tensor) -> Tensor:
    return rows.reshape(-1, *[1] * (part.ndim - 1))


def _falling(rate: float, share: float) -> float:
    return rate * 0.5 * (1 + math.cos(math.pi * share))
