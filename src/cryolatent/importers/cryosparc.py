"""3D Variability Analysis of cryoSPARC: latents and volumes of a finished job."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryolatent.data import open_particles
from cryolatent.errors import InputError
from cryolatent.importers.directory import Foreign
from cryolatent.importers.latents import latents_in, numbered
from cryolatent.importers.subspace import read_subspace, write_rows
from cryolatent.io.columns import read_columns
from cryolatent.models.latents import Latents
from cryolatent.runs.run import Run

VALUE = r"components_mode_(\d+)/value"
COMPONENT = re.compile(r"(?:.*_)?component_(\d+)\.mrc")
MAP = re.compile(r"(?:.*_)?map\.mrc")
GIVE = "Give the folder of a 3D Variability job, or its particles, map and components."
NO_VOLUMES = (
    "Its map and components are not all there, so no volumes are drawn: give JN_map.mrc and one "
    "JN_component_K.mrc per dimension beside the particles."
)


@dataclass(frozen=True)
class Job:
    """What a 3D Variability job left.

    Args:
        particles: Its particles, with a value of each component.
        modes: Columns of those values, in the order of the components.
        volumes: Map, then components in the same order; none unless all are there.
    """

    particles: Path
    modes: tuple[str, ...]
    volumes: tuple[Path, ...]


def import_cryosparc(
    paths: Sequence[Path],
    output: Path,
    particles: Path | None = None,
    reading: Mapping[str, Any] | None = None,
    *,
    without_particles: bool = False,
) -> Run:
    """Make a run of a 3D Variability job of cryoSPARC.

    Its volume at a latent is the map plus every component times its value, as the values stand in
    the particles' file.

    Args:
        paths: The job's folder, or its files.
        output: New folder.
        particles: Particle file in place of the job's own with its passthrough file.
        reading: Options of `cryolatent.data.open_particles`.
        without_particles: Whether to do without the images.

    Returns:
        A finished run.

    Raises:
        InputError: If a file is missing or of something else, or files do not fit each other.
    """
    Run.check_free(output)
    job, reading = job_in(paths), dict(reading or {})
    stack = None if without_particles else open_particles(particles or job.particles, **reading)
    distribution, ids = latents_in(job.particles, job.modes, stack)
    volumes = None
    if job.volumes:
        volumes = read_subspace(job.volumes[0], job.volumes[1:], len(job.modes), stack)
    foreign = Foreign(
        f"cryoSPARC's 3D Variability, {job.particles.name}",
        job.particles,
        Latents(ids, distribution, None, distribution.kl()),
        stack,
        remarks=() if volumes else (NO_VOLUMES,),
    )
    return write_rows(output, reading, foreign, volumes)


def job_in(paths: Sequence[Path]) -> Job:
    """Find the files of a 3D Variability job: by their fields and names, whatever begins these.

    Args:
        paths: A folder, or files.

    Returns:
        The job.

    Raises:
        InputError: If none or several ``.cs`` files have components, or volumes are named twice.
    """
    files = [
        file
        for path in paths
        for file in (sorted(path.iterdir()) if path.is_dir() else [path])
        if file.suffix.lower() in (".cs", ".mrc")
    ]
    where = paths[0] if len(paths) == 1 else ", ".join(map(str, paths))
    tables = {}
    for file in files:
        if file.suffix.lower() == ".cs" and "passthrough" not in file.name:
            modes = numbered(read_columns(file), VALUE)
            tables |= {file: modes} if modes else {}
    if len(tables) != 1:
        names = " and ".join(file.name for file in tables)
        found = names or "no .cs file with fields components_mode_0/value"
        raise InputError(where, found, "the particles of one 3D Variability job", GIVE)
    (table, modes), *_ = tables.items()
    means = [file for file in files if MAP.fullmatch(file.name)]
    components: dict[int, Path] = {}
    for file in files:
        if match := COMPONENT.fullmatch(file.name):
            if int(match[1]) in components:
                both = f"{components[int(match[1])].name} and {file.name}"
                raise InputError(where, both, "one volume per component", GIVE)
            components[int(match[1])] = file
    if len(means) > 1:
        found = " and ".join(file.name for file in means)
        raise InputError(where, found, "one map", GIVE)
    numbers = [int(match[1]) for mode in modes if (match := re.fullmatch(VALUE, mode))]
    volumes = ()
    if means and all(number in components for number in numbers):
        volumes = (means[0], *(components[number] for number in numbers))
    return Job(table, tuple(modes), volumes)
