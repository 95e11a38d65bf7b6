"""What a notebook needs: particles in, runs out, each as a table, volumes, audits and a page."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float

from cryolatent.analysis import Exported, Summary
from cryolatent.analysis import analyze as analyze_run
from cryolatent.analysis import export as export_run
from cryolatent.analysis.particle_images import DETAIL_PIXELS, ParticleImages, particle_images
from cryolatent.analysis.selection import choose
from cryolatent.analysis.state_maps import believed_stack
from cryolatent.analysis.table import believed, recorded
from cryolatent.audits import RotationTest, ShiftTest
from cryolatent.config.training import TrainConfig
from cryolatent.data import ParticleStack, open_particles
from cryolatent.errors import InputError
from cryolatent.report import render
from cryolatent.runs.finding import Finding
from cryolatent.runs.run import Run
from cryolatent.sessions.subject import RunSubject
from cryolatent.sessions.systems import restore
from cryolatent.sessions.training import begin
from cryolatent.sessions.training import train as train_run
from cryolatent.train import Watch

AUDITS = {
    test.name: test
    for test in (
        kind(consistent=consistent)
        for kind in (ShiftTest, RotationTest)
        for consistent in (False, True)
    )
}


def fit(
    particles: ParticleStack | str | Path,
    output: str | Path,
    *,
    watch: Watch | None = None,
    **options: Any,
) -> "OpenRun":
    """Train a run, from particles to its latents.

    Args:
        particles: A particle file that `cryolatent.open_particles` reads, or what it returned.
        output: New folder.
        watch: Told of the progress.
        options: Options by name, as flags have them: ``posterior="table", z_dim=4``.

    Returns:
        The finished run.

    Raises:
        InputError: If an option or the data are wrong; nothing has been written then.
    """
    config = TrainConfig.of(options)
    if isinstance(particles, str | Path):
        particles = open_particles(particles, **config.data.reading())
    run = begin(Path(output), config, particles, watch)
    train_run(run, particles, watch)
    return open_run(output)


def open_run(path: str | Path, relocate: Sequence[str] = ()) -> "OpenRun":
    """Open a run directory.

    Args:
        path: What `fit` or the command line wrote.
        relocate: Folders that were moved since, ``OLD=NEW`` each.

    Returns:
        The run.

    Raises:
        InputError: If it is not one.
    """
    return OpenRun(Run.open(path, relocate))


@dataclass(frozen=True)
class OpenRun:
    """A run, and what can be asked of it.

    Args:
        run: The run directory.
    """

    run: Run

    def __repr__(self) -> str:
        manifest = self.run.manifest
        return (
            f"<run {self.run.path}: posterior {self.run.config.posterior.kind}, "
            f"{manifest.particles} particles, {manifest.status}>"
        )

    def table(self, *conditions: str) -> pd.DataFrame:
        """What is believed of each particle, beside what the particle file says of it.

        Args:
            conditions: As for ``cryolatent export --select``: ``"z0>0.5"``, ``"cluster=0,2"``.

        Returns:
            One row per particle, indexed by its name: means of the latents, or shares and
            ``state``; ``certainty`` and ``reliability`` from 0 to 1; ``elbo``, ``log_joint`` and
            ``evidence`` where there are; ``cluster`` if the run is analysed; the columns of the
            STAR file, of the first of several images.
        """
        run = self.run
        found = believed(run)
        columns = recorded(run)
        if columns is not None:
            found = found.join(columns)
        return found.iloc[np.flatnonzero(choose(run, run.latents(), conditions))]

    @torch.no_grad()
    def volume(self, z: Sequence[float] | Float[np.ndarray, " zdim"]) -> Float[np.ndarray, "z y x"]:
        """Decode a volume.

        Args:
            z: A latent; of states, their shares.

        Returns:
            Voxels, in the scale of the images.

        Raises:
            InputError: If it is of another number of dimensions.
        """
        decoder = restore(self.run).model.decoder
        latent = torch.as_tensor(np.asarray(z, dtype=np.float32))
        if latent.shape != (decoder.z_dim,):
            raise InputError(
                self.run.path,
                f"a latent of shape {tuple(latent.shape)}",
                f"{decoder.z_dim} numbers",
                "Give as many as the run has dimensions.",
            )
        return decoder.volume(latent[None])[0].numpy()

    def images(
        self, rows: Sequence[int], *, low_pass_angstrom: float | None = None
    ) -> ParticleImages:
        """Images of some particles, beside what the run expects of them and what that leaves over.

        Args:
            rows: Which, counted from zero in the order of `table`.
            low_pass_angstrom: Finest detail of filtered images, in Å; eight pixels if left out.

        Returns:
            Raw, low-passed, expected and whitened residual images, and χ² in each shell.

        Raises:
            InputError: If there is no such particle, or the run was imported without images.
        """
        latents, index = self.run.latents(), torch.as_tensor(rows, dtype=torch.long)
        stack = believed_stack(self.run, latents)
        if len(index) and not 0 <= int(index.min()) <= int(index.max()) < len(stack):
            expected = f"0 to {len(stack) - 1}"
            raise InputError(self.run.path, f"rows {list(rows)}", expected, "Choose others.")
        model = restore(self.run).model if self.run.config.decoder.renders else None
        detail = low_pass_angstrom or DETAIL_PIXELS * stack.pixel_size_angstrom
        return particle_images(stack, latents, model, index, detail)

    def analyze(self, *, clusters: int | None = None, truth: str | Path | None = None) -> Summary:
        """Maps, clusters, volumes, and agreement with a truth; written into the run.

        Args:
            clusters: Number of clusters; if left out the states that the run has found, or six.
            truth: Truth folder of a simulation.

        Returns:
            The findings.
        """
        folder = None if truth is None else Path(truth)
        return analyze_run(self.run, clusters=clusters, truth=folder)

    def export(self, output: str | Path, *conditions: str) -> Exported:
        """Write chosen particles as the file they came from.

        Args:
            output: New ``.star``, ``.cs`` or ``.npy``.
            conditions: As in `table`; all particles if there are none.

        Returns:
            What was written.
        """
        return export_run(self.run, Path(output), conditions)

    def audit(self, name: str) -> Finding:
        """Ask a question of the run.

        Args:
            name: One of `AUDITS`, such as ``shift-raw``.

        Returns:
            The answer.

        Raises:
            InputError: If there is no such audit.
        """
        if name not in AUDITS:
            raise InputError("audit", name, ", ".join(AUDITS), "Choose one of these.")
        return AUDITS[name].ask(RunSubject(self.run))

    def report(self, output: str | Path | None = None) -> Path:
        """Write the page of an analysed run.

        Args:
            output: The page; ``report.html`` in the run if left out.

        Returns:
            Where it is.
        """
        return render([self.run], Path(output or self.run.path / "report.html"))
