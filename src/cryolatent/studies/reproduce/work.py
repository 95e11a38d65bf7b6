"""One training of an experiment and everything that is measured of it: a job of its own process."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from cryolatent.analysis import Estimate
from cryolatent.analysis.bootstrap import mean_estimate
from cryolatent.analysis.embedding import umap_coordinates
from cryolatent.audits import RotationTest, ShiftTest
from cryolatent.config.infer import InferConfig
from cryolatent.config.reading import ReadingConfig
from cryolatent.config.training import TrainConfig
from cryolatent.data import ParticleStack, open_particles
from cryolatent.errors import NonFiniteError
from cryolatent.io.files import write_text_atomically
from cryolatent.models import Decoder
from cryolatent.models.latents import Latents
from cryolatent.physics import within_shells
from cryolatent.report.volumes import axis_projections
from cryolatent.runs.finding import Finding
from cryolatent.runs.run import Run
from cryolatent.sessions.subject import RunSubject
from cryolatent.sessions.systems import as_shown, restore
from cryolatent.sessions.training import opened, trained
from cryolatent.sessions.unseen import infer_unseen
from cryolatent.simulate.truth import Truth
from cryolatent.studies.reproduce.measures import Measures, Scored, score
from cryolatent.studies.training import MEASURES, PICTURES, save_pictures

MOVED_VOLUMES = 3
STARTS, STEPS = 2, 50
"""Fits of unseen particles' rows with the decoder frozen, beside one from a trained row."""


@dataclass(frozen=True)
class Particles:
    """The data of all experiments.

    Args:
        star: The particle file.
        reading: How it is read.
        truth: Folder of the truth, if the particles are simulated.
        hold_out: Share of the particles that no training sees.
        held: How many of these are looked at, at most.
        seed: Fixes which.
    """

    star: Path
    reading: ReadingConfig
    truth: Path | None
    hold_out: float
    held: int
    seed: int = 0

    def stacks(self, config: TrainConfig) -> tuple[ParticleStack, ParticleStack]:
        """Open the particles.

        Args:
            config: Options of a training.

        Returns:
            Those to train on, and those kept aside.
        """
        stack = open_particles(self.star, **config.data.reading())
        kept, held = stack.hold_out(self.hold_out, self.seed)
        return stack.select(kept), stack.select(held[: self.held])


@dataclass(frozen=True)
class Task:
    """A training and what is wanted of it.

    Args:
        path: The run.
        config: Its options.
        clusters: Number of clusters looked for.
        scored: Particles whose volumes are rendered.
        drawn: Particles of the map; 0 for no pictures.
        moves: Whether moved images are shown to the posterior.
    """

    path: Path
    config: TrainConfig
    clusters: int
    scored: int
    drawn: int
    moves: bool


def work(task: Task, particles: Particles) -> Measures:
    """Train, measure and picture; what is finished is kept.

    Args:
        task: The training.
        particles: The data.

    Returns:
        What was measured.

    Raises:
        InputError: If the run was made with other options or of other particles.
    """
    path = task.path / MEASURES
    stack, held = particles.stacks(task.config)
    run = opened(task.path, task.config, stack)
    if run is not None and path.exists():
        return Measures.model_validate_json(path.read_text())
    parent = task.config.parent
    if parent is not None and Run.open(parent).manifest.status == "failed":
        return Measures(diverged=True)
    try:
        run = trained(run, task.path, task.config, stack)
        measures = measure(run, task, stack, held, particles)
    except NonFiniteError:
        measures = Measures(diverged=True, misfit=_misfit(Run.open(task.path)))
    write_text_atomically(path, measures.model_dump_json(indent=2))
    return measures


