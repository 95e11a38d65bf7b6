"""The search for a linear subspace: exact normal posteriors, marching from low shells up."""

from dataclasses import dataclass, fields, replace

import torch
from jaxtyping import Bool, Complex, Float, Int
from torch import Tensor

from cryolatent.data import Filtered
from cryolatent.models import ExactGaussian
from cryolatent.models.contrast import Contrast
from cryolatent.models.exact import normal_moments
from cryolatent.physics import FourierLattice, unpack
from cryolatent.train.em.march import regrown
from cryolatent.train.em.search import CG_STEPS, MIN_RATIO, Search
from cryolatent.train.em.volumes import MaskedVolumes

FIRST_PASSES, PASSES = 12, 8


@dataclass(frozen=True)
class Subspace:
    """A mean volume and others that normal latents weight.

    Args:
        space: Where the fields live.
        fields: The volumes, mean first.
        evidence: Penalised evidence where the climb ended, in nats.
    """

    space: MaskedVolumes
    fields: Float[Tensor, "f z y x"]
    evidence: float

    @property
    def lattice(self) -> FourierLattice:
        """Where slices are taken."""
        return self.space.lattice

    def values(self) -> Complex[Tensor, "v c"]:
        """The volumes at the lattice's voxels."""
        return self.space.values(self.fields)


def begin(search: Search, shells: int, dimensions: int, *, starts: int, seed: int) -> Subspace:
    """Climb from several random starts; the best evidence is kept.

    Args:
        search: The particles.
        shells: Last shell, few.
        dimensions: Number of latent dimensions.
        starts: How many.
        seed: Fixes them.

    Returns:
        The best.
    """
    lattice = search.lattice(shells)
    ratios = search.noise.new_full((dimensions,), MIN_RATIO)
    mean = search.consensus(lattice)
    space = search.space(lattice, ratios, torch.eye(dimensions + 1, device=search.device))
    generator = torch.Generator().manual_seed(seed)
    noise, best = search.noise.clone(), None
    for _ in range(starts):
        search.set_noise(noise)
        fields = _random_fields(space, search.signal(shells), dimensions, generator)
        found = climb(search, space, torch.cat([mean, fields]), FIRST_PASSES)
        if best is None or found[0].evidence > best[0].evidence:
            best = found
    if best is None:
        raise ValueError(f"{starts} starts")
    search.set_noise(best[1])
    return best[0]


def march(search: Search, subspace: Subspace, shells: int, passes: int = PASSES) -> Subspace:
    """Take a subspace to more shells.

    Args:
        search: The particles.
        subspace: What fewer shells gave.
        shells: Last shell.
        passes: Passes over the particles.

    Returns:
        The subspace.
    """
    lattice, before = search.lattice(shells), subspace.space
    # first, for it shows how strong the signal is in new shells
    consensus = search.consensus(lattice)
    space = search.space(lattice, search.ratios(before, subspace.fields), before.mixing)
    fields = regrown(before.transform(subspace.fields), before.lattice, space)
    fields[:1] = consensus
    if search.doubts:
        search.survey(lattice, space.values(fields), ExactGaussian(len(fields) - 1))
        fields[:1] = search.consensus(lattice)
    found, noise = climb(search, space, fields, passes)
    search.set_noise(noise)
    return found


def climb(
    search: Search,
    space: MaskedVolumes,
    fields: Float[Tensor, "f z y x"],
    passes: int,
) -> tuple[Subspace, Float[Tensor, " shells"]]:
    """Alternate expectation and maximisation; halfway the prior is fitted to what was found.

    Between two changes of prior or noise the penalised evidence never falls.

    Args:
        search: The particles.
        space: Where the fields live.
        fields: Where to begin.
        passes: Passes over the particles.

    Returns:
        The subspace, and the noise that its residuals show.
    """
    noise, evidence = search.noise, 0.0
    posterior = ExactGaussian(len(fields) - 1)
    for number in range(passes):
        last = number == passes - 1
        found = search.expect(space, fields, posterior, refit_noise=last)
        evidence = found.evidence - space.penalty(fields)
        fields = space.improve(fields, found.matrix, found.vector, CG_STEPS)
        if number == passes // 2:
            space = search.space(space.lattice, search.ratios(space, fields), space.mixing)
            search.curve += 1
        noise = noise if found.noise is None else found.noise
    return Subspace(space, fields, evidence), noise


