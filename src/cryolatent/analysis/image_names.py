"""Names of image stacks in a particle file that is written to another folder."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int

from cryolatent.analysis.pose_columns import RECORDED
from cryolatent.data.places import Moves
from cryolatent.data.stacks import MissingStackError, locate_stack
from cryolatent.errors import InputError
from cryolatent.io import column_text
from cryolatent.io.star_text import IMAGES, StarText

NAMED = f"{RECORDED}ImageName"


@dataclass(frozen=True)
class Naming:
    """How the images of a file are named elsewhere.

    Args:
        datadir: Folder that the file's own names are relative to, if not its own.
        moves: Where folders are now that absolute names mean.
        relative_to: Folder that the new names are to be relative to; if left out names stay where
            the new file finds its images by them, and are absolute elsewhere.
    """

    datadir: Path | None
    moves: Moves
    relative_to: Path | None = None

    def columns(
        self, text: StarText, rows: Int[np.ndarray, " n"], output: Path
    ) -> dict[str, list[str]]:
        """The column of image names as it has to be, and what stood in it.

        Args:
            text: The particle file.
            rows: Which of its particles.
            output: Where they are written.

        Returns:
            Columns by name; none if all names may stay.

        Raises:
            InputError: If a new name has a space, which RELION does not read.
        """
        recorded = column_text(text, IMAGES, rows)
        parts = [name.strip("\"'").rpartition("@") for name in recorded]
        new = {file: self._name(text.path, file, output) for file in {p[2] for p in parts}}
        if all(old == name for old, name in new.items()):
            return {}
        names = [f"{number}{at}{new[file]}" for number, at, file in parts]
        return {NAMED: recorded, IMAGES: names}

    def _name(self, source: Path, name: str, output: Path) -> str:
        try:
            stack = locate_stack(source, name, self.datadir, IMAGES, "", self.moves).path
        except MissingStackError:
            # packed particles have their images, and the stack may be gone
            return name
        if self.relative_to is None:
            if _finds(output, name, stack):
                return name
            new = str(stack.absolute())
        else:
            new = os.path.relpath(stack, self.relative_to)
        if any(map(str.isspace, new)):
            raise InputError(
                output,
                f"images in {new}",
                "a path without spaces, which RELION takes for ends of columns",
                "Name them from another folder: `relative_to`.",
            )
        return new


def _finds(output: Path, name: str, stack: Path) -> bool:
    """Whether a file at a place finds the stack by this name, wherever a program is started."""
    try:
        there = locate_stack(output, name, None, IMAGES, "")
    except MissingStackError:
        return False
    return not there.away and there.path.samefile(stack)
