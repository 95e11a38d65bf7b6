"""Run directories of what another program gave."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import cryolatent
from cryolatent.config.reading import TABLES
from cryolatent.config.training import TrainConfig
from cryolatent.data import ParticleStack
from cryolatent.data.source import Geometry
from cryolatent.models.latents import Latents
from cryolatent.models.system import System
from cryolatent.runs.manifest import Manifest
from cryolatent.runs.run import Run
from cryolatent.train.recorder import Checkpoint


@dataclass(frozen=True)
class Foreign:
    """A finished run of another program.

    Args:
        origin: Program, version and folder or file, in words.
        table: The file that its latents come from.
        latents: What it believes of each particle.
        particles: The particles; None if they are not at hand.
        geometry: Size of the images or volumes, as far as it is known without particles.
        system: Decoder, likelihood and posterior; None if latents alone are known.
        remarks: What whoever reads the run has to know.
    """

    origin: str
    table: Path
    latents: Latents
    particles: ParticleStack | None
    geometry: Geometry | None = None
    system: System | None = None
    remarks: tuple[str, ...] = ()


def write_run(path: Path, config: TrainConfig, foreign: Foreign) -> Run:
    """Write a finished run.

    Args:
        path: New folder.
        config: Its parts and how its particles are read.
        foreign: What is known.

    Returns:
        The run.

    Raises:
        InputError: If the folder is not free.
    """
    particles, system = foreign.particles, foreign.system
    if particles is None:
        manifest = _without_particles(foreign)
    else:
        manifest = Manifest.of(particles, config.session.seed, 1)
        located = config.data.located(particles.datadir)
        config = config.model_copy(update={"data": located})
    manifest = manifest.model_copy(update={"origin": foreign.origin, "remarks": foreign.remarks})
    start = Checkpoint({} if system is None else system.tensors(), {"epoch": 0})
    run = Run.create(path, config, manifest, start)
    run.write_latents(foreign.latents)
    run.set_status("finished")
    return Run.open(path)


def recorded(reading: Mapping[str, Any]) -> dict[str, Any]:
    """How particles were opened, as a configuration records it.

    Args:
        reading: Keyword arguments of `cryolatent.data.open_particles`.

    Returns:
        Options by name.
    """
    flat = {name: value for name, value in reading.items() if name not in ("tables", "relocate")}
    if "relocate" in reading:
        flat["relocate"] = reading["relocate"].texts
    tables = reading.get("tables")
    return flat | ({name: getattr(tables, name) for name in TABLES} if tables else {})


def _without_particles(foreign: Foreign) -> Manifest:
    geometry = foreign.geometry or Geometry(0)
    return Manifest(
        cryolatent_version=cryolatent.__version__,
        torch_version=torch.__version__,
        seed=0,
        threads=1,
        domain="latents",
        input=foreign.table.absolute(),
        input_sha256=hashlib.sha256(foreign.table.read_bytes()).hexdigest(),
        particles=len(foreign.latents.ids),
        box=geometry.box,
        shells=geometry.shells,
        pixel_size_angstrom=geometry.pixel_size_angstrom,
    )
