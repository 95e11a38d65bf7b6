"""What a run directory says about itself."""

import hashlib
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

import cryolatent
from cryolatent.data import Domain, ParticleStack, Source
from cryolatent.data.packed import file_digest

SCHEMA = 2


def input_digest(source: Source) -> str:
    """Hash the data that a run is made of.

    Args:
        source: The examples.

    Returns:
        SHA-256 in hexadecimal.
    """
    return hashlib.sha256(source.fingerprint()).hexdigest()


class Manifest(BaseModel):
    """A run's identity and state; ``manifest.json``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: int = SCHEMA
    """Version of the directory's layout."""

    cryolatent_version: str
    """Program version that began the run."""

    torch_version: str
    """PyTorch version that began the run."""

    seed: int
    """Seed of every random choice."""

    device: str = "cpu"
    """Where it ran."""

    threads: int
    """Processor threads that it ran with."""

    domain: Domain = "particles"
    """Which field the examples come from."""

    input: Path
    """The particle file, as an absolute path."""

    home: Path | None = None
    """The run's folder when it began, as an absolute path. If it is another now, what is not where
    it was is looked for at the same place relative to the run."""

    input_sha256: str
    """Hash of the particle file and of its stacks' headers and sizes."""

    tables: dict[Path, str] = {}
    """SHA-256 of each file whose content makes the particles, images excepted."""

    particles: int
    """Number of particles."""

    box: int
    """Side of the images, in pixels."""

    shells: int
    """Last Fourier shell used; 0 if pixels are compared."""

    pixel_size_angstrom: float
    """Pixel size, in Å; 1 if pixels have no size."""

    image_scale: float = 1.0
    """What images are multiplied by as they are read."""

    parents: tuple[str, ...] = ()
    """Runs that this one started from."""

    origin: str = ""
    """What it was imported from; empty if this program trained it."""

    remarks: tuple[str, ...] = ()
    """What has to be known of an imported run."""

    status: Literal["running", "interrupted", "failed", "finished"] = "running"
    """Whether the run is finished; anything else can be resumed."""

    @staticmethod
    def of(
        source: Source,
        seed: int,
        threads: int,
        parents: tuple[str, ...] = (),
        device: str = "cpu",
    ) -> "Manifest":
        """Describe a run that begins now.

        Args:
            source: The examples.
            seed: Seed of every random choice.
            threads: Processor threads.
            parents: Runs that it starts from.
            device: Where it computes.

        Returns:
            The manifest.
        """
        import torch

        geometry = source.geometry
        return Manifest(
            cryolatent_version=cryolatent.__version__,
            torch_version=torch.__version__,
            seed=seed,
            threads=threads,
            parents=parents,
            device=device,
            domain=source.domain,
            # a link stays one: its folder is where images are looked for
            input=source.source.absolute(),
            input_sha256=input_digest(source),
            tables=_table_digests(source),
            particles=len(source),
            box=geometry.box,
            shells=geometry.shells,
            pixel_size_angstrom=geometry.pixel_size_angstrom,
            image_scale=source.image_scale if isinstance(source, ParticleStack) else 1.0,
        )


def _table_digests(source: Source) -> dict[Path, str]:
    if not isinstance(source, ParticleStack):
        return {}
    tables = source.tables or (source.source,)
    return {path.absolute(): file_digest(path) for path in tables}
