"""Maps of states or clusters from the particles themselves, weighted by their probabilities."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from cryolatent.analysis.clusters import Clusters
from cryolatent.analysis.reconstruction import (
    FEWEST,
    Reconstruction,
    ReconstructionSummary,
    reconstruct,
    write_maps,
)
from cryolatent.analysis.summary import MeasuredMap
from cryolatent.data import ParticleStack
from cryolatent.models.latents import Latents
from cryolatent.physics import Poses
from cryolatent.progress import Stage, silent
from cryolatent.runs.run import Run
from cryolatent.sessions.crossfit import CrossFit, matched

LEAST_SHARE = 0.01
"""A particle of less probability counts for nothing in a state's map."""

MASK = "search.mask"


@dataclass(frozen=True)
class Members:
    """Particles where they are believed to be, and how much each counts in each group's map.

    Args:
        stack: The particles, at refined poses where the recorded ones are doubted.
        weights: Probability to be a particle of the group.
        independent: Whether poses and weights of each half come from a model of that half alone.
        mask: Where the molecule is; None where the run does not know it.
        seed: What halves the particles.
    """

    stack: ParticleStack
    weights: Float[Tensor, "n c"]
    independent: bool
    mask: Float[Tensor, "z y x"] | None
    seed: int


def own_members(run: Run, groups: Clusters) -> Members:
    """Members by what the run itself believes; half-maps then share its model.

    Args:
        run: A finished run on particles.
        groups: Of its particles.

    Returns:
        The particles in the order of the run's latents.
    """
    latents = run.latents()
    placed = believed_stack(run, latents)
    weights = _clear(groups.shares * latents.is_particle[:, None])
    return Members(placed, weights, False, _mask(run), run.config.session.seed)


def believed_stack(run: Run, latents: Latents) -> ParticleStack:
    """A run's particles where it believes them to be.

    Args:
        run: A finished run on particles.
        latents: Its latents.

    Returns:
        The particles in the order of the latents, at refined poses where recorded ones are doubted.

    Raises:
        InputError: If the particles are not there, or have changed.
    """
    stack = run.open_stack().select_ids(latents.ids)
    return replace(stack, poses=_believed_poses(latents, stack))


def halved_members(run: Run, found: CrossFit, volumes: Float[Tensor, "k z y x"]) -> Members:
    """Members by what two models believe, each of its own half and of nothing else.

    Args:
        run: The run whose states they are.
        found: The models.
        volumes: The run's states, which give theirs their numbers.

    Returns:
        The particles in the order of the run's latents.
    """
    ids = run.latents().ids
    stack = run.open_stack().select_ids(ids)
    order = matched(volumes, found.volumes[0])
    rotations, shifts = stack.poses.rotations.clone(), stack.poses.shifts_angstrom.clone()
    weights = torch.zeros(len(ids), len(volumes))
    parts = zip(found.runs, found.halves, found.orders, strict=True)
    for half_run, half, own_order in parts:
        latents, (rows, _) = half_run.latents(), stack.observations(half)
        poses = _believed_poses(latents, stack.select(half))
        rotations[rows], shifts[rows] = poses.rotations, poses.shifts_angstrom
        shares = latents.distribution.mean[:, own_order[order]]
        weights[half] = shares * latents.is_particle[:, None]
    placed = replace(stack, poses=Poses(rotations, shifts))
    return Members(placed, _clear(weights), True, _mask(run), run.config.session.seed)


def write_state_maps(
    members: Members,
    labels: Int[np.ndarray, " n"],
    folder: Path,
    word: str,
    *,
    relative_to: Path,
    stage: Stage = silent,
) -> list[tuple[MeasuredMap, ReconstructionSummary] | None]:
    """Reconstruct every group's map and half-maps, and write them.

    Args:
        members: Particles and weights.
        labels: Most probable group of each particle.
        folder: Where ``state_0.mrc``, ``state_0_half1.mrc`` ... go.
        word: What a group is called.
        relative_to: What the files are named relative to.
        stage: Told of the progress.

    Returns:
        What the half-maps say; None of a group of too few particles.
    """
    made = []
    for number, weights in enumerate(members.weights.unbind(1)):
        volume = _map_of(members, weights, _named(stage, f"{word} {number}"))
        if volume is None:
            made.append(None)
            continue
        name = f"{word}_{number}"
        write_maps(volume, folder, name, f"{name}_half1", f"{name}_half2")
        own, summary = torch.from_numpy(labels == number), ReconstructionSummary.of(volume)
        measured = MeasuredMap(
            file=(folder / f"{name}.mrc").relative_to(relative_to).as_posix(),
            effective_particles=effective_number(weights),
            others=max(0.0, 1 - float(weights[own].sum() / weights.sum())),
            independent=members.independent,
            resolution_angstrom=summary.reached_angstrom,
            fsc=tuple(volume.fsc.tolist()),
            masked=members.mask is not None,
        )
        made.append((measured, summary))
    return made


def effective_number(weights: Float[Tensor, " n"]) -> float:
    """Of how many particles of equal weight a mean would be as noisy: Kish's ``(Σw)² / Σw²``.

    Args:
        weights: Not all zero.

    Returns:
        Between one and the number of weights.

    Source:
        Kish 1965, Survey Sampling, section 11.7.
    """
    return float(weights.sum() ** 2 / weights.square().sum())


def _map_of(members: Members, weights: Float[Tensor, " n"], stage: Stage) -> Reconstruction | None:
    halves = members.stack.split(members.seed)
    if min(float(weights[half].sum()) for half in halves) < FEWEST:
        return None
    return reconstruct(
        members.stack, weights=weights, mask=members.mask, seed=members.seed, stage=stage
    )


def _named(stage: Stage, what: str) -> Stage:
    return lambda name, total: stage(f"{what}: {name}", total)


def _clear(weights: Float[Tensor, "n c"]) -> Float[Tensor, "n c"]:
    return torch.where(weights < LEAST_SHARE, 0.0, weights)


def _believed_poses(latents: Latents, stack: ParticleStack) -> Poses:
    beliefs = latents.beliefs
    return (
        stack.poses if beliefs is None else beliefs.refined(stack.poses, stack.pixel_size_angstrom)
    )


def _mask(run: Run) -> Float[Tensor, "z y x"] | None:
    return run.checkpoint().tensors.get(MASK)
