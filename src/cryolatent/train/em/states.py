"""The refinement of K volumes: exact responsibilities, marching from a mixture in the subspace."""

from dataclasses import dataclass

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from cryolatent.models import Categorical
from cryolatent.models.mixture import Mixture
from cryolatent.physics import FourierLattice
from cryolatent.train.em.march import EDGE, regrown
from cryolatent.train.em.search import CG_STEPS, CONSENSUS_STEPS, Search
from cryolatent.train.em.subspace import Subspace
from cryolatent.train.em.volumes import MaskedVolumes

FIRST_PASSES, PASSES, LAST_PASSES = 6, 3, 1

LEAST_PARTICLES = 5.0
"""Expected number of particles below which a state is empty."""


@dataclass(frozen=True)
class States:
    """K volumes and their probabilities.

    Args:
        space: Where the fields live; mixing makes the volumes of the states from a mean and
            orthogonal differences.
        fields: Mean first.
        log_weights: Logarithms of the states' probabilities.
    """

    space: MaskedVolumes
    fields: Float[Tensor, "k z y x"]
    log_weights: Float[Tensor, " k"]

    @property
    def lattice(self) -> FourierLattice:
        """Where slices are taken."""
        return self.space.lattice

    def values(self) -> Complex[Tensor, "v k"]:
        """The states' volumes at the lattice's voxels."""
        return self.space.values(self.fields)


def from_mixture(search: Search, subspace: Subspace, mixture: Mixture) -> States:
    """The volumes at a mixture's points.

    Args:
        search: The particles.
        subspace: Where the points lie.
        mixture: The states.

    Returns:
        Volumes, at the subspace's shells.
    """
    points = mixture.points.to(search.device)
    zeta = torch.cat([torch.ones_like(points[:, :1]), points], dim=-1)
    mixing = _contrasts(len(points)).to(search.device)
    # contiguous, as a checkpoint gives it back: the order of sums depends on it
    fields = torch.einsum("czyx,kc,kf->fzyx", subspace.fields, zeta, mixing).contiguous()
    blank = points.new_zeros(len(points) - 1)
    space = search.space(subspace.lattice, blank + 1, mixing)
    return States(_refitted(search, space, fields), fields, mixture.log_weights.to(search.device))


def march(search: Search, states: States, shells: int, *, last: bool) -> States:
    """Take the volumes to more shells, by exact responsibilities.

    Args:
        search: The particles.
        states: What fewer shells gave.
        shells: Last shell.
        last: Whether these are the last, so that volumes are solved for more closely.

    Returns:
        The states.
    """
    lattice, before = search.lattice(shells), states.space
    # first, for it shows how strong the signal is in new shells
    consensus = search.consensus(lattice)
    ratios, mixing = search.ratios(before, states.fields), before.mixing
    # one ratio for all: the differences are an arbitrary basis
    space = search.space(lattice, ratios.mean().expand(len(ratios)), mixing)
    fields = regrown(before.transform(states.fields), before.lattice, space)
    log_weights = states.log_weights
    fields[:1] += _to_consensus(space, fields, log_weights, consensus)
    if search.doubts:
        search.survey(lattice, space.values(fields), Categorical(len(fields), log_weights))
        fields[:1] += _to_consensus(space, fields, log_weights, search.consensus(lattice))
    passes = LAST_PASSES if last else FIRST_PASSES if lattice == before.lattice else PASSES
    cg_steps = CONSENSUS_STEPS if last else CG_STEPS
    for number in range(passes):
        posterior = Categorical(len(fields), log_weights)
        found = search.expect(space, fields, posterior, refit_noise=number == 0)
        fields = space.improve(fields, found.matrix, found.vector, cg_steps)
        weights = found.mean.clamp(min=1e-6)
        log_weights = (weights / weights.sum()).log()
        if found.noise is not None:
            search.set_noise(found.noise)
    return States(space, fields, log_weights)


def without_empty(search: Search, states: States) -> States:
    """Leave out states that hold no particles to speak of.

    Args:
        search: The particles.
        states: Any number.

    Returns:
        Those of at least `LEAST_PARTICLES`, and the most frequent one in any case.
    """
    counts = states.log_weights.exp() * len(search.parts)
    kept = (counts >= LEAST_PARTICLES) | (counts == counts.max())
    if kept.all():
        return states
    before = states.space
    mixing = _contrasts(int(kept.sum())).to(search.device)
    # in both bases the others' masks are those of the fields that differ from the mean
    volumes = torch.einsum("fzyx,cf->czyx", states.fields, before.mixing[kept])
    fields = torch.einsum("czyx,cf->fzyx", volumes, mixing).contiguous()
    ratio = search.ratios(before, states.fields).mean()
    space = search.space(before.lattice, ratio.expand(len(fields) - 1), mixing)
    log_weights = states.log_weights[kept]
    search.told.append(f"{int((~kept).sum())} states without particles are left out")
    return States(space, fields, log_weights - log_weights.logsumexp(0))


def _to_consensus(
    space: MaskedVolumes,
    fields: Float[Tensor, "k z y x"],
    log_weights: Float[Tensor, " k"],
    consensus: Float[Tensor, "1 z y x"],
) -> Float[Tensor, "1 z y x"]:
    """What the first field lacks for the mean, weighted by populations, to be the consensus.

    An unweighted mean would push states of unequal populations off what they explain.
    """
    share = log_weights.exp() @ space.mixing
    mask = space.mask[:1]
    others = (space.mask * fields)[1:] / mask.clamp(min=EDGE) * (mask > EDGE)
    mean = share[0] * fields[:1] + torch.einsum("f,fzyx->zyx", share[1:], others)
    return (consensus - mean) / share[0]


def _refitted(search: Search, space: MaskedVolumes, fields: Tensor) -> MaskedVolumes:
    ratios = search.ratios(space, fields)
    return search.space(space.lattice, ratios.mean().expand(len(ratios)), space.mixing)


def _contrasts(states: int) -> Float[Tensor, "k k"]:
    """An orthogonal matrix whose first column is constant: a mean, and differences."""
    start = torch.eye(states)
    start[:, 0] = 1
    basis = torch.linalg.qr(start).Q
    return (basis * basis[0, 0].sign()).contiguous()
