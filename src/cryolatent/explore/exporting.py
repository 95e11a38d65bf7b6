"""Selections written as particle files into one folder."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool

from cryolatent.analysis.export import Exported, export, export_kinds
from cryolatent.errors import InputError
from cryolatent.explore.explored import Explored
from cryolatent.io.files import write_text_atomically

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,99}")


@dataclass(frozen=True)
class Written:
    """An export, and how to make it again.

    Args:
        exported: What was written.
        command: The command that writes the same.
    """

    exported: Exported
    command: str

    def described(self) -> dict[str, Any]:
        """What the page is told of it."""
        done = self.exported
        return {
            "path": str(done.path),
            "rows": len(done.rows),
            "of": done.particles,
            "command": self.command,
        }


def write_selection(
    explored: Explored, chosen: Bool[np.ndarray, " n"], folder: Path, name: str, kind: str
) -> Written:
    """Write selected particles as ``NAME.KIND``, and their names as ``NAME.txt``.

    Args:
        explored: The run.
        chosen: For each particle whether it is selected.
        folder: Where to write, and nowhere else.
        name: Of the files, without folders.
        kind: Ending, one of `cryolatent.analysis.export.export_kinds`.

    Returns:
        What was written.

    Raises:
        InputError: If nothing is selected, the name is not that of a new file in the folder, or the
            export is refused; nothing is left then.
    """
    if not chosen.any():
        raise InputError(explored.run.path, "no selected particle", "some", "Select some first.")
    if NAME.fullmatch(name) is None:
        raise InputError(
            folder, f"the name {name!r}", "letters, digits, and any of _ . + -", "Choose another."
        )
    kinds = export_kinds(explored.run)
    if kind not in kinds:
        raise InputError(folder, f"the ending {kind!r}", " or ".join(kinds), "Choose one of these.")
    output, names = folder / f"{name}{kind}", folder / f"{name}.txt"
    for path in (output, names):
        if path.exists() or path.is_symlink():
            raise InputError(path, "something there", "a new file", "Choose another name.")
    write_text_atomically(names, "\n".join(explored.latents.ids[chosen].tolist()) + "\n")
    try:
        exported = export(explored.run, output, [f"ids={names}"])
    except BaseException:
        names.unlink()
        raise
    words = ["cryolatent", "export", str(explored.run.path), "--select", f"ids={names}"]
    return Written(exported, shlex.join([*words, "-o", str(output)]))
