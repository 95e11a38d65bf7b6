"""How many dimensions, how many states: what particles kept aside say."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from cryolatent.models.contrast import Contrast
from cryolatent.models.exact import normal_moments
from cryolatent.models.mixture import Mixture, fit_mixture
from cryolatent.train.choice import MOST_STATES, NOTHING, READING, Candidate, Choice
from cryolatent.train.em.subspace import Terms

CONTINUUM = 0
"""Number of states of a normal distribution over the subspace."""

SCALES = (1.0, 0.85, 0.7, 0.55, 0.4, 0.25)
"""How much nearer to each other states may be for particles kept aside than for the others."""

AXIS_STEPS, LEAST_VARIANCE = 40, 1e-8

PATIENCE = 3
"""How many numbers of states in a row may be worse than the best before no more are tried."""


def choose_dimensions(
    held: Terms, contrast: Contrast, part: Int[Tensor, " n"]
) -> tuple[Choice, Float[Tensor, "d d"]]:
    """Compare the evidence of particles kept aside under subspaces of more and more dimensions.

    Volumes fit the noise of the particles that they were made from: for others they are too large,
    and dimensions of noise are as large as those of the molecule. So the covariance of the latent
    is fitted to particles kept aside, and its first principal axes are compared on others of them:
    each part under the covariance of all others.

    Args:
        held: Particles that no volume was made from.
        contrast: Prior of the contrast.
        part: Which part each of them belongs to.

    Returns:
        The curve from no dimension up, and the choice; and from the latent of the axes, in the
        order of falling variance, to that of the subspace.
    """
    numbers = list(range(held.inner.shape[1]))
    parts = part.unique().tolist()
    shown = [held.at(part == number) for number in parts]
    axes = [principal_axes(held.at(part != number), contrast) for number in parts]
    gains = []
    for d in numbers:
        pairs = zip(shown, axes, strict=True)
        gains.append(
            torch.cat([_evidence(some.turned(turn[:, :d]), contrast) for some, turn in pairs])
        )
    return choose("dimensions", numbers, torch.stack(gains)), principal_axes(held, contrast)


def principal_axes(terms: Terms, contrast: Contrast) -> Float[Tensor, "d d"]:
    """Principal axes of the latents of some particles, each as long as its standard deviation.

    The latents' covariance is the one of the largest evidence, by expectation maximisation.

    Args:
        terms: The particles.
        contrast: Prior of the contrast.

    Returns:
        One axis a column, the longest first.
    """
    root = torch.eye(terms.inner.shape[1] - 1)
    if not terms.inner.numel() or not len(root):
        return root
    for _ in range(AXIS_STEPS):
        there = terms.turned(root)
        found = normal_moments(there.gram, there.inner, contrast)
        share = torch.sigmoid(found.gain + there.gain - there.rival)
        # of a ζ, a the contrast, which hardly depends on z
        second = found.second[:, 1:, 1:] / found.second[:, :1, :1]
        mean = torch.einsum("n,nij->ij", share, second) / share.sum().clamp(min=1e-9)
        variance, turn = torch.linalg.eigh((root @ mean @ root.T).double())
        root = (turn * variance.clamp(min=LEAST_VARIANCE).sqrt()).float()
    return root.flip(-1)


def _evidence(held: Terms, contrast: Contrast) -> Float[Tensor, " n"]:
    """Evidence under a standard normal latent."""
    return held.evidence(normal_moments(held.gram, held.inner, contrast).gain)


def choose_states(
    train: Terms, held: Terms, contrast: Contrast, seed: int, most: int = MOST_STATES
) -> tuple[Choice, Mixture]:
    """Fit mixtures of more and more states; compare the evidence of particles kept aside.

    States lie too far apart for other particles than those that they were fitted to: how far they
    are is found from those kept aside.

    Args:
        train: Particles that mixtures are fitted to.
        held: Particles kept aside.
        contrast: Prior of the contrast.
        seed: Fixes the starts.
        most: Largest number of states tried.

    Returns:
        The curve from one state up, and the chosen mixture.
    """
    mixtures: list[Mixture] = []
    gains: list[Tensor] = []
    for states in range(1, most + 1):
        mixture = mixture_of(train, states, contrast, seed)
        nearer = [mixture.contracted(scale) for scale in (SCALES if states > 1 else SCALES[:1])]
        found = [held.evidence(m.moments(held.gram, held.inner, contrast).gain) for m in nearer]
        best = max(range(len(nearer)), key=lambda at: float(found[at].double().mean()))
        mixtures.append(nearer[best])
        gains.append(found[best])
        means = [float(gain.mean()) for gain in gains]
        if max(means) not in means[-PATIENCE:]:
            break
    choice = choose("states", list(range(1, len(gains) + 1)), torch.stack(gains))
    return choice, mixtures[choice.chosen - 1]


def choose_reading(held: Terms, mixture: Mixture, contrast: Contrast) -> Choice:
    """Compare states with a continuum by the evidence of particles kept aside.

    Args:
        held: Particles kept aside, over the chosen subspace.
        mixture: The states.
        contrast: Prior of the contrast.

    Returns:
        `CONTINUUM`, a normal distribution over the subspace, unless the states are clearly better.
    """
    states = len(mixture.points)
    distinct = held.evidence(mixture.moments(held.gram, held.inner, contrast).gain)
    gains = torch.stack([_evidence(held, contrast), distinct])
    return choose(READING, [CONTINUUM, states], gains)


def mixture_of(train: Terms, states: int, contrast: Contrast, seed: int) -> Mixture:
    """Fit a mixture, starting among the particles' posterior means.

    Args:
        train: The particles.
        states: Number of states.
        contrast: Prior of the contrast.
        seed: Fixes the starts.

    Returns:
        The mixture.
    """
    candidates = train.means(contrast)
    rival = train.rival - train.gain
    return fit_mixture(
        train.gram, train.inner, candidates, states, seed=seed, contrast=contrast, rival=rival
    )


def choose(name: str, numbers: list[int], gains: Float[Tensor, "m n"]) -> Choice:
    """Take the smallest number that is not clearly worse than the best.

    Clearly worse means by more than one standard error of the mean paired difference, and by more
    than `NOTHING`.

    Args:
        name: What is counted.
        numbers: The candidates, ascending.
        gains: Log evidence of each particle kept aside, per candidate.

    Returns:
        The curve and the choice.

    Source:
        Breiman et al. 1984, Classification and Regression Trees, section 3.4.3.
    """
    gains = gains.double()
    best = int(gains.mean(-1).argmax())
    behind = gains[best] - gains
    error = behind.std(dim=-1) / max(1, gains.shape[1]) ** 0.5
    mean = behind.mean(-1)
    enough = torch.nonzero(mean <= error.clamp(min=NOTHING))[0, 0]
    candidates = tuple(
        Candidate(number=number, behind=float(m), error=float(e))
        for number, m, e in zip(numbers, mean, error, strict=True)
    )
    return Choice(name=name, candidates=candidates, chosen=numbers[int(enough)])
