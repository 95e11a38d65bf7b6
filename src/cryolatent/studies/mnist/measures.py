"""What is measured of a training on digits."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor

from cryolatent.analysis.bootstrap import mean_estimate
from cryolatent.data import DigitSet, Evidence
from cryolatent.models import Decoder
from cryolatent.runs.finding import Estimate, Record
from cryolatent.studies.mnist.experiments import Move

NEIGHBOURS = 10
CLASSIFIER_NEIGHBOURS = 5
MOST = 10_000
"""Pictures whose neighbours are looked for."""


class Moved(Record):
    """What became of moved pictures."""

    move: Move
    """What was done to them."""

    displacement: Estimate | None
    """Median displacement over the distance of random pairs; None if the latents are all alike."""

    null: Estimate | None
    """The same if each moved latent is given to another picture."""

    correct: Estimate
    """Share of their reconstructions that show the right digit."""


class Measures(Record):
    """The numbers of one training, in nats per picture."""

    diverged: bool = False
    """Whether it ended in values that are not finite; then little else is measured."""

    steps: int = 0
    """Steps of gradient descent."""

    core_seconds: float = 0.0
    """Processor seconds of the training."""

    reconstructions: tuple[float, ...] = ()
    """Mean reconstruction term of each epoch."""

    kls: tuple[float, ...] = ()
    """Mean KL term of each epoch; of points minus the log density of the prior."""

    reconstruction: float = 0.0
    """Reconstruction term after the training."""

    kl: float | None = None
    """KL term after the training; None for points."""

    bound: Estimate | None = None
    """Evidence lower bound of the pictures trained on; None for points."""

    mean_image: float = 0.0
    """Reconstruction term of the mean picture, which needs no latent."""

    labels: float = 0.0
    """Share of the pictures whose digit a vote of their neighbours in latent space tells."""

    held_labels: float | None = None
    """The same of pictures that the training has not seen, from neighbours that it has."""

    correct: Estimate | None = None
    """Share of the reconstructions that show the right digit."""

    held_correct: Estimate | None = None
    """The same of pictures that the training has not seen."""

    held_bound: Estimate | None = None
    """Evidence lower bound of these."""

    gap: Estimate | None = None
    """What fitting each of these posteriors adds to an encoder's bound."""

    not_normal: float = 0.0
    """Mean over dimensions of the largest distance between the distribution function of the
    latents and that of a normal distribution of their mean and variance."""

    moves: Mapping[str, Moved] = Field(default_factory=dict)
    """What became of moved pictures, by experiment."""


@dataclass(frozen=True)
class Reader:
    """Tells digits apart by their pixels: a vote of the nearest originals.

    Args:
        digits: The originals.
    """

    digits: DigitSet

    def correct(
        self, pictures: Float[Tensor, "n k"], labels: Int[np.ndarray, " n"]
    ) -> Float[np.ndarray, " n"]:
        """Whether pictures show the right digits.

        Args:
            pictures: Grey values.
            labels: The right digits.

        Returns:
            1 or 0 each.
        """
        found = voted(
            self.digits.values.numpy()[:MOST],
            self.digits.labels[:MOST],
            pictures.numpy(),
            CLASSIFIER_NEIGHBOURS,
        )
        return (found == labels).astype(float)


def voted(
    known: Float[np.ndarray, "n d"],
    labels: Int[np.ndarray, " n"],
    asked: Float[np.ndarray, "m d"],
    neighbours: int,
) -> Int[np.ndarray, " m"]:
    """Label points by a vote of their neighbours.

    Args:
        known: Points with labels.
        labels: Their labels.
        asked: Points without.
        neighbours: Number of votes.

    Returns:
        Labels.
    """
    from sklearn.neighbors import KNeighborsClassifier

    classifier = KNeighborsClassifier(min(neighbours, len(known)))
    return classifier.fit(known, labels).predict(asked)


def label_accuracy(z: Float[np.ndarray, "n d"], labels: Int[np.ndarray, " n"]) -> float:
    """Share of points whose label a vote of their neighbours, without themselves, tells.

    Args:
        z: Points.
        labels: Their labels.

    Returns:
        Between 0 and 1.
    """
    from sklearn.neighbors import NearestNeighbors

    z, labels = z[:MOST], labels[:MOST]
    count = min(NEIGHBOURS, len(z) - 1)
    # without points to ask for, none counts as its own neighbour
    near = NearestNeighbors(n_neighbors=count).fit(z).kneighbors(return_distance=False)
    votes = np.stack([(labels[near] == digit).sum(1) for digit in range(10)], axis=1)
    return float((votes.argmax(1) == labels).mean())


def distance_from_normal(z: Float[np.ndarray, "n d"]) -> float:
    """Kolmogorov's distance of each coordinate to a normal distribution, on average.

    Args:
        z: Points.

    Returns:
        0 for normal coordinates; 0.5 for coordinates that are all alike.
    """
    from scipy.stats import norm

    found = []
    for column in z.T:
        spread = column.std()
        if spread < 1e-9:
            found.append(0.5)
            continue
        expected = norm.cdf(np.sort((column - column.mean()) / spread))
        steps = np.arange(len(column) + 1) / len(column)
        found.append(max(np.abs(expected - steps[1:]).max(), np.abs(expected - steps[:-1]).max()))
    return float(np.mean(found))


def cross_entropy_of_mean(values: Float[Tensor, "n k"]) -> float:
    """Reconstruction term of the mean picture.

    Args:
        values: Grey values.

    Returns:
        Mean over pictures, in nats.
    """
    mean = values.double().mean(0)
    return float(-(torch.xlogy(mean, mean) + torch.xlogy(1 - mean, 1 - mean)).sum())


def moved_evidence(evidence: Evidence, box: int, move: Move, seed: int) -> Evidence:
    """Move pictures.

    Args:
        evidence: Grey values, row by row.
        box: Side of the pictures.
        move: What is done to them.
        seed: Fixes the noise.

    Returns:
        The moved pictures; with noise grey values leave the range from 0 to 1.
    """
    pictures = evidence.images.unflatten(-1, (box, box)).roll(move.columns, -1).flatten(1)
    if move.noise_variance or move.noise_mean:
        generator = torch.Generator().manual_seed(seed)
        noise = torch.randn(pictures.shape, generator=generator)
        pictures = pictures + move.noise_mean + move.noise_variance**0.5 * noise
    return replace(evidence, images=pictures)


@torch.no_grad()
def rendered(decoder: Decoder, z: Float[Tensor, "n zdim"]) -> Float[Tensor, "n k"]:
    """Expected pictures of latents.

    Args:
        decoder: Renders.
        z: Latents.

    Returns:
        Grey values, row by row.
    """
    return decoder.volume(z).flatten(1)


def share(values: Float[np.ndarray, " n"]) -> Estimate:
    """A share with its interval.

    Args:
        values: 1 or 0 each.

    Returns:
        The mean.
    """
    return mean_estimate(values)
