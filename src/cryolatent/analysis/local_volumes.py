"""Volumes from a run's latents and the particles' own images, without a decoder."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from cryolatent.analysis.clusters import Clusters, clusters_of
from cryolatent.analysis.reconstruction import (
    ReconstructionSummary,
    reconstruct,
    write_maps,
)
from cryolatent.analysis.selection import state_shares
from cryolatent.analysis.state_maps import Members, effective_number, own_members, write_state_maps
from cryolatent.analysis.summary import MOST_OF_OTHERS
from cryolatent.data.contrast import warn_of_contrast
from cryolatent.errors import InputError
from cryolatent.io.files import new_folder, write_text_atomically
from cryolatent.models.latents import Latents
from cryolatent.progress import Stage, silent
from cryolatent.runs.finding import Record
from cryolatent.runs.run import Run

LEAST_WEIGHT = 1e-3
FEWEST_EFFECTIVE = 20


class LocalVolume(Record):
    """A volume of a state's or cluster's particles, or of those around one particle's latent."""

    at: str
    """Name of the particle in the middle."""

    number: int | None
    """Of the state or cluster; None of a volume around a particle."""

    bandwidth: float | None
    """Standard deviation of the Gaussian that weights distances between posterior means; None
    where particles are weighted by their probabilities."""

    effective_particles: float
    """Square of the sum of the weights over the sum of their squares."""

    others: float | None
    """Share of the weight that particles have which are more probably of another state or cluster
    than the one in the middle; None around a particle of a run without states."""

    file: str
    """File of the volume; its halves end in ``_half1.mrc`` and ``_half2.mrc``."""

    reconstruction: ReconstructionSummary
    """What the halves say of it."""


class LocalVolumes(Record):
    """Volumes at several places of a latent space."""

    run: str
    """Name of the run."""

    volumes: tuple[LocalVolume, ...]
    """The volumes, in the order asked for; of states, in the order of their numbers."""


def kernel_weights(
    latents: Float[Tensor, "n zdim"], centre: Float[Tensor, " zdim"], effective: int
) -> tuple[Float[Tensor, " n"], float]:
    """Weight particles by their distance from a place, reaching a given number of them.

    The Gaussian's bandwidth is the one at which `effective_number` is the one
    asked for; weights below a thousandth are then set to zero.

    Args:
        latents: Posterior means.
        centre: The place.
        effective: Effective number of particles wanted, less than there are.

    Returns:
        Weights, the largest one, and the bandwidth.
    """
    squared = (latents.double() - centre).square().sum(-1)
    squared = squared - squared.min()
    scale = float(squared.max().sqrt()) or 1.0
    low, high = -20.0, 20.0
    for _ in range(60):
        middle = (low + high) / 2
        weights = torch.exp(-0.5 * squared / (scale * 2**middle) ** 2)
        enough = effective_number(weights) > effective
        low, high = (low, middle) if enough else (middle, high)
    weights = torch.exp(-0.5 * squared / (scale * 2**high) ** 2)
    return torch.where(weights < LEAST_WEIGHT, 0, weights).float(), scale * 2**high


def local_volumes(
    run: Run,
    folder: Path,
    *,
    at: tuple[str, ...] = (),
    clusters: int | None = None,
    effective: int | None = None,
    seed: int = 0,
    stage: Stage = silent,
) -> LocalVolumes:
    """Reconstruct volumes of a run's states or clusters, or around chosen latents, and write them.

    States and clusters are those of `analyze`, by the same numbers, and their particles are
    weighted by their probabilities. Around named particles, and where a number of effective
    particles is asked for, particles are weighted by a Gaussian of the distance of their latents,
    which must not reach beyond the state of the particle in the middle.

    Args:
        run: A finished run.
        folder: New or empty folder for the volumes, their halves and ``summary.json``.
        at: Names of particles; by default states or clusters.
        clusters: Number of clusters, where no particles are named; as in `analyze` if left out.
        effective: Effective number of particles of each volume; a tenth of them, at least 100, by
            default, or as many as its state leaves.
        seed: Fixes k-means, random halves and random phases.
        stage: Told of the progress.

    Returns:
        What is in ``summary.json``.

    Raises:
        InputError: If the folder is not free, the run is not finished, a particle is not known,
            there are too few, or a volume would be largely of another state.
    """
    Run.check_free(folder)
    latents = run.latents()
    count = len(latents.ids)
    if count <= FEWEST_EFFECTIVE:
        expected = f"more than {FEWEST_EFFECTIVE}, the fewest that a volume is made of"
        raise InputError(run.path, f"{count} particles", expected, "Train on more particles.")
    if effective is not None and not FEWEST_EFFECTIVE <= effective < count:
        raise InputError(
            "`effective_particles`",
            f"{effective}",
            f"{FEWEST_EFFECTIVE} to less than the run's {count} particles",
            "Ask for another number or train on more particles.",
        )
    by_place = bool(at) or effective is not None
    groups = clusters_of(run, clusters, seed)
    places = _named(run, latents, at) if at else groups.medoids.tolist()
    shares = state_shares(run, latents)
    labels = None if shares is None else shares.argmax(axis=1)
    windows = [_window(latents, labels, place, effective) for place in places if by_place]
    members = own_members(run, groups)
    warn_of_contrast(members.stack)
    with new_folder(folder) as partial:
        if by_place:
            made = [
                _around(members, latents, window, number, partial, stage)
                for number, window in enumerate(windows)
            ]
        else:
            made = _of_groups(members, latents, groups, partial, stage)
        summary = LocalVolumes(run=run.name, volumes=tuple(made))
        write_text_atomically(partial / "summary.json", summary.model_dump_json(indent=2))
    return summary


