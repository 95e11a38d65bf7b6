"""What every study keeps of a training."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from cryolatent.io.files import void, write_atomically

MEASURES, PICTURES = "study/measures.json", "study/pictures.npz"
"""What a study keeps in the folder of a run."""


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
