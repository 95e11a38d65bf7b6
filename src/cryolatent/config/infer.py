"""How latents are found of particles that a run was not trained on."""

from typing import Annotated

from cyclopts import Parameter
from pydantic import Field

from cryolatent.config.reading import Positive, Section


@Parameter(name="*")
class InferConfig(Section):
    """How the latents of particles are found that a run was not trained on."""

    starts: Positive = 4
    """Starts of each particle's fit, the prior and draws of it; the best fit is kept (tables and
    --refine)."""

    pool: Annotated[int, Field(ge=0)] = 32
    """Trained latents, evenly spread over the particles, of which the one that explains a particle
    best is one more start of its fit; 0 for none (tables and --refine)."""

    steps: Positive = 200
    """Steps of each fit (tables and --refine)."""

    refine: Annotated[bool, Parameter(negative="")] = False
    """Fit the distributions of an encoder too, its own as a further start, and print what that
    gains: the amortisation gap."""

    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda|cuda:\d+)$")] = "auto"
    """Where it computes: auto, cpu, cuda or cuda:N; auto is CUDA where there is one."""

    seed: Annotated[int, Field(ge=0)] = 0
    """Fixes starts and samples."""
