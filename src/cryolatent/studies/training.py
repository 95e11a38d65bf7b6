"""What every study does with a training: open or refuse, train to the end, keep pictures."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from cryolatent.config.training import TrainConfig
from cryolatent.data import Source
from cryolatent.errors import InputError
from cryolatent.io.files import void, write_atomically
from cryolatent.runs.run import Run
from cryolatent.sessions.training import begin, train

MEASURES, PICTURES = "study/measures.json", "study/pictures.npz"
"""What a study keeps in the folder of a run."""


def opened(path: Path, config: TrainConfig, source: Source) -> Run | None:
    """Open a training that an earlier call began.

    Args:
        path: The run.
        config: The options that it must have.
        source: The examples that it must be of.

    Returns:
        The run; None if there is none yet.

    Raises:
        InputError: If there is a run with other options, or of other examples.
    """
    if not (path / "manifest.json").exists():
        return None
    run = Run.open(path)
    # where images lie is found when they are opened
    data = config.data.located(run.config.data.datadir)
    if run.config != config.model_copy(update={"data": data}).placed(Path.absolute, "method"):
        raise InputError(
            path, "a run with other options", "the study's own", "Choose another -o, or remove it."
        )
    run.check_input(source)
    return run


def trained(run: Run | None, path: Path, config: TrainConfig, source: Source) -> Run:
    """Begin a training if need be, and bring it to its end.

    Args:
        run: What `opened` gave.
        path: The run.
        config: Its options.
        source: Its examples.

    Returns:
        The finished run.

    Raises:
        NonFiniteError: If it diverged.
    """
    run = run or begin(path, config, source)
    if run.manifest.status != "finished":
        train(run, source)
    return Run.open(path)


def save_pictures(path: Path, arrays: Mapping[str, object]) -> None:
    """Write what a page draws of a run, atomically.

    Args:
        path: An ``.npz``.
        arrays: Arrays by name.
    """

    def save(partial: Path) -> None:
        with partial.open("wb") as stream:
            np.savez_compressed(stream, **arrays)  # pyright: ignore[reportArgumentType]

    write_atomically(path, lambda partial: void(save(partial)))