def measure(
    run: Run, task: Task, stack: ParticleStack, held: ParticleStack, particles: Particles
) -> Measures:
    """Measure a finished run.

    Args:
        run: The run.
        task: What is wanted of it.
        stack: Its particles.
        held: Particles that it has not seen.
        particles: Where they come from.

    Returns:
        Its numbers; pictures are written.
    """
    truth = None if particles.truth is None else Truth.load(particles.truth)
    latents, system = run.latents(), restore(run)
    scored = score(
        system.model.decoder,
        latents.distribution,
        latents.ids,
        run.manifest.shells,
        truth,
        task.scored,
        clusters=task.clusters,
    )
    seed = run.config.session.seed
    options = InferConfig(starts=STARTS, steps=STEPS, seed=seed)
    unseen = infer_unseen(run, as_shown(run.config, held), options).latents
    moves = []
    if task.moves:
        kinds = ((test, consistent) for test in (ShiftTest, RotationTest) for consistent in (0, 1))
        subject = RunSubject(run, stack)
        moves = [test(consistent=bool(flag)).ask(subject) for test, flag in kinds]
    if task.drawn:
        arrays = pictures(latents, scored, task.drawn)
        for finding in moves:
            arrays |= moved_pictures(finding, system.model.decoder, run.manifest.shells)
        save_pictures(run.path / PICTURES, arrays)
    entries = run.entries()
    return Measures(
        steps=entries[-1]["step"],
        core_seconds=entries[-1]["cpu_seconds"],
        bound=_mean(latents),
        held_out=_mean(unseen),
        kl=float(latents.kl.mean()),
        ari=scored.ari,
        fsc_area=scored.fsc_area,
        heterogeneity=scored.heterogeneity,
        spread=scored.spread,
        misfit=_misfit(run),
        moves=tuple(finding.model_copy(update={"tables": {}}) for finding in moves),
    )


def _mean(latents: Latents) -> Estimate | None:
    return None if latents.elbo is None else mean_estimate(latents.elbo.numpy())


def _misfit(run: Run) -> tuple[float, ...]:
    return tuple(entry["reconstruction"] for entry in run.entries())


def pictures(latents: Latents, scored: Scored, drawn: int) -> dict[str, np.ndarray]:
    """What the page draws of a run.

    Args:
        latents: Its latents.
        scored: Its clusters and volumes.
        drawn: Largest number of particles of the map.

    Returns:
        Names, places on the map and clusters of particles; projections of the clusters' volumes.
    """
    rows = np.arange(min(drawn, len(latents.ids)))
    return {
        "ids": latents.ids[rows],
        "plane": _plane(latents.distribution.mean.numpy()[rows].astype(float)),
        "labels": scored.labels[rows],
        "projections": np.stack([axis_projections(v.numpy()) for v in scored.volumes]),
    }


@torch.no_grad()
def moved_pictures(finding: Finding, decoder: Decoder, shells: int) -> dict[str, np.ndarray]:
    """What the page draws of moved images.

    Args:
        finding: From an audit that moves images.
        decoder: Renders latents.
        shells: Last Fourier shell that was trained.

    Returns:
        Places of the same particles before and after, on one map; projections of the volumes of
        the first few, before and after.
    """
    columns = finding.tables["pairs"].columns
    before, after = (
        np.array([columns[name] for name in columns if name.startswith(key)], dtype=float).T
        for key in ("z_", "moved_")
    )
    plane = _plane(np.concatenate([before, after]))
    pairs = np.stack([before, after], axis=1)[:MOVED_VOLUMES].reshape(-1, before.shape[1])
    volumes = within_shells(decoder.volume(torch.from_numpy(pairs).float()), 0, shells)
    return {
        f"{finding.name}-ids": np.array(columns["id"], dtype=np.str_),
        f"{finding.name}-before": plane[: len(before)],
        f"{finding.name}-after": plane[len(before) :],
        f"{finding.name}-projections": np.stack([axis_projections(v.numpy()) for v in volumes]),
    }


def _plane(z: Float[np.ndarray, "n zdim"]) -> Float[np.ndarray, "n 2"]:
    if z.shape[1] == 2:
        return z
    if len(np.unique(z, axis=0)) < 3:
        return np.zeros((len(z), 2))
    if z.shape[1] == 1:
        return np.concatenate([z, np.zeros_like(z)], axis=1)
    return umap_coordinates(z, 0)
