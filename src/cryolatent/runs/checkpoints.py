"""A run's checkpoints: a safetensors file each, and an index that holds their checksums."""

import json
import warnings
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file

from cryolatent.data.packed import file_digest
from cryolatent.errors import InputError, InputWarning
from cryolatent.io.files import save_tensors, write_atomically, write_text_atomically
from cryolatent.runs.latents import damaged
from cryolatent.train.recorder import Checkpoint

KEEP, INDEX = 2, "index.json"


def write_checkpoint(folder: Path, step: int, checkpoint: Checkpoint) -> None:
    """Write a checkpoint; the two newest are kept.

    Args:
        folder: The run's ``checkpoints``.
        step: Steps made since the start.
        checkpoint: The state.
    """
    tensors = {name: tensor.contiguous() for name, tensor in checkpoint.tensors.items()}
    name = f"step-{step:09d}.safetensors"
    write_atomically(folder / name, lambda partial: save_tensors(tensors, partial))
    entries = [entry for entry in read_index(folder) if entry["step"] != step]
    entry = {"step": step, "file": name, "sha256": file_digest(folder / name)}
    entries.append(entry | {"position": checkpoint.position, "z_dim": checkpoint.z_dim})
    _write_index(folder, entries[-KEEP:])
    for entry in entries[:-KEEP]:
        (folder / entry["file"]).unlink(missing_ok=True)


def read_checkpoint(folder: Path, step: int | None = None) -> Checkpoint:
    """Read a checkpoint.

    Args:
        folder: The run's ``checkpoints``.
        step: Steps made; the newest if left out.

    Returns:
        The state.

    Raises:
        InputError: If that checkpoint is not there, or is not what was written.
    """
    entries = {entry["step"]: entry for entry in read_index(folder)}
    step = max(entries, default=0) if step is None else step
    if step not in entries:
        raise InputError(
            folder,
            f"checkpoints of steps {sorted(entries)}",
            f"the checkpoint of step {step}",
            "Begin a new run.",
        )
    entry = entries[step]
    _check(folder, entry)
    try:
        tensors = load_file(folder / entry["file"])
    except (OSError, SafetensorError) as error:
        raise damaged(folder / entry["file"], error) from None
    return Checkpoint(tensors, entry["position"], entry.get("z_dim"))


def read_index(folder: Path) -> list[dict[str, Any]]:
    """What checkpoints there are.

    Args:
        folder: The run's ``checkpoints``.

    Returns:
        An entry of each, the newest last.

    Raises:
        InputError: If the index is damaged.
    """
    path = folder / INDEX
    try:
        return json.loads(path.read_text())["checkpoints"] if path.exists() else []
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise damaged(path, error) from None


def mend(folder: Path) -> None:
    """Remove what a killed process left half written, and a damaged newest checkpoint.

    That of a checkpoint is warned, and only done where there is one before it to continue from.

    Args:
        folder: The run's ``checkpoints``.
    """
    entries = read_index(folder)
    while len(entries) > 1:
        try:
            _check(folder, entries[-1])
            break
        except InputError as error:
            entries.pop()
            _write_index(folder, entries)
            warnings.warn(
                f"{error.file}: found {error.found}; continuing from the checkpoint of step "
                f"{entries[-1]['step']}, to the same end",
                InputWarning,
                stacklevel=2,
            )
    own = {INDEX, *(entry["file"] for entry in entries)}
    for file in folder.glob("*"):
        if file.name not in own:
            file.unlink()


def _check(folder: Path, entry: dict[str, Any]) -> None:
    """Make sure that a file is what was written; runs of before have no checksums."""
    path, wanted = folder / entry["file"], entry.get("sha256")
    found = file_digest(path)
    if not found:
        raise damaged(path, FileNotFoundError("no such file"))
    if wanted not in (None, found):
        raise damaged(path, ValueError(f"SHA-256 {found[:12]}..., written was {wanted[:12]}..."))


def _write_index(folder: Path, entries: list[dict[str, Any]]) -> None:
    write_text_atomically(folder / INDEX, json.dumps({"checkpoints": entries}, indent=2))
