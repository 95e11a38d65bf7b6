"""A series of volumes along a path: what the model draws, and what the particles there show."""

import csv
import io
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from cryolatent.analysis.clusters import clusters_of
from cryolatent.analysis.kernel_regression import (
    Regression,
    choose_windows,
    explained_by_decoder,
    explained_by_volume,
    regressed,
)
from cryolatent.analysis.reconstruction import reconstruct
from cryolatent.analysis.state_maps import own_members
from cryolatent.data import ParticleStack
from cryolatent.errors import InputError
from cryolatent.io import write_volume
from cryolatent.io.files import new_folder, write_text_atomically
from cryolatent.models.latents import Latents
from cryolatent.progress import Stage, silent
from cryolatent.runs.finding import Record
from cryolatent.runs.run import Run
from cryolatent.sessions.systems import restore

ANCHORS = 8
"""Places of a path, evenly spaced, at which the windows are chosen."""

NEAR = 0.5
"""Distance, in standard deviations of the prior, within which particles are counted as near."""

DECODED, MEASURED = "decoded", "measured"


class Frame(Record):
    """A place of a path."""

    place: tuple[float, ...]
    """Its latent."""

    particles: int
    """Particles whose posterior mean is within half a standard deviation of the prior of it."""

    decoded: str | None
    """File of the model's volume; None of a run without a decoder."""

    measured: str | None
    """File of the volume that particles show there; None where none was asked for."""


class Series(Record):
    """Volumes along a path."""

    run: str
    """Name of the run."""

    frames: tuple[Frame, ...]
    """In the order of the path."""

    windows: tuple[int, ...] | None
    """Particles about a place whose residuals a shell was measured from; 0 where the halves do not
    foretell each other, so that the measured volume is the model's there."""

    @property
    def shown(self) -> list[str]:
        """The files of the series that is drawn: the measured one, where there is one."""
        return [frame.measured or frame.decoded or "" for frame in self.frames]


def check_continuous(run: Run) -> Latents:
    """The latents of a run through which a path can lead.

    Args:
        run: A finished run.

    Returns:
        Its latents.

    Raises:
        InputError: If it has states alone, or no dimension.
    """
    latents = run.latents()
    discrete = latents.distribution.is_discrete
    if discrete or not latents.distribution.mean.shape[1]:
        found = "a run of distinct states" if discrete else "a latent space of no dimensions"
        way_out = f"Reconstruct the states instead: cryolatent volumes {run.path}"
        raise InputError(run.path, found, "a continuous latent space", way_out)
    return latents


def write_series(
    run: Run,
    folder: Path,
    places: Float[Tensor, "f zdim"],
    *,
    measured: bool = True,
    stage: Stage = silent,
) -> Series:
    """Write the volumes along a path.

    A measured volume is the decoded one (without a decoder the map of all particles) and what the
    residuals of particles about the place add to it, by `kernel_regression`.

    Args:
        run: A finished run.
        folder: New or empty folder for ``decoded_000.mrc`` ..., ``measured_000.mrc`` ...,
            ``path.csv`` and ``summary.json``.
        places: Latents, at least two.
        measured: Whether to read the images.
        stage: Told of the progress.

    Returns:
        What is in ``summary.json``.

    Raises:
        InputError: If the folder is not free, the run has no path, or nothing was asked for.
    """
    Run.check_free(folder)
    latents = check_continuous(run)
    renders = run.config.decoder.renders
    if not renders and not measured:
        way_out = "Let volumes be measured."
        raise InputError(run.path, "a run without a decoder", "one with a decoder", way_out)
    near = torch.cdist(places, latents.distribution.mean) < NEAR
    with new_folder(folder) as partial:
        decoded = _decoded(run, places) if renders else None
        added, windows = None, None
        if measured:
            added, windows = _measured(run, latents, places, decoded, stage)
        files = [
            [None] * len(places) if volumes is None else _write(run, partial, name, volumes)
            for name, volumes in ((DECODED, decoded), (MEASURED, added))
        ]
        frames = tuple(
            Frame(
                place=tuple(place.tolist()),
                particles=int(near[number].sum()),
                decoded=files[0][number],
                measured=files[1][number],
            )
            for number, place in enumerate(places)
        )
        series = Series(run=run.name, frames=frames, windows=windows)
        write_text_atomically(partial / "summary.json", series.model_dump_json(indent=2))
        write_text_atomically(partial / "path.csv", _table(frames))
    return series


@torch.no_grad()
def _decoded(run: Run, places: Float[Tensor, "f zdim"]) -> Float[Tensor, "f z y x"]:
    decoder = restore(run).model.decoder
    return torch.cat([decoder.volume(place[None]) for place in places])


def _measured(
    run: Run,
    latents: Latents,
    places: Float[Tensor, "f zdim"],
    decoded: Float[Tensor, "f z y x"] | None,
    stage: Stage,
) -> tuple[Float[Tensor, "f z y x"], tuple[int, ...]]:
    members = own_members(run, clusters_of(run, None, 0))
    stack, z = members.stack, latents.distribution.mean
    if decoded is None:
        consensus = _consensus(stack, members.mask, stage)
        base = consensus.expand(len(places), -1, -1, -1)
        explained = explained_by_volume(stack, consensus)
    else:
        base, explained = decoded, explained_by_decoder(restore(run).model.decoder, z)
    halves = stack.split(members.seed)
    regression = Regression(stack, z, latents.is_particle, halves, explained, members.mask)
    chosen = torch.linspace(0, len(places) - 1, min(ANCHORS, len(places))).round().long()
    windows = choose_windows(regression, places[chosen], stage("windows", len(chosen)))
    advance, volumes = stage("measured volumes", len(places)), []
    for number, place in enumerate(places):
        volumes.append(base[number] + regressed(regression, windows, place))
        advance(number + 1)
    return torch.stack(volumes), tuple(windows.particles)


def _consensus(
    stack: ParticleStack, mask: Float[Tensor, "z y x"] | None, stage: Stage
) -> Float[Tensor, "z y x"]:
    volume = reconstruct(stack, mask=mask, stage=stage).volume
    return volume if mask is None else volume * mask


def _write(run: Run, folder: Path, name: str, volumes: Float[Tensor, "f z y x"]) -> list[str]:
    files = [f"{name}_{number:03d}.mrc" for number in range(len(volumes))]
    for file, volume in zip(files, volumes, strict=True):
        write_volume(folder / file, volume.numpy(), run.manifest.pixel_size_angstrom)
    return files


def _table(frames: tuple[Frame, ...]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    axes = [f"z{axis}" for axis in range(len(frames[0].place))]
    writer.writerow(["frame", *axes, "particles", DECODED, MEASURED])
    for number, frame in enumerate(frames):
        files = (frame.decoded or "", frame.measured or "")
        writer.writerow([number, *frame.place, frame.particles, *files])
    return text.getvalue()