def turned(subspace: Subspace, axes: Float[Tensor, "d d"]) -> Subspace:
    """A subspace over other dimensions.

    Args:
        subspace: Any.
        axes: From the new latent to this one.

    Returns:
        The subspace.
    """
    others = torch.einsum("fzyx,fg->gzyx", subspace.fields[1:], axes.to(subspace.fields))
    return replace(subspace, fields=torch.cat([subspace.fields[:1], others]))


def truncated(search: Search, subspace: Subspace, dimensions: int) -> Subspace:
    """Keep the first dimensions.

    Args:
        search: The particles.
        subspace: Ordered by power.
        dimensions: How many.

    Returns:
        A smaller subspace under the prior of its own volumes.
    """
    kept = subspace.fields[: dimensions + 1]
    ratios = search.ratios(subspace.space, subspace.fields)[: len(kept) - 1]
    space = search.space(subspace.lattice, ratios, torch.eye(len(kept), device=search.device))
    return Subspace(space, kept, subspace.evidence)


@dataclass(frozen=True)
class Terms:
    """The log likelihoods of particles over a subspace: ``yᵀ ζ - ½ ζᵀ G ζ``.

    Args:
        index: Position of each particle in its stack.
        gram: Quadratic terms G.
        inner: Linear terms y.
        gain: Constant terms.
        rival: What no particle of this kind holds against them: log evidence of images that show
            none, relative to the particles' odds.
    """

    index: Int[Tensor, " n"]
    gram: Float[Tensor, "n c c"]
    inner: Float[Tensor, "n c"]
    gain: Float[Tensor, " n"]
    rival: Float[Tensor, " n"]

    def evidence(self, gain: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """Log evidence of the particles, but for a constant.

        Args:
            gain: Evidence of what explains them by the quadratic form.

        Returns:
            Evidence, with what shows no particle considered.
        """
        return torch.logaddexp(gain + self.gain, self.rival)

    def at(self, rows: Bool[Tensor, " n"]) -> "Terms":
        """Some of the particles.

        Args:
            rows: Which.

        Returns:
            Their terms.
        """
        return Terms(*(getattr(self, field.name)[rows] for field in fields(self)))

    def turned(self, axes: Float[Tensor, "d e"]) -> "Terms":
        """The same particles over other dimensions.

        Args:
            axes: From the new latent to this one.

        Returns:
            One row per particle.
        """
        turn = torch.block_diag(axes.new_ones(1, 1), axes)[:, : axes.shape[1] + 1]
        return replace(self, gram=turn.T @ self.gram @ turn, inner=self.inner @ turn)

    def means(self, contrast: Contrast) -> Float[Tensor, "n zdim"]:
        """The means of the normal posteriors under the standard normal prior.

        Args:
            contrast: Prior of the contrast.

        Returns:
            One row per particle.
        """
        return normal_moments(self.gram, self.inner, contrast).posterior.mean


def read_terms(search: Search, parts: Filtered, subspace: Subspace) -> Terms:
    """Compare particles with every volume of a subspace; poses are integrated out.

    Args:
        search: Knows noise and nuisances.
        parts: The particles.
        subspace: The volumes.

    Returns:
        One row per particle.
    """
    lattice, posterior = subspace.lattice, ExactGaussian(len(subspace.fields) - 1)
    hypothesis = search.hypothesis(lattice, subspace.values(), posterior)
    rows = [
        hypothesis.explain(part, *search.corrections.about(part))
        for part in parts.chunks(lattice.disc)
    ]
    # a few numbers a particle: choices are made on the processor
    return Terms(
        torch.cat([row.part.index for row in rows]).cpu(),
        unpack(torch.cat([row.terms.gram for row in rows])).cpu(),
        torch.cat([row.terms.inner for row in rows]).cpu(),
        torch.cat([row.terms.gain[:, 0] for row in rows]).cpu(),
        torch.cat([row.rival for row in rows]).cpu(),
    )


def _random_fields(
    space: MaskedVolumes, signal: Tensor, dimensions: int, generator: torch.Generator
) -> Float[Tensor, "f z y x"]:
    """Fields of random phases and the signal's spectrum, at `MIN_RATIO` of its power."""
    lattice = space.lattice
    white = torch.randn(dimensions, *space.mask.shape[1:], generator=generator).to(space.mask)
    values = lattice.from_field(white)
    power = lattice.shell_mean(values.abs().square()).mean(-1)
    gain = lattice.per_shell((MIN_RATIO * signal / power.clamp(min=1e-30)).sqrt())
    return lattice.to_field(values * (gain * lattice.inside)[:, None])
