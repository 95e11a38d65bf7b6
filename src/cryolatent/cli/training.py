"""Continuing a run."""

from pathlib import Path

from cryolatent.data import ParticleStack
from cryolatent.errors import InputError
from cryolatent.runs.config import TrainConfig
from cryolatent.runs.manifest import Manifest
from cryolatent.runs.run import Run


def resume_run(output: Path, options: TrainConfig) -> tuple[Run, ParticleStack]:
    """Open a run to continue it.

    Args:
        output: The run's folder.
        options: Explicitly set options; only the number of epochs may differ from the run's.

    Returns:
        The run and its particles.

    Raises:
        InputError: If there is no run, its input has changed, or an option differs.
    """
    run = Run.open(output)
    wanted = run.config.updated(options)
    epochs = wanted.optimisation.epochs
    kept = run.config.optimisation.model_copy(update={"epochs": epochs})
    if wanted != run.config.model_copy(update={"optimisation": kept}):
        raise InputError(
            output, "options that differ from the run's", "none but --epochs", "Begin a new run."
        )
    stack = run.open_stack()
    if Manifest.of(stack, 0, 0).input_sha256 != run.manifest.input_sha256:
        raise InputError(
            run.manifest.input,
            "another content than when the run began",
            f"SHA-256 {run.manifest.input_sha256[:12]}...",
            "Put the file back, or begin a new run.",
        )
    return run.set_config(wanted), stack
