"""Continuing a run."""

from pathlib import Path

from cryolatent.data import ParticleStack
from cryolatent.errors import InputError
from cryolatent.runs.config import TrainConfig
from cryolatent.runs.run import Run


def resume_run(output: Path, options: TrainConfig) -> tuple[Run, ParticleStack]:
    """Open a run to continue it.

    Args:
        output: The run's folder.
        options: Explicitly set options; only epochs and datadir may differ from the run's.

    Returns:
        The run and its particles.

    Raises:
        InputError: If there is no run, its input has changed, or an option differs.
    """
    run = Run.open(output)
    wanted = run.config.updated(options)
    epochs, datadir = wanted.optimisation.epochs, wanted.data.datadir
    optimisation = run.config.optimisation.model_copy(update={"epochs": epochs})
    data = run.config.data.model_copy(update={"datadir": datadir})
    if wanted != run.config.model_copy(update={"optimisation": optimisation, "data": data}):
        raise InputError(
            output,
            "options that differ from the run's",
            "none but --epochs and --datadir",
            "Begin a new run.",
        )
    done = run.checkpoint().position["epoch"]
    if epochs < done:
        raise InputError("--epochs", str(epochs), f"at least the {done} done", "Ask for more.")
    run = run.set_config(wanted)
    return run, run.open_unchanged_stack()
