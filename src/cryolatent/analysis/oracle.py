"""What can be inferred of each particle by someone who knows the true volumes."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Complex, Float, Int
from scipy.interpolate import CubicSpline
from torch import Tensor

from cryolatent.data import ParticleStack
from cryolatent.models import FourierGaussian
from cryolatent.physics import FourierDisc, slice_volume, volume_to_fourier
from cryolatent.simulate.motion import Motion
from cryolatent.simulate.truth import Truth

CHUNK = 256
STEP_DEGREES = 2.5
FINER = 8


@dataclass(frozen=True)
class Oracle:
    """The Bayes oracle's answers.

    Args:
        state: State of the largest evidence for each particle.
        angle_degrees: Posterior mean of each particle's angle given that its state moves; None if
            nothing does.
    """

    state: Int[np.ndarray, " n"]
    angle_degrees: Float[np.ndarray, " n"] | None


@torch.no_grad()
def oracle(stack: ParticleStack, truth: Truth, rows: Int[np.ndarray, " n"]) -> Oracle:
    """Infer states and angles with the true volumes, poses, contrasts and noise.

    States are equally frequent and angles uniform in their range; the log-likelihood is computed
    every 2.5 degrees and interpolated by cubic splines. No method finds the state more often on
    average, nor the angle with a smaller mean squared error.

    Observations of one particle add their log-likelihoods. The truth holds one pose a particle, so
    particles of several observations are compared at their recorded poses.

    Args:
        stack: The particles.
        truth: Their truth.
        rows: Position of each particle in the truth.

    Returns:
        Its answers.
    """
    disc = stack.disc
    if truth.noise_level is not None and len(truth.noise_level) == len(truth.state):
        stack = replace(stack, noise_level=torch.from_numpy(truth.noise_level[rows]).float())
    spectrum = truth.noise_spectrum[: disc.radius + 1]
    likelihood = FourierGaussian(disc, spectrum, spectrum)
    hypotheses = [_Hypotheses.of(truth, state) for state in range(len(truth.volumes))]
    contrast = torch.from_numpy(truth.contrast[rows]).float()
    states, angles = [], []
    for index in torch.arange(len(stack)).split(CHUNK):
        batch = stack.batch(index)
        if len(truth.poses) == len(truth.state) and len(batch.images) == len(index):
            batch = replace(batch, poses=truth.poses[torch.from_numpy(rows)[index]])
        if batch.poses is None:
            raise ValueError("an oracle needs poses")
        scores, scale = [], contrast[index][batch.owner]
        for hypothesis in hypotheses:
            log = [
                -batch.sum_by_particle(
                    likelihood.negative_log(
                        batch.images, likelihood.predict(slices * scale[:, None], batch)
                    )
                )
                for slices in hypothesis.slices(batch.poses.rotations, disc)
            ]
            scores.append(hypothesis.refined(torch.stack(log, dim=-1).double()))
        evidence = [torch.logsumexp(s, dim=-1) - np.log(s.shape[-1]) for s in scores]
        states.append(torch.stack(evidence).argmax(dim=0))
        if truth.motion is not None:
            angles.append(_mean_angle(hypotheses, scores))
    found = torch.cat(angles).numpy() if angles else None
    return Oracle(torch.cat(states).numpy(), found)


@dataclass(frozen=True)
class _Hypotheses:
    """One state, at every angle of a grid if it moves."""

    resting: Complex[Tensor, "kz ky kx"]
    moving: Complex[Tensor, "kz ky kx"] | None
    motion: Motion | None

    @staticmethod
    def of(truth: Truth, state: int) -> "_Hypotheses":
        part = None if truth.motion is None else truth.motion.parts.get(state)
        if part is None:
            return _Hypotheses(volume_to_fourier(truth.volumes[state]), None, None)
        rest = volume_to_fourier(truth.volumes[state] - part)
        return _Hypotheses(rest, volume_to_fourier(part), truth.motion)

    @cached_property
    def angle_degrees(self) -> Float[np.ndarray, " angles"]:
        """Where the likelihood is computed: both ends of the range and equal steps between."""
        reach = 0.0 if self.motion is None else self.motion.range_degrees / 2
        return np.linspace(-reach, reach, 1 + max(4, int(np.ceil(2 * reach / STEP_DEGREES))))

    @cached_property
    def finer_degrees(self) -> Float[np.ndarray, " finer"]:
        """Where it is interpolated: the middles of equal parts of the range."""
        edges = np.linspace(
            self.angle_degrees[0], self.angle_degrees[-1], 1 + FINER * (len(self.angle_degrees) - 1)
        )
        return (edges[1:] + edges[:-1]) / 2

    def slices(
        self, rotations: Float[Tensor, "n 3 3"], disc: FourierDisc
    ) -> Iterator[Complex[Tensor, "n k"]]:
        """Slices at each angle in turn."""
        rest = slice_volume(self.resting, rotations, disc)
        if self.moving is None or self.motion is None:
            yield rest
            return
        for angle in self.angle_degrees:
            degrees = np.full(len(rotations), angle)
            yield rest + self.motion.slices(self.moving, rotations, degrees, disc)

    def refined(self, scores: Float[Tensor, "n angles"]) -> Float[Tensor, "n finer"]:
        """Log-likelihoods interpolated to the finer angles."""
        if self.motion is None:
            return scores
        spline = CubicSpline(self.angle_degrees, np.eye(len(self.angle_degrees)))
        return scores @ torch.from_numpy(spline(self.finer_degrees)).T


def _mean_angle(hypotheses: list[_Hypotheses], scores: list[Tensor]) -> Float[Tensor, " n"]:
    moving = [pair for pair in zip(hypotheses, scores, strict=True) if pair[0].motion is not None]
    angles = np.concatenate([hypothesis.finer_degrees for hypothesis, _ in moving])
    weights = torch.softmax(torch.cat([score for _, score in moving], dim=-1), dim=-1)
    return weights @ torch.from_numpy(angles)