@dataclass(frozen=True)
class Window:
    """How much the particles around one of them count.

    Args:
        place: The one in the middle.
        weights: Of all.
        bandwidth: Standard deviation of the Gaussian.
        others: As in `LocalVolume`.
    """

    place: int
    weights: Float[Tensor, " n"]
    bandwidth: float
    others: float | None


def _window(
    latents: Latents, labels: Int[np.ndarray, " n"] | None, place: int, effective: int | None
) -> Window:
    """A window that does not reach beyond the state of its middle, or none."""
    count = len(latents.ids)
    size = effective or max(min(max(100, count // 10), count // 2), FEWEST_EFFECTIVE)
    while True:
        window = _window_of(latents, labels, place, size)
        if labels is None or window.others is None or window.others <= MOST_OF_OTHERS:
            return window
        if effective is not None or size == FEWEST_EFFECTIVE:
            state = int(labels[place])
            own = int((labels == state).sum())
            raise InputError(
                "`effective_particles`",
                f"{size} around {latents.ids[place]}, {100 * window.others:.0f} % of whose weight "
                f"is of other states than its own, state {state} of {own} particles",
                f"at most {100 * MOST_OF_OTHERS:.0f} %",
                "Ask for less, or leave out this and `at`: each state's own particles are taken.",
            )
        size = max(size // 2, FEWEST_EFFECTIVE)


def _window_of(
    latents: Latents, labels: Int[np.ndarray, " n"] | None, place: int, effective: int
) -> Window:
    means = latents.distribution.mean
    weights, bandwidth = kernel_weights(means, means[place], effective)
    weights = weights * latents.is_particle
    others = None
    if labels is not None:
        own = torch.from_numpy(labels == labels[place])
        others = 1 - float(weights[own].sum() / weights.sum().clamp(min=1e-30))
    return Window(place, weights, bandwidth, others)


def _around(
    members: Members, latents: Latents, window: Window, number: int, folder: Path, stage: Stage
) -> LocalVolume:
    weights, seed = window.weights, members.seed
    volume = reconstruct(members.stack, weights=weights, mask=members.mask, seed=seed, stage=stage)
    name = f"volume_{number}"
    write_maps(volume, folder, name, f"{name}_half1", f"{name}_half2")
    return LocalVolume(
        at=str(latents.ids[window.place]),
        number=None,
        bandwidth=window.bandwidth,
        effective_particles=effective_number(weights),
        others=window.others,
        file=f"{name}.mrc",
        reconstruction=ReconstructionSummary.of(volume),
    )


def _of_groups(
    members: Members, latents: Latents, groups: Clusters, folder: Path, stage: Stage
) -> list[LocalVolume]:
    made = write_state_maps(
        members, groups.labels, folder, groups.word, relative_to=folder, stage=stage
    )
    found = [
        LocalVolume(
            at=str(latents.ids[groups.medoids[number]]),
            number=number,
            bandwidth=None,
            effective_particles=measured.effective_particles,
            others=measured.others,
            file=measured.file,
            reconstruction=reconstruction,
        )
        for number, written in enumerate(made)
        if written is not None
        for measured, reconstruction in [written]
    ]
    if not found:
        raise InputError(
            members.stack.source,
            f"too few particles for each of {len(made)} {groups.word}s",
            "at least ten in each half",
            "Ask for fewer `clusters` or give more particles.",
        )
    return found


def _named(run: Run, latents: Latents, names: tuple[str, ...]) -> list[int]:
    position = {name: row for row, name in enumerate(latents.ids.tolist())}
    for name in names:
        if name not in position:
            raise InputError(
                "`at`",
                name,
                f"particles of {run.path}",
                f"Names are those of the STAR file, such as {latents.ids[0]}.",
            )
    return [position[name] for name in names]
