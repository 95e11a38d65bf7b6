"""Analyse a finished run: maps, clusters, volumes, and the truth where it is known."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from cryolatent.analysis.bootstrap import mean_estimate
from cryolatent.analysis.clusters import Clusters, clusters_of, decoder_of
from cryolatent.analysis.embedding import latent_points, principal_components, umap_coordinates
from cryolatent.analysis.motion import (
    FEWEST,
    explained_variance,
    predicted_coordinate,
    rank_correlation,
)
from cryolatent.analysis.movement import table_movement
from cryolatent.analysis.oracle import Oracle, oracle
from cryolatent.analysis.refined import compare_refined
from cryolatent.analysis.summary import (
    Cluster,
    Estimate,
    MotionComparison,
    RefinedComparison,
    Summary,
    TruthComparison,
    write_summary,
)
from cryolatent.analysis.truth import fsc_area, per_image_fsc, rand_index
from cryolatent.data import ParticleStack
from cryolatent.errors import InputError
from cryolatent.io import read_volume, write_volume
from cryolatent.io.files import void, write_atomically
from cryolatent.models import Decoder
from cryolatent.models.latents import Latents
from cryolatent.models.mistaken import mistakable
from cryolatent.physics import fourier_shell_correlation, resolution_angstrom
from cryolatent.runs.run import Run
from cryolatent.sessions.systems import restore
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


def analyze(
    run: Run,
    *,
    clusters: int | None = None,
    truth: Path | None = None,
    seed: int = 0,
    tell: Callable[[str], None] = lambda stage: None,
) -> Summary:
    """Write ``analysis/``: ``embedding.parquet``, ``volumes/*.mrc`` and ``summary.json``.

    Args:
        run: A finished run.
        clusters: Number of clusters; if left out those of the states that the run has read, or six.
        truth: Truth folder of the simulation that the particles come from.
        seed: Fixes UMAP, k-means and the choice of particles for the FSC.
        tell: Called with the name of each stage.

    Returns:
        The findings, which are also written.

    Raises:
        InputError: If the run is not finished or has fewer than three particles, or the truth is
            not of its particles.
    """
    latents = run.latents()
    run.check_tables()
    if len(latents.ids) < 3:
        raise InputError(run.path, f"{len(latents.ids)} particles", "at least 3", "Train on more.")
    matched = None
    if truth is not None:
        loaded = Truth.load(truth)
        matched = Matched(loaded, loaded.match(latents.ids, run.path))
    z = latents.distribution.mean.numpy().astype(float)
    tell("clusters")
    groups = clusters_of(run, clusters, seed)
    labels = groups.labels
    shown = latent_points(latents)
    components, explained = principal_components(shown)
    maps = {f"pca_{axis}": components[:, axis] for axis in range(min(2, shown.shape[1]))}
    if z.shape[1] and not latents.distribution.is_discrete:
        tell("UMAP")
        plane = umap_coordinates(z, seed)
        maps |= {f"umap_{axis}": column for axis, column in enumerate(plane.T)}
    # the summary stands for a complete analysis, so the old one goes before its parts change
    (run.analysis / "summary.json").unlink(missing_ok=True)
    _write_embedding(run, latents, maps | {"cluster": labels}, matched)
    tell("volumes")
    system = restore(run) if run.config.decoder.renders else None
    decoder = None if system is None else system.model.decoder
    shown_by = None if system is None else decoder_of(run, clusters)
    found = _write_clusters(run, shown_by, latents, groups)
    if matched is not None:
        tell("truth")
        found = [_against_truth(run, cluster, labels, matched) for cluster in found]
    summary = Summary(
        run=run.name,
        posterior=run.config.posterior.kind,
        particles=len(z),
        z_dim=z.shape[1],
        elbo=_mean(latents.elbo),
        kl=_mean(latents.kl if latents.distribution.is_bound else None),
        log_joint=_mean(latents.log_joint),
        pca_explained=tuple(explained.tolist()),
        clusters=tuple(found),
        clusters_asked=clusters,
        seed=seed,
        truth=None if matched is None else _compare(run, decoder, latents, labels, matched, seed),
        table_movement=table_movement(run),
        mistakable=mistakable(system, run.open_stack().select_ids(latents.ids))
        if run.config.method.solves_volumes and system is not None
        else None,
    )
    write_summary(run, summary)
    return summary


def _mean(values: Tensor | None) -> Estimate | None:
    return None if values is None else mean_estimate(values.numpy())


def _write_embedding(
    run: Run, latents: Latents, columns: dict[str, np.ndarray], matched: Matched | None
) -> None:
    if matched is not None:
        columns = columns | {"state": matched.state}
        if matched.angle_degrees is not None:
            columns = columns | {"angle_degrees": matched.angle_degrees}
    table = pa.table({"id": latents.ids.tolist()} | columns)
    path = run.analysis / "embedding.parquet"
    write_atomically(path, lambda partial: void(pq.write_table(table, partial)))


@torch.no_grad()
def _write_clusters(
    run: Run, decoder: Decoder | None, latents: Latents, groups: Clusters
) -> list[Cluster]:
    folder = run.analysis / "volumes"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    found = []
    for number, medoid in enumerate(groups.medoids):
        file = folder / f"cluster_{number}.mrc"
        if decoder is not None:
            volume = decoder.volume(groups.centres[number][None])[0]
            write_volume(file, volume.numpy(), run.manifest.pixel_size_angstrom)
        found.append(
            Cluster(
                number=number,
                size=int((groups.labels == number).sum()),
                medoid=str(latents.ids[medoid]),
                volume=None if decoder is None else file.relative_to(run.path).as_posix(),
            )
        )
    return found


def _against_truth(run: Run, cluster: Cluster, labels: np.ndarray, matched: Matched) -> Cluster:
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


def _compare(
    run: Run,
    decoder: Decoder | None,
    latents: Latents,
    labels: np.ndarray,
    matched: Matched,
    seed: int,
) -> TruthComparison:
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
