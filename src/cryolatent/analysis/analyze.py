"""Analyse a finished run: maps, states or clusters, volumes, and the truth where it is known."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from cryolatent.analysis.against_truth import Matched, against_truth, compare_with_truth
from cryolatent.analysis.bootstrap import mean_estimate
from cryolatent.analysis.clusters import Clusters, clusters_of, decoder_of
from cryolatent.analysis.density import write_density
from cryolatent.analysis.embedding import latent_points, principal_components, umap_coordinates
from cryolatent.analysis.groups import describe_groups
from cryolatent.analysis.movement import table_movement
from cryolatent.analysis.state_differences import with_details
from cryolatent.analysis.state_maps import Members, halved_members, own_members, write_state_maps
from cryolatent.analysis.summary import Cluster, Estimate, Summary, write_summary
from cryolatent.errors import InputError
from cryolatent.io import write_volume
from cryolatent.io.files import void, write_atomically
from cryolatent.models import Decoder
from cryolatent.models.latents import Latents
from cryolatent.models.mistaken import mistakable
from cryolatent.progress import Stage, silent
from cryolatent.runs.run import Run
from cryolatent.sessions.crossfit import CrossFit
from cryolatent.sessions.systems import restore
from cryolatent.simulate.truth import Truth

PLANE = 2
"""Dimensions that need no embedding to be drawn."""


def analyze(
    run: Run,
    *,
    clusters: int | None = None,
    truth: Path | None = None,
    seed: int = 0,
    maps: bool = True,
    halves: CrossFit | None = None,
    masks: Sequence[Path] = (),
    stage: Stage = silent,
) -> Summary:
    """Write ``analysis/``: ``embedding.parquet``, ``volumes``, ``maps`` and ``summary.json``.

    Args:
        run: A finished run.
        clusters: Number of clusters; if left out those of the states that the run has read, or six.
        truth: Truth folder of the simulation that the particles come from.
        seed: Fixes UMAP, k-means and the choice of particles for the FSC.
        maps: Whether to reconstruct the maps of the groups' own particles.
        halves: Models of as many states, trained on each half of the particles apart, so that
            half-maps know nothing of each other; without, they share the run's poses and
            probabilities.
        masks: MRC files of masks whose occupancy is wanted of each map.
        stage: Told of the progress.

    Returns:
        The findings, which are also written.

    Raises:
        InputError: If the run is not finished or has fewer than three particles, the truth is
            not of its particles, the halves' states are not the run's, or a mask does not fit.
    """
    _check_writable(run.path)
    latents = run.latents()
    run.check_tables()
    if len(latents.ids) < 3:
        raise InputError(run.path, f"{len(latents.ids)} particles", "at least 3", "Train on more.")
    matched = None if truth is None else _matched(run, truth, latents)
    advance = stage("states", 1)
    groups = clusters_of(run, clusters, seed)
    advance(1)
    if halves is not None and (not groups.are_states or len(halves.fsc) != len(groups.medoids)):
        raise InputError(
            run.path,
            f"{len(groups.medoids)} {groups.word}s, and halves of {len(halves.fsc)} states",
            "halves of the run's own states",
            "Leave out `halves`.",
        )
    shown = latent_points(latents)
    components, explained = principal_components(shown)
    plane = {f"pca_{axis}": components[:, axis] for axis in range(min(2, shown.shape[1]))}
    if shown.shape[1] > PLANE and not latents.distribution.is_discrete:
        advance = stage("UMAP", 1)
        embedded = umap_coordinates(shown, seed)
        plane |= {f"umap_{axis}": column for axis, column in enumerate(embedded.T)}
        advance(1)
    density = write_density(run, latents, seed, stage)
    # the summary stands for a complete analysis, so the old one goes before its parts change
    (run.analysis / "summary.json").unlink(missing_ok=True)
    _write_embedding(run, latents, plane | {"cluster": groups.labels}, matched)
    system = restore(run) if run.config.decoder.renders else None
    decoder = None if system is None else system.model.decoder
    found = describe_groups(latents, groups)
    found = _write_volumes(run, None if system is None else decoder_of(run, groups), groups, found)
    if maps and run.manifest.domain == "particles":
        found = _write_maps(run, groups, found, _members(run, groups, halves), masks, stage)
    compared = None
    if matched is not None:
        advance = stage("truth", 1)
        found = [against_truth(run, cluster, groups.labels, matched) for cluster in found]
        compared = compare_with_truth(run, decoder, latents, groups.labels, matched, seed)
        advance(1)
    summary = Summary(
        run=run.name,
        posterior=run.config.posterior.kind,
        particles=len(latents.ids),
        z_dim=latents.distribution.mean.shape[1],
        elbo=_mean(latents.elbo),
        kl=_mean(latents.kl if latents.distribution.is_bound else None),
        log_joint=_mean(latents.log_joint),
        pca_explained=tuple(explained.tolist()),
        clusters=tuple(found),
        are_states=groups.are_states,
        junk=int((latents.is_particle < 0.5).sum()),
        clusters_asked=clusters,
        seed=seed,
        density=density,
        truth=compared,
        table_movement=table_movement(run),
        mistakable=mistakable(system, run.open_stack().select_ids(latents.ids))
        if run.config.method.solves_volumes and system is not None
        else None,
    )
    write_summary(run, summary)
    return summary


def _check_writable(path: Path) -> None:
    if not os.access(path, os.W_OK):
        way_out = f"Analyse a copy: cp -r --no-preserve=mode {path} COPY"
        raise InputError(path, "a run that cannot be written to", "one that can", way_out)


def _matched(run: Run, truth: Path, latents: Latents) -> Matched:
    loaded = Truth.load(truth)
    return Matched(loaded, loaded.match(latents.ids, run.path))


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


def _fresh(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


@torch.no_grad()
def _write_volumes(
    run: Run, decoder: Decoder | None, groups: Clusters, found: list[Cluster]
) -> list[Cluster]:
    """The model's volume of each group, where there is a decoder."""
    folder = _fresh(run.analysis / "volumes")
    if decoder is None:
        return found
    drawn = []
    for cluster, centre in zip(found, groups.centres, strict=True):
        file = folder / f"{groups.word}_{cluster.number}.mrc"
        volume = decoder.volume(centre[None])[0]
        write_volume(file, volume.numpy(), run.manifest.pixel_size_angstrom)
        drawn.append(cluster.model_copy(update={"volume": file.relative_to(run.path).as_posix()}))
    return drawn


def _write_maps(
    run: Run,
    groups: Clusters,
    found: list[Cluster],
    members: Members,
    masks: Sequence[Path],
    stage: Stage,
) -> list[Cluster]:
    """The map of each group's own particles, and where the maps differ."""
    folder = _fresh(run.analysis / "maps")
    measured = write_state_maps(
        members, groups.labels, folder, groups.word, relative_to=run.path, stage=stage
    )
    mapped = [
        cluster.model_copy(update={"measured": made and made[0]})
        for cluster, made in zip(found, measured, strict=True)
    ]
    return with_details(members, mapped, folder, root=run.path, masks=masks, stage=stage)


@torch.no_grad()
def _members(run: Run, groups: Clusters, halves: CrossFit | None) -> Members:
    if halves is None:
        return own_members(run, groups)
    decoder = decoder_of(run, groups)
    volumes = torch.cat([decoder.volume(centre[None]) for centre in groups.centres])
    return halved_members(run, halves, volumes)
