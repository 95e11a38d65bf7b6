"""A typed handle on a run directory."""

import fcntl
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from cryolatent.config.training import TrainConfig
from cryolatent.data import (
    MissingStackError,
    Moves,
    NoiseLevels,
    ParticleStack,
    Source,
    open_particles,
)
from cryolatent.data.packed import file_digest
from cryolatent.errors import InputError
from cryolatent.io.files import new_folder, remove_partial, write_text_atomically
from cryolatent.models.latents import Latents, Rows
from cryolatent.runs.checkpoints import mend, read_checkpoint, read_index, write_checkpoint
from cryolatent.runs.latents import (
    damaged,
    read_latents,
    read_rows,
    write_latents,
    write_rows,
)
from cryolatent.runs.manifest import Manifest, input_digest
from cryolatent.runs.trainer import trainer_of, trainer_text
from cryolatent.train.choice import Choice
from cryolatent.train.recorder import FINAL, SEARCHING, STATES, Checkpoint, Recorder

NOISE, LOCK = "noise.json", ".lock"


@dataclass(frozen=True)
class Run(Recorder):
    """A run directory: the recorder of its training.

    Args:
        path: The directory.
        config: Its ``config.toml``: what was asked.
        manifest: Its ``manifest.json`` when the handle was made.
    """

    path: Path
    config: TrainConfig
    manifest: Manifest

    @property
    def folder(self) -> Path:
        """The directory."""
        return self.path

    @staticmethod
    def check_free(path: Path) -> None:
        """Make sure that a new run can be written to a folder.

        Args:
            path: The folder.

        Raises:
            InputError: If the path is a file or a folder that is not empty.
        """
        if path.is_dir() and not any(path.iterdir()):
            return
        if (path / "manifest.json").exists():
            found, way_out = "another run", "Choose another -o, or continue it with `resume`."
        elif path.exists():
            found, way_out = "other files", "Choose another -o."
        else:
            return
        raise InputError(path, found, "a new or empty folder", way_out)

    @staticmethod
    def create(
        path: Path,
        config: TrainConfig,
        manifest: Manifest,
        start: Checkpoint,
        table: Rows | None = None,
        levels: NoiseLevels | None = None,
    ) -> "Run":
        """Begin a run in a new or empty folder.

        Args:
            path: The folder.
            config: All options.
            manifest: What the run is.
            start: The state before the first step.
            table: The table's rows before the first step, if there is a table.
            levels: How noisy groups of images are, if they differ.

        Returns:
            The handle.

        Raises:
            InputError: If the folder is not free.
        """
        Run.check_free(path)
        manifest = manifest.model_copy(update={"home": path.resolve()})
        with new_folder(path) as partial:
            write_text_atomically(partial / "config.toml", config.to_toml())
            run = Run(partial, config, manifest)
            run.save_checkpoint(0, start)
            if table is not None:
                write_rows(partial / "latents" / "start.parquet", table)
            if levels is not None:
                write_text_atomically(partial / NOISE, levels.model_dump_json(indent=2))
            run.set_status(manifest.status)
        return Run(path, config, manifest)

    @staticmethod
    def open(path: str | Path, relocate: Sequence[str] = ()) -> "Run":
        """Open a run directory.

        Args:
            path: The directory.
            relocate: Where its particles are now, if they were moved without it: ``OLD=NEW`` for
                folders as they were when it began.

        Returns:
            The handle.

        Raises:
            InputError: If it is not a run directory of this version.
        """
        path = Path(path)
        try:
            manifest = Manifest.model_validate_json((path / "manifest.json").read_text())
        except (OSError, ValidationError) as error:
            reason = (
                "no manifest.json" if isinstance(error, OSError) else "an unknown manifest.json"
            )
            raise InputError(
                path, reason, "a run directory", "Give the -o of cryolatent train."
            ) from None
        return Run(path, TrainConfig.from_toml(path / "config.toml"), manifest).relocated(relocate)

    def relocated(self, relocate: Sequence[str]) -> "Run":
        """The same run with its particles elsewhere.

        Args:
            relocate: ``OLD=NEW`` each.

        Returns:
            A handle that looks for files in NEW as well; nothing is written.
        """
        data = self.config.data
        data = data.model_copy(update={"relocate": (*relocate, *data.relocate)})
        return replace(self, config=self.config.model_copy(update={"data": data}))

    @property
    def options(self) -> TrainConfig:
        """What was asked, with the defaults that depend on other options filled in.

        Masks are where they are now.
        """
        return self.config.resolved().placed(self.moves.find, "method")

    @property
    def moves(self) -> Moves:
        """Where files are now that the run has recorded."""
        return self.config.data.moves().with_owner(self.manifest.home, self.path)

    @property
    def input(self) -> Path:
        """The particle file, where it is now."""
        return self.moves.find(self.manifest.input)

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints."""
        return self.path / "checkpoints"

    @property
    def analysis(self) -> Path:
        """Folder of what an analysis wrote: summary, embedding and volumes."""
        return self.path / "analysis"

    @property
    def is_analysed(self) -> bool:
        """Whether an analysis is complete; its summary is written last."""
        return (self.analysis / "summary.json").exists()

    @property
    def name(self) -> str:
        """The directory's name."""
        return self.path.resolve().name

    def set_status(self, status: str) -> None:
        """Write the manifest with another status.

        Args:
            status: ``running``, ``interrupted``, ``failed`` or ``finished``.
        """
        manifest = Manifest.model_validate(self.manifest.model_dump() | {"status": status})
        write_text_atomically(self.path / "manifest.json", manifest.model_dump_json(indent=2))

    def set_config(self, config: TrainConfig) -> "Run":
        """Replace the configuration, to train longer.

        Args:
            config: All options.

        Returns:
            A handle with the new configuration.
        """
        write_text_atomically(self.path / "config.toml", config.to_toml())
        return Run(self.path, config, self.manifest)

    def open_stack(self) -> ParticleStack:
        """Open the particles that the run was trained on, and make sure that they are the same.

        Returns:
            The stack, with the run's own options.

        Raises:
            InputError: If the input is not there, cannot be read, is no particle file or has
                changed.
        """
        if self.manifest.domain == "latents":
            raise InputError(
                self.path,
                "a run that was imported without its particles",
                "a run on particles",
                "Import it again with `particles`.",
            )
        if self.manifest.domain != "particles":
            raise InputError(
                self.path,
                f"a run on {self.manifest.domain}",
                "a run on particles",
                "Its page is that of cryolatent mnist.",
            )
        path, moves = self.input, self.moves
        way_out = 'Put it back, or say where its folder is now: `relocate="OLD=NEW"`.'
        if not path.exists():
            raise InputError(path, "nothing", "the particles of the run", way_out)
        data = self.config.placed(moves.find, "data").data
        try:
            stack = open_particles(path, **{**data.reading(), "relocate": moves})
        except MissingStackError as error:
            row = error.row
            raise MissingStackError(path, error.found, error.expected, way_out, row=row) from None
        self.check_input(stack)
        return stack.in_unit(self.manifest.image_scale).levelled(self.noise_levels())

    def noise_levels(self) -> NoiseLevels | None:
        """How noisy groups of images are.

        Returns:
            The content of ``noise.json``; None if all images are alike.
        """
        path = self.path / NOISE
        return NoiseLevels.model_validate_json(path.read_bytes()) if path.exists() else None

    def check_input(self, source: Source) -> None:
        """Make sure that examples are those that the run was begun with.

        Args:
            source: The examples.

        Raises:
            InputError: If they are others.
        """
        if input_digest(source) != self.manifest.input_sha256:
            raise self._changed(source.source, self.manifest.input_sha256)

    def check_tables(self) -> None:
        """Make sure that no particle file has changed; images are not looked at.

        Raises:
            InputError: If one has; files that are not there are not missed.
        """
        for path, digest in self.manifest.tables.items():
            now = self.moves.find(path)
            if now.is_file() and file_digest(now) != digest:
                raise self._changed(now, digest)

    def _changed(self, path: Path, digest: str) -> InputError:
        return InputError(
            path,
            f"another content than when the run {self.path} began",
            f"SHA-256 {digest[:12]}...",
            'Put the file back, say where it is now (`relocate="OLD=NEW"`), or begin a new run.',
        )

    def log(self, entry: dict[str, Any]) -> None:
        """Append an entry to ``log.jsonl``.

        Args:
            entry: JSON values; an entry of a finished epoch has a key ``epoch``.
        """
        with (self.path / "log.jsonl").open("a") as stream:
            stream.write(json.dumps(entry) + "\n")

    def entries(self) -> list[dict[str, Any]]:
        """The entries of ``log.jsonl``.

        Returns:
            One dictionary per finished epoch, oldest first.
        """
        path = self.path / "log.jsonl"
        text = path.read_text() if path.exists() else ""
        # a last line without its end was cut short, or is being written
        return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]

    def rewind_log(self, epoch: int) -> None:
        """Forget the entries of an epoch and all after it.

        Args:
            epoch: First epoch to forget.
        """
        kept = [json.dumps(entry) + "\n" for entry in self.entries() if entry["epoch"] < epoch]
        write_text_atomically(self.path / "log.jsonl", "".join(kept))

    def forget_results(self) -> None:
        """Remove what an earlier end of the training left, which further training makes untrue."""
        latents = (f"latents/{reading}.parquet" for reading in (FINAL, STATES))
        for result in (*latents, "analysis/summary.json", "report.html"):
            (self.path / result).unlink(missing_ok=True)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from training the run, and mend what a killed one left behind.

        A damaged newest checkpoint is warned of and removed if there is one before it.

        Yields:
            Nothing.

        Raises:
            InputError: If another process trains it now.
        """
        with (self.path / LOCK).open("a+") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                who = self.trainer or "another process training it"
                raise InputError(self.path, who, "one at a time", "Wait or stop it.") from None
            stream.truncate(0)
            stream.write(trainer_text())
            stream.flush()
            for folder in (self.path, self.path / "latents"):
                remove_partial(folder)
            mend(self.checkpoints)
            yield

    @property
    def trainer(self) -> str | None:
        """Who trains the run now, in words; None if nobody does."""
        return trainer_of(self.path / LOCK)

    def save_checkpoint(self, step: int, checkpoint: Checkpoint) -> None:
        """Write a checkpoint; the two newest are kept.

        Args:
            step: Steps made since the start.
            checkpoint: The state.
        """
        write_checkpoint(self.checkpoints, step, checkpoint)

    def checkpoint(self, step: int | None = None) -> Checkpoint:
        """Read a checkpoint.

        Args:
            step: Steps made; the newest if left out.

        Returns:
            The state.

        Raises:
            InputError: If that checkpoint is not there, or is not what was written.
        """
        return read_checkpoint(self.checkpoints, step)

    @property
    def z_dim(self) -> int:
        """Number of latent dimensions: the one chosen by a search, or else the one asked for."""
        found = [entry.get("z_dim") for entry in read_index(self.checkpoints)]
        chosen = found[-1] if found else None
        return self.config.posterior.z_dim if chosen in (None, SEARCHING) else chosen

    def write_choices(self, choices: list[Choice]) -> None:
        """Write ``choices.json``.

        Args:
            choices: What was chosen by held-out evidence.
        """
        text = json.dumps([choice.model_dump() for choice in choices], indent=2)
        write_text_atomically(self.path / "choices.json", text)

    def choices(self) -> list[Choice]:
        """What was chosen by held-out evidence.

        Returns:
            The content of ``choices.json``; empty if there is none.
        """
        path = self.path / "choices.json"
        content = json.loads(path.read_text()) if path.exists() else []
        return [Choice.model_validate(entry) for entry in content]

    def write_latents(self, latents: Latents, reading: str = FINAL) -> None:
        """Write ``latents/final.parquet``, or the file of another reading.

        Args:
            latents: One row per particle.
            reading: Which.
        """
        write_latents(self.path / "latents" / f"{reading}.parquet", latents)

    def table_start(self) -> Rows | None:
        """Read the rows that a table started from.

        Returns:
            One row per particle; None if the run has no table.
        """
        path = self.path / "latents" / "start.parquet"
        return read_rows(path) if path.exists() else None

    def latents(self) -> Latents:
        """Read the latents of a finished run.

        Returns:
            One row per particle.

        Raises:
            InputError: If the run is not finished.
        """
        self.check_finished()
        return read_latents(self.path / "latents" / "final.parquet")

    def states(self) -> Latents | None:
        """The states that a finished run read beside its latents.

        Returns:
            Responsibilities of each particle; None if the run has found none, or gives nothing
            else than states.
        """
        path = self.path / "latents" / f"{STATES}.parquet"
        return read_latents(path) if self.is_finished and path.exists() else None

    @property
    def is_finished(self) -> bool:
        """Whether the training has come to its end."""
        return (self.path / "latents" / "final.parquet").exists()

    def check_finished(self) -> None:
        """Make sure that the training has come to its end.

        Raises:
            InputError: If it has not.
        """
        if not self.is_finished and self.manifest.status == "finished":
            missing = self.path / "latents" / f"{FINAL}.parquet"
            raise damaged(missing, FileNotFoundError("no such file"))
        if self.is_finished:
            return
        status, trainer = self.manifest.status, self.trainer
        found, way_out = f"a run that is {status}", "Begin a new one: it would fail again."
        if trainer is not None:
            found = f"a run in training ({trainer})"
            way_out = "Wait until it has finished, or stop that process and continue the run later."
        elif status != "failed":
            found = "a run that was interrupted" if status == "running" else found
            way_out = f"Continue it: cryolatent train --resume -o {self.path}"
        raise InputError(self.path, found, "a finished run", way_out)
