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
from cryolatent.explore.marks import StateMarks
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


def new_file(folder: Path, name: str, ending: str) -> Path:
    """Where a new file of the folder of exports goes.

    Args:
        folder: The folder of exports.
        name: Of the file, without folders.
        ending: Its ending, with a dot; empty for a folder.

    Returns:
        The path.

    Raises:
        InputError: If the name is none of a file in that folder, or something is there.
    """
    if NAME.fullmatch(name) is None:
        raise InputError(
            folder, f"the name {name!r}", "letters, digits, and any of _ . + -", "Choose another."
        )
    path = folder / f"{name}{ending}"
    if path.exists() or path.is_symlink():
        raise InputError(path, "something there", "a new file", "Choose another name.")
    folder.mkdir(parents=True, exist_ok=True)
    return path


def _output(explored: Explored, folder: Path, name: str, kind: str) -> Path:
    kinds = export_kinds(explored.run)
    if kind not in kinds:
        raise InputError(folder, f"the ending {kind!r}", " or ".join(kinds), "Choose one of these.")
    return new_file(folder, name, kind)


def write_states(
    explored: Explored, marks: StateMarks, folder: Path, name: str, kind: str
) -> list[Written]:
    """Write the particles of each state, those that were merged into one file, junk apart.

    Args:
        explored: The run.
        marks: What has been said of its states.
        folder: Where to write, and nowhere else.
        name: What the files' names begin with.
        kind: Ending, one of `cryolatent.analysis.export.export_kinds`.

    Returns:
        What was written.

    Raises:
        InputError: If a name is taken or the export is refused; nothing is left then.
    """
    numbers = [cluster.number for cluster in explored.findings.summary.clusters if cluster.size]
    parts = marks.parts(numbers, explored.findings.summary.word)
    outputs = [_output(explored, folder, f"{name}_{part}", kind) for part in parts]
    written: list[Written] = []
    try:
        for output, members in zip(outputs, parts.values(), strict=True):
            condition = f"cluster={','.join(map(str, members))}"
            written.append(_exported(explored, output, condition))
    except BaseException:
        for done in written:
            done.exported.path.unlink()
        raise
    return written


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
    output, names = _output(explored, folder, name, kind), new_file(folder, name, ".txt")
    write_text_atomically(names, "\n".join(explored.latents.ids[chosen].tolist()) + "\n")
    try:
        return _exported(explored, output, f"ids={names}")
    except BaseException:
        names.unlink()
        raise


def _exported(explored: Explored, output: Path, condition: str) -> Written:
    exported = export(explored.run, output, [condition])
    words = ["cryolatent", "export", str(explored.run.path), "--select", condition]
    return Written(exported, shlex.join([*words, "-o", str(output)]))
