"""A run as the page asks of it: columns, selections, volumes."""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float, Int

from cryolatent.analysis.particle_images import ParticleImages, particle_images
from cryolatent.analysis.state_maps import believed_stack
from cryolatent.data import ParticleStack
from cryolatent.errors import InputError
from cryolatent.explore.columns import Column, file_columns, run_columns, view_columns
from cryolatent.explore.in_training import InTraining
from cryolatent.explore.selection import Selection
from cryolatent.explore.surface import usual_share
from cryolatent.io import read_volume
from cryolatent.models import Decoder, GenerativeModel
from cryolatent.models.latents import Latents
from cryolatent.report.colours import Shade
from cryolatent.report.findings import Findings
from cryolatent.report.trust import read_trust
from cryolatent.sessions.systems import restore

KEPT_MASKS = 8


class Explored:
    """A run that is being looked at; nothing is written to it.

    Args:
        findings: The run, finished and analysed.
        shades: Colours of its clusters.
        among: All runs that are looked at, by their numbers; this one is put there by its owner.

    Raises:
        InputError: If what audits left is damaged.
    """

    _lock = threading.RLock()
    """One for all runs, which ask each other."""

    def __init__(
        self,
        findings: Findings,
        shades: dict[int, Shade],
        among: "Sequence[Explored | InTraining]" = (),
    ) -> None:
        self.findings, self.shades, self.among = findings, shades, among
        self.run = findings.run
        self.trust = read_trust(self.run.path / "audit")
        self._columns = run_columns(findings)
        self._masks: OrderedDict[Selection, np.ndarray] = OrderedDict()
        self._file_read = False
        self._shared: dict[int, np.ndarray] = {}

    @cached_property
    def latents(self) -> Latents:
        """What is believed of each particle."""
        return self.run.latents()

    @cached_property
    def means(self) -> Float[np.ndarray, "n zdim"]:
        """Posterior means, or shares of states."""
        return self.latents.distribution.mean.numpy()

    @property
    def is_continuous(self) -> bool:
        """Whether there is a space between particles, and not states alone."""
        return not self.latents.distribution.is_discrete and self.means.shape[1] > 0

    @property
    def rows(self) -> int:
        """Number of particles."""
        return len(self.latents.ids)

    def columns(self, *, of_file: bool = False) -> list[Column]:
        """The columns.

        Args:
            of_file: Whether those of the particle file, which take a while to read, as well.

        Returns:
            All that are known.

        Raises:
            InputError: If the particle file is not what it was.
        """
        if of_file:
            with self._lock:
                if not self._file_read:
                    own = self._columns
                    read = file_columns(self.findings)
                    if self.has_particles:
                        read |= view_columns(self.stack)
                    self._columns = own | {n: c for n, c in read.items() if n not in own}
                    self._file_read = True
        return list(self._columns.values())

    def column(self, name: str) -> Column:
        """A column.

        Args:
            name: Its name.

        Returns:
            The column.

        Raises:
            InputError: If the run has none of that name.
        """
        if name not in self._columns:
            self.columns(of_file=True)
        if name not in self._columns:
            known = ", ".join(self._columns)
            raise InputError(self.run.path, f"no column {name}", known, "Choose one of these.")
        return self._columns[name]

    def mask(self, selection: Selection) -> Bool[np.ndarray, " n"]:
        """The particles of a selection.

        Args:
            selection: What was done.

        Returns:
            For each particle whether it is selected.

        Raises:
            InputError: If the run lacks a column.
        """
        with self._lock:
            if selection not in self._masks:
                columns = lambda name: self.column(name).values  # noqa: E731
                found = selection.mask(columns, self.rows, self._elsewhere)
                self._masks[selection] = found
            self._masks.move_to_end(selection)
            while len(self._masks) > KEPT_MASKS:
                self._masks.popitem(last=False)
            return self._masks[selection]

    def other(self, number: int) -> "Explored":
        """Another run that is looked at.

        Args:
            number: Its number.

        Returns:
            The run.

        Raises:
            InputError: If there is none, or it is in training.
        """
        found = self.among[number] if number < len(self.among) else None
        if not isinstance(found, Explored):
            raise InputError(self.run.path, f"run {number}", "a finished run", "Choose another.")
        return found

    def rows_in(self, number: int) -> Int[np.ndarray, " n"]:
        """Where another run has the same particles.

        Args:
            number: Of the other run.

        Returns:
            For each particle its row there, -1 where there is none.

        Raises:
            InputError: If there is no such run.
        """
        with self._lock:
            if number not in self._shared:
                theirs = pd.Index(self.other(number).latents.ids)
                self._shared[number] = theirs.get_indexer(pd.Index(self.latents.ids))
            return self._shared[number]

    def _elsewhere(self, number: int, selection: Selection) -> Bool[np.ndarray, " n"]:
        rows = self.rows_in(number)
        return self.other(number).mask(selection)[rows] & (rows >= 0)

    @property
    def has_particles(self) -> bool:
        """Whether there are images, where they were recorded."""
        return self.run.manifest.domain == "particles" and self.run.input.exists()

    @cached_property
    def stack(self) -> ParticleStack:
        """The particles where they are believed to be, in the order of the latents."""
        return believed_stack(self.run, self.latents)

    @cached_property
    def model(self) -> GenerativeModel | None:
        """Decoder and likelihood; None of a run that has only latents."""
        return restore(self.run).model if self.run.config.decoder.renders else None

    @property
    def decoder(self) -> Decoder | None:
        """What draws a volume of a latent; None of a run that has only latents."""
        return None if self.model is None else self.model.decoder

    @torch.no_grad()
    def decoded(self, latent: Float[np.ndarray, " zdim"]) -> Float[np.ndarray, "d d d"]:
        """Decode a volume.

        Args:
            latent: Where in latent space.

        Returns:
            Voxels in the order z, y, x.

        Raises:
            InputError: If the run has no decoder.
        """
        with self._lock:
            decoder = self.decoder
            if decoder is None:
                raise InputError(
                    self.run.path,
                    "a run without a decoder",
                    "one with volumes",
                    f"Reconstruct from its particles instead: cryolatent volumes {self.run.path}",
                )
            if latent.shape != (decoder.z_dim,):
                found, expected = f"{len(latent)} latent dimensions", f"{decoder.z_dim}"
                raise InputError(self.run.path, found, expected, "Choose another place.")
            volume = decoder.volume(torch.from_numpy(latent[None].astype(np.float32)))
            return volume[0].numpy()

    def images(self, rows: Int[np.ndarray, " n"], low_pass_angstrom: float) -> ParticleImages:
        """Images of some particles.

        Args:
            rows: Which.
            low_pass_angstrom: Finest detail of those that are filtered, in Å.

        Returns:
            One row per particle.

        Raises:
            InputError: If the particles are not there.
        """
        with self._lock:
            stack, model, index = self.stack, self.model, torch.from_numpy(rows)
            return particle_images(stack, self.latents, model, index, low_pass_angstrom)

    def cluster_volume(self, number: int, *, measured: bool = False) -> Float[np.ndarray, "d d d"]:
        """The volume that the analysis wrote of a cluster.

        Args:
            number: Of the cluster.
            measured: Whether the map of its own particles is meant, and not the model's volume.

        Returns:
            Voxels in the order z, y, x.

        Raises:
            InputError: If there is none, or it lies outside the run.
        """
        files = [
            c.volume if not measured else c.measured and c.measured.file
            for c in self.findings.summary.clusters
            if c.number == number
        ]
        if not files or not files[0]:
            what = "map of the particles" if measured else "volume"
            raise InputError(
                self.run.path, f"no {what} of cluster {number}", "one", "Choose another."
            )
        return read_volume(self.file(files[0]))[0]

    def file(self, name: str) -> Path:
        """A file of the run.

        Args:
            name: Relative to the run directory.

        Returns:
            Where it is.

        Raises:
            InputError: If it is not a file inside the run directory, links followed.
        """
        root = self.run.path.resolve()
        path = (root / name).resolve()
        if not path.is_relative_to(root) or not path.is_file():
            raise InputError(
                self.run.path, f"no file {name} inside", "a file of the run", "Choose another."
            )
        return path

    def marks_path(self, exports: Path) -> Path:
        """Where what a user says of the clusters is kept, under a name of these very clusters.

        Args:
            exports: Folder of the exports.

        Returns:
            A file of the folder.
        """
        clusters = [(c.number, c.size, c.medoid) for c in self.findings.summary.clusters]
        digest = hashlib.sha256(repr(clusters).encode()).hexdigest()[:8]
        return exports / f"{self.run.name}-{digest}.states.json"

    @cached_property
    def share(self) -> float:
        """The share of the box that surfaces of this run enclose if nothing else is asked."""
        clusters = [c.number for c in self.findings.summary.clusters if c.volume is not None]
        if clusters:
            return usual_share(self.cluster_volume(clusters[0]))
        return usual_share(self.decoded(self.means.mean(axis=0)))
