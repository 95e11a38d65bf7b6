"""How many dimensions, how many states: what particles kept aside say."""

import torch
from jaxtyping import Float
from torch import Tensor

from cryolatent.models.contrast import Contrast
from cryolatent.models.exact import normal_moments
from cryolatent.models.mixture import Mixture, fit_mixture
from cryolatent.train.choice import MOST_STATES, NOTHING, READING, Candidate, Choice
from cryolatent.train.em.subspace import Terms

CONTINUUM = 0
"""Number of states of a normal distribution over the subspace."""

PATIENCE = 3
"""How many numbers of states in a row may be worse than the best before no more are tried."""


def choose_dimensions(held: Terms, contrast: Contrast) -> Choice:
    """Compare the evidence of particles kept aside under nested subspaces.

    Args:
        held: Particles that no volume was made from, over a subspace ordered by power.
        contrast: Prior of the contrast.

    Returns:
        The curve from no dimension up, and the choice.
    """
    most = held.inner.shape[1] - 1
    gains = [
        normal_moments(held.gram[:, : d + 1, : d + 1], held.inner[:, : d + 1], contrast).gain
        for d in range(most + 1)
    ]
    return choose("dimensions", list(range(most + 1)), torch.stack(list(map(held.evidence, gains))))


def choose_states(
    train: Terms, held: Terms, contrast: Contrast, seed: int, most: int = MOST_STATES
) -> tuple[Choice, Mixture]:
    """Fit mixtures of more and more states; compare the evidence of particles kept aside.

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
        mixtures.append(mixture_of(train, states, contrast, seed))
        gain = mixtures[-1].moments(held.gram, held.inner, contrast).gain
        gains.append(held.evidence(gain))
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
    normal = normal_moments(held.gram, held.inner, contrast).gain
    gains = [normal, mixture.moments(held.gram, held.inner, contrast).gain]
    return choose(READING, [CONTINUUM, states], torch.stack(list(map(held.evidence, gains))))


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
