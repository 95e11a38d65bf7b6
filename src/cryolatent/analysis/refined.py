"""Refined poses and probabilities of junk against a simulation's truth."""

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from cryolatent.analysis.summary import RefinedComparison
from cryolatent.models.beliefs import Beliefs
from cryolatent.physics import Poses
from cryolatent.simulate.truth import JUNK


def compare_refined(
    beliefs: Beliefs | None,
    recorded: Poses,
    true: Poses,
    pixel_size_angstrom: float,
    state: Int[np.ndarray, " n"],
) -> RefinedComparison | None:
    """How far recorded and refined poses are off, and how well junk is told apart.

    Args:
        beliefs: What a run believes; None if it doubted nothing.
        recorded: Recorded poses, one per particle.
        true: True poses.
        pixel_size_angstrom: Side of a pixel.
        state: True state of each particle.

    Returns:
        Root-mean-square errors over particles that are no junk; None without beliefs, or where
        particles have several observations.
    """
    real = state != JUNK
    if beliefs is None or len(recorded) != len(state) or not real.any():
        return None
    refined = beliefs.refined(recorded, pixel_size_angstrom)
    rows = torch.from_numpy(np.flatnonzero(real))
    angles = [_root_mean_square(_angles(p, true)[rows]) for p in (recorded, refined)]
    shifts = [
        _root_mean_square((p.shifts_angstrom - true.shifts_angstrom)[rows] / pixel_size_angstrom)
        for p in (recorded, refined)
    ]
    return RefinedComparison(
        recorded_degrees=angles[0],
        refined_degrees=angles[1],
        recorded_pixels=shifts[0],
        refined_pixels=shifts[1],
        junk_auc=None if real.all() else _auc(beliefs.probability.numpy(), real),
    )


def _auc(score: np.ndarray, positive: np.ndarray) -> float:
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(positive, score))


def _angles(first: Poses, second: Poses) -> Float[Tensor, " n"]:
    import roma

    turn = roma.rotmat_geodesic_distance(first.rotations.double(), second.rotations.double())
    return torch.rad2deg(turn)


def _root_mean_square(values: Tensor) -> float:
    return float(values.double().square().mean().sqrt())
