"""A run against the truth of the simulation that its particles come from."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cryolatent.analysis.bootstrap import mean_estimate
from cryolatent.analysis.motion import (
    FEWEST,
    explained_variance,
    predicted_coordinate,
    rank_correlation,
)
from cryolatent.analysis.oracle import Oracle, oracle
from cryolatent.analysis.refined import compare_refined
from cryolatent.analysis.summary import (
    Cluster,
    MotionComparison,
    RefinedComparison,
    TruthComparison,
)
from cryolatent.analysis.truth import fsc_area, per_image_fsc, rand_index
from cryolatent.data import ParticleStack
from cryolatent.io import read_volume
from cryolatent.models import Decoder
from cryolatent.models.latents import Latents
from cryolatent.physics import fourier_shell_correlation, resolution_angstrom
from cryolatent.runs.run import Run
from cryolatent.simulate.truth import JUNK, Truth

FSC_PARTICLES = 100


@dataclass(frozen=True)
class Matched:
    """A truth brought into the order of a run's particles.

    Args:
        truth: The truth.
        rows: Position of each particle of the run in the truth.
    """

    truth: Truth
    rows: np.ndarray

    @property
    def state(self) -> np.ndarray:
        """True state of each particle of the run."""
        return self.truth.state[self.rows]

    @property
    def angle_degrees(self) -> np.ndarray | None:
        """True angle of each particle's moving part, NaN where it has none; None without motion."""
        if self.truth.motion is None:
            return None
        angles = np.where(self.truth.moves, self.truth.motion.angle_degrees, np.nan)
        return angles[self.rows]


def against_truth(run: Run, cluster: Cluster, labels: np.ndarray, matched: Matched) -> Cluster:
    """Say which true state a cluster shows, and how well its volume does.

    Args:
        run: The run.
        cluster: One of its clusters.
        labels: Cluster of each particle.
        matched: The truth.

    Returns:
        The cluster with its nearest state; as it was if it has no particles or junk prevails.
    """
    members = labels == cluster.number
    states = matched.state[members]
    names = matched.truth.state_names
    counts = np.bincount(states[states != JUNK], minlength=len(names))
    state = int(counts.argmax())
    if counts[state] <= (states == JUNK).sum():
        return cluster
    known = {"nearest_state": names[state], "purity": float(counts[state] / len(states))}
    if cluster.volume is None:
        return cluster.model_copy(update=known)
    volume = torch.from_numpy(read_volume(run.path / cluster.volume)[0])
    angles = matched.angle_degrees
    angle = 0.0 if angles is None else float(angles[members][states == state].mean())
    fsc = fourier_shell_correlation(volume, matched.truth.volume_at(state, angle))
    manifest = run.manifest
    last = manifest.box * manifest.pixel_size_angstrom / manifest.shells
    resolution = max(resolution_angstrom(fsc, manifest.pixel_size_angstrom), last)
    return cluster.model_copy(
        update=known
        | {
            "fsc": tuple(fsc.tolist()),
            "resolution_angstrom": resolution,
        }
    )


def compare_with_truth(
    run: Run,
    decoder: Decoder | None,
    latents: Latents,
    labels: np.ndarray,
    matched: Matched,
    seed: int,
) -> TruthComparison:
    """Compare latents, clusters, volumes and poses of a run with the truth.

    Args:
        run: The run.
        decoder: Renders its latents; None if nothing does.
        latents: Its latents.
        labels: Cluster of each particle.
        matched: The truth.
        seed: Fixes the choice of particles for the FSC.

    Returns:
        Numbers beside the Bayes oracle's.
    """
    truth, state = matched.truth, matched.state
    stack = run.open_stack().select_ids(latents.ids)
    known = oracle(stack, truth, matched.rows)
    z = latents.distribution.mean
    several = len(truth.state_names) > 1
    return TruthComparison(
        state_names=truth.state_names,
        junk=int((state == JUNK).sum()),
        snr=truth.snr,
        diameter_to_box=truth.diameter_to_box,
        ari=rand_index(labels, state) if several else None,
        oracle_ari=rand_index(known.state, state) if several else None,
        **({} if decoder is None else _compare_volumes(run, decoder, z, matched, seed)),
        motion=_compare_motion(z.numpy().astype(float), matched, known, seed),
        refined=_compare_refined(latents, stack, matched),
    )


def _compare_volumes(
    run: Run, decoder: Decoder, z: Tensor, matched: Matched, seed: int
) -> dict[str, Any]:
    real = np.flatnonzero(matched.state != JUNK)
    chosen = np.random.default_rng(seed).permutation(real)[:FSC_PARTICLES]
    volumes = (matched.truth.volume(row) for row in matched.rows[chosen].tolist())
    curves = per_image_fsc(decoder, z[chosen], volumes)
    inside = torch.arange(curves.shape[-1]) <= run.manifest.shells
    return {
        "fsc_area": mean_estimate(fsc_area(curves).numpy()),
        "fsc_area_ceiling": float(fsc_area(inside.float())),
        "fsc_particles": len(chosen),
    }


def _compare_refined(
    latents: Latents, stack: ParticleStack, matched: Matched
) -> RefinedComparison | None:
    if len(stack.poses) != len(stack) or len(matched.truth.poses) != len(matched.truth.state):
        return None
    true = matched.truth.poses[torch.from_numpy(matched.rows)]
    pixel = stack.pixel_size_angstrom
    return compare_refined(latents.beliefs, stack.poses, true, pixel, matched.state)


def _compare_motion(
    z: np.ndarray, matched: Matched, known: Oracle, seed: int
) -> MotionComparison | None:
    motion, angles = matched.truth.motion, matched.angle_degrees
    if motion is None or angles is None or known.angle_degrees is None:
        return None
    moves = np.isfinite(angles)
    if moves.sum() < FEWEST:
        return None
    truth, expected = angles[moves], known.angle_degrees[moves]
    predicted = predicted_coordinate(z[moves], truth, seed)
    return MotionComparison(
        range_degrees=motion.range_degrees,
        particles=len(truth),
        r2=explained_variance(truth, predicted),
        correlation=rank_correlation(truth, predicted),
        oracle_r2=explained_variance(truth, expected),
        oracle_correlation=rank_correlation(truth, expected),
    )
