"""Where a training leaves what it finds: a run directory is one such place, memory another."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from cryolatent.models.latents import Latents
from cryolatent.train.choice import Choice

FINAL, STATES = "final", "states"
"""Readings of a training's particles: the one that was asked for, and states of a subspace."""

SEARCHING = -1
"""Number of latent dimensions of a checkpoint that holds a search and no system yet."""


@dataclass(frozen=True)
class Checkpoint:
    """The state of a training between two steps.

    Args:
        tensors: Parameters, buffers and optimiser states by name.
        position: Where the training stands: epoch, step and running sums, as JSON values.
        z_dim: Number of latent dimensions of the system in `tensors`, if a search chose it.
    """

    tensors: dict[str, Tensor]
    position: dict[str, Any]
    z_dim: int | None = None


class Recorder(ABC):
    """Keeps checkpoints, log, choices and latents of one training."""

    @property
    def folder(self) -> Path | None:
        """Where large files may lie while the training runs, if there is such a place."""
        return None

    @abstractmethod
    def checkpoint(self) -> Checkpoint | None:
        """The newest checkpoint.

        Returns:
            None if the training has not begun.
        """

    @abstractmethod
    def save_checkpoint(self, step: int, checkpoint: Checkpoint) -> None:
        """Keep a checkpoint.

        Args:
            step: Steps made since the start.
            checkpoint: The state.
        """

    @abstractmethod
    def log(self, entry: dict[str, Any]) -> None:
        """Append an entry to the log.

        Args:
            entry: JSON values; an entry of a finished epoch has a key ``epoch``.
        """

    @abstractmethod
    def rewind_log(self, epoch: int) -> None:
        """Forget the log's entries of an epoch and all after it.

        Args:
            epoch: First epoch to forget.
        """

    @abstractmethod
    def forget_results(self) -> None:
        """Remove what an earlier end of the training left, which further training makes untrue."""

    @abstractmethod
    def write_choices(self, choices: list[Choice]) -> None:
        """Keep what was chosen by held-out evidence.

        Args:
            choices: The choices.
        """

    @abstractmethod
    def write_latents(self, latents: Latents, reading: str = FINAL) -> None:
        """Keep what is believed of each particle in the end.

        Args:
            latents: One row per particle.
            reading: Which, of a training that reads its particles in several ways; the one that was
                asked for comes last.
        """


@dataclass
class Memory(Recorder):
    """Keeps everything in memory, of checkpoints the newest."""

    entries: list[dict[str, Any]] = field(default_factory=list)
    choices: list[Choice] = field(default_factory=list)
    readings: dict[str, Latents] = field(default_factory=dict)
    newest: Checkpoint | None = None

    def checkpoint(self) -> Checkpoint | None:
        """The newest checkpoint."""
        return self.newest

    def save_checkpoint(self, step: int, checkpoint: Checkpoint) -> None:
        """Keep a copy of a checkpoint in place of the one before."""
        tensors = {name: tensor.clone() for name, tensor in checkpoint.tensors.items()}
        self.newest = Checkpoint(tensors, checkpoint.position, checkpoint.z_dim)

    def log(self, entry: dict[str, Any]) -> None:
        """Append an entry to the log."""
        self.entries.append(entry)

    def rewind_log(self, epoch: int) -> None:
        """Forget the log's entries of an epoch and all after it."""
        self.entries = [entry for entry in self.entries if entry["epoch"] < epoch]

    def forget_results(self) -> None:
        """Forget the latents."""
        self.readings = {}

    def write_choices(self, choices: list[Choice]) -> None:
        """Keep what was chosen by held-out evidence."""
        self.choices = choices

    def write_latents(self, latents: Latents, reading: str = FINAL) -> None:
        """Keep what is believed of each particle in the end."""
        self.readings[reading] = latents

    @property
    def latents(self) -> Latents | None:
        """What is believed of each particle; None before the end."""
        return self.readings.get(FINAL)
