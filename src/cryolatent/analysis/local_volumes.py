"""Volumes from a run's latents and the particles' own images, without a decoder."""

from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from cryolatent.analysis.clusters import clusters_of
from cryolatent.analysis.reconstruction import (
    ReconstructionSummary,
    reconstruct,
    write_maps,
)
from cryolatent.analysis.summary import Record
from cryolatent.data.contrast import warn_of_contrast
from cryolatent.errors import InputError
from cryolatent.io.files import new_folder, write_text_atomically
from cryolatent.models.latents import Latents
from cryolatent.progress import Stage, silent
from cryolatent.runs.run import Run

LEAST_WEIGHT = 1e-3
FEWEST_EFFECTIVE = 20


class LocalVolume(Record):
    """A volume of the particles around one particle's latent."""

    at: str
    """Name of the particle in the middle."""

    bandwidth: float
    """Standard deviation of the Gaussian that weights distances between posterior means."""

    effective_particles: float
    """Square of the sum of the weights over the sum of their squares."""

    file: str
    """File of the volume; its halves end in ``_half1.mrc`` and ``_half2.mrc``."""

    reconstruction: ReconstructionSummary
    """What the halves say of it."""


class LocalVolumes(Record):
    """Volumes at several places of a latent space."""

    run: str
    """Name of the run."""

    volumes: tuple[LocalVolume, ...]
    """The volumes, in the order asked for."""


def kernel_weights(
    latents: Float[Tensor, "n zdim"], centre: Float[Tensor, " zdim"], effective: int
) -> tuple[Float[Tensor, " n"], float]:
    """Weight particles by their distance from a place, reaching a given number of them.

    The Gaussian's bandwidth is the one at which Kish's effective number ``(Σw)²/Σw²`` is the one
    asked for; weights below a thousandth are then set to zero.

    Args:
        latents: Posterior means.
        centre: The place.
        effective: Effective number of particles wanted, less than there are.

    Returns:
        Weights, the largest one, and the bandwidth.

    Source:
        Kish 1965, Survey Sampling, section 11.7.
    """
    squared = (latents.double() - centre).square().sum(-1)
    squared = squared - squared.min()
    scale = float(squared.max().sqrt()) or 1.0
    low, high = -20.0, 20.0
    for _ in range(60):
        middle = (low + high) / 2
        weights = torch.exp(-0.5 * squared / (scale * 2**middle) ** 2)
        enough = float(weights.sum() ** 2 / weights.square().sum()) > effective
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
    """Reconstruct volumes of the particles whose latents lie near chosen ones, and write them.

    Args:
        run: A finished run.
        folder: New or empty folder for ``volume_*.mrc``, their halves and ``summary.json``.
        at: Names of particles; by default the medoids of the clusters that `analyze` finds.
        clusters: Number of clusters, where no particles are named; as in `analyze` if left out.
        effective: Effective number of particles of each volume; a tenth of them, at least 100, by
            default.
        seed: Fixes k-means, random halves and random phases.
        stage: Told of the progress.

    Returns:
        What is in ``summary.json``.

    Raises:
        InputError: If the folder is not free, the run is not finished, a particle is not known, or
            there are too few.
    """
    Run.check_free(folder)
    latents = run.latents()
    means = latents.distribution.mean
    count = len(latents.ids)
    if count <= FEWEST_EFFECTIVE:
        expected = f"more than {FEWEST_EFFECTIVE}, the fewest that a volume is made of"
        raise InputError(run.path, f"{count} particles", expected, "Train on more particles.")
    if effective is None:
        effective = max(min(max(100, count // 10), count // 2), FEWEST_EFFECTIVE)
    if not FEWEST_EFFECTIVE <= effective < count:
        raise InputError(
            "`effective_particles`",
            f"{effective}",
            f"{FEWEST_EFFECTIVE} to less than the run's {count} particles",
            "Ask for another number or train on more particles.",
        )
    centres = _named(run, latents, at) if at else clusters_of(run, clusters, seed).medoids
    stack = run.open_stack().select_ids(latents.ids)
    warn_of_contrast(stack)
    with new_folder(folder) as partial:
        made = []
        for number, centre in enumerate(centres):
            weights, bandwidth = kernel_weights(means, means[centre], effective)
            volume = reconstruct(stack, weights=weights, seed=seed, stage=stage)
            name = f"volume_{number}"
            write_maps(volume, partial, name, f"{name}_half1", f"{name}_half2")
            made.append(
                LocalVolume(
                    at=str(latents.ids[centre]),
                    bandwidth=bandwidth,
                    effective_particles=float(weights.sum() ** 2 / weights.square().sum()),
                    file=f"{name}.mrc",
                    reconstruction=ReconstructionSummary.of(volume),
                )
            )
        summary = LocalVolumes(run=run.name, volumes=tuple(made))
        write_text_atomically(partial / "summary.json", summary.model_dump_json(indent=2))
    return summary


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
