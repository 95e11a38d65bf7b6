"""What a run directory says about itself."""

import hashlib
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

import cryolatent
from cryolatent.data import ParticleStack

SCHEMA = 1


def input_digest(stack: ParticleStack) -> str:
    """Hash particle files and what can be hashed of their stacks without reading them whole.

    Args:
        stack: The particles.

    Returns:
        SHA-256 in hexadecimal.
    """
    digest = hashlib.sha256()
    for table in stack.tables or (stack.source,):
        digest.update(table.read_bytes())
    digest.update(stack.images.fingerprint())
    return digest.hexdigest()


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

    input: Path
    """The particle file, as an absolute path."""

    input_sha256: str
    """Hash of the particle file and of its stacks' headers and sizes."""

    particles: int
    """Number of particles."""

    box: int
    """Side of the images, in pixels."""

    shells: int
    """Last Fourier shell used."""

    pixel_size_angstrom: float
    """Pixel size, in Å."""

    parents: tuple[str, ...] = ()
    """Runs that this one started from."""

    status: Literal["running", "interrupted", "failed", "finished"] = "running"
    """Whether the run is finished; anything else can be resumed."""

    @staticmethod
    def of(stack: ParticleStack, seed: int, threads: int) -> "Manifest":
        """Describe a run that begins now.

        Args:
            stack: The particles.
            seed: Seed of every random choice.
            threads: Processor threads.

        Returns:
            The manifest.
        """
        import torch

        return Manifest(
            cryolatent_version=cryolatent.__version__,
            torch_version=torch.__version__,
            seed=seed,
            threads=threads,
            input=stack.source.resolve(),
            input_sha256=input_digest(stack),
            particles=len(stack),
            box=stack.disc.box,
            shells=stack.disc.radius,
            pixel_size_angstrom=stack.pixel_size_angstrom,
        )
