"""Continuing a run."""

import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cryolatent.data import ParticleStack
from cryolatent.data.places import absolute_move
from cryolatent.errors import InputError
from cryolatent.runs.run import Run
from cryolatent.sessions.training import check_trains

FREE = ("epochs", "datadir", "memory", "relocate")
"""Options that may change when a run is continued."""


@contextmanager
def resumable(output: Path) -> Iterator[None]:
    """Note on what ends a training early how it goes on: with --resume once there is a run.

    Args:
        output: The run's folder.

    Yields:
        Nothing.
    """
    try:
        yield
    except BaseException as error:
        if (output / "manifest.json").exists():
            error.add_note(shlex.join(["cryolatent", "train", "--resume", "-o", str(output)]))
        raise


def resume_run(output: Path, options: Mapping[str, Any]) -> tuple[Run, ParticleStack]:
    """Open a run to continue it.

    Args:
        output: The run's folder.
        options: Explicitly set options; only those of `FREE` may differ from the run's.

    Returns:
        The run and its particles.

    Raises:
        InputError: If there is no run, its input has changed, or an option differs.
    """
    run = Run.open(output)
    check_trains(run.config, output)
    own = run.config.flat()
    others = {name: v for name, v in options.items() if name not in FREE}
    if any(own.get(name) != value for name, value in others.items()):
        raise InputError(
            output,
            "options that differ from the run's",
            "none but --epochs, --datadir, --memory and --relocate",
            "Begin a new run.",
        )
    # what follows from the epochs asked for at first stays as it was begun
    moved = map(absolute_move, options.get("relocate", ()))
    wanted = run.relocated(tuple(moved)).config.resolved()
    wanted = wanted.changed({name: v for name, v in options.items() if name != "relocate"})
    with run.locked():
        done = run.checkpoint().position["epoch"]
    if options.get("epochs", done) < done:
        found = str(options["epochs"])
        raise InputError("--epochs", found, f"at least the {done} done", "Ask for more.")
    run = run.set_config(wanted)
    return run, run.open_stack()
