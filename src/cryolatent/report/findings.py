"""What the files of an analysed run say, read once for the whole page."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow.parquet as pq
from jaxtyping import Float, Int

from cryolatent.analysis.summary import Summary, read_summary
from cryolatent.errors import InputError
from cryolatent.runs.run import Run

LABELLED = 10

Shape = Literal["nothing", "states", "line", "plane"]
"""Latents without dimensions or of one state, shares of states, one dimension, or more."""


@dataclass(frozen=True)
class Findings:
    """An analysed run.

    Args:
        run: The run directory.
        label: Its name on the page, unlike that of any other run.
        number: Its position on the page.
        summary: Its findings.
        embedding: Columns of ``analysis/embedding.parquet``, one row per particle.
        epochs: Log entries of the finished epochs, oldest first.
    """

    run: Run
    label: str
    number: int
    summary: Summary
    embedding: dict[str, np.ndarray]
    epochs: list[dict[str, Any]]

    @property
    def clusters(self) -> Int[np.ndarray, " n"]:
        """Cluster of each particle."""
        return self.embedding["cluster"]

    @property
    def states(self) -> Int[np.ndarray, " n"] | None:
        """True state of each particle, -1 for junk, where the truth is known."""
        return self.embedding.get("state") if self.summary.truth is not None else None

    @property
    def angles(self) -> Float[np.ndarray, " n"] | None:
        """True angle of each particle's moving part in degrees, NaN where it has none."""
        truth = self.summary.truth
        return None if truth is None or truth.motion is None else self.embedding["angle_degrees"]

    @property
    def sweeps(self) -> str:
        """How often the training went over all particles: passes of expectation maximisation."""
        count = len(self.epochs)
        name = "pass" if count and "curve" in self.epochs[0] else "epoch"
        return f"{count} {name}{('es' if name == 'pass' else 's') * (count != 1)}"

    @cached_property
    def rows(self) -> dict[str, int]:
        """Row of each particle by its name."""
        return {name: row for row, name in enumerate(self.embedding["id"].tolist())}

    @cached_property
    def shape(self) -> Shape:
        """What there is to draw of the latents."""
        if self.run.latents().distribution.is_discrete:
            return "states" if len(self.summary.clusters) > 1 else "nothing"
        if not self.summary.z_dim:
            return "nothing"
        return "line" if self.summary.z_dim == 1 else "plane"

    @property
    def maps(self) -> list[str]:
        """Which maps there are: ``pca``, and ``umap`` of more than two dimensions."""
        return [kind for kind in ("pca", "umap") if f"{kind}_0" in self.embedding]

    def coordinates(self, kind: str) -> Float[np.ndarray, "n axes"]:
        """Coordinates of the particles on a map.

        Args:
            kind: ``pca`` or ``umap``.

        Returns:
            One or two columns; a latent of one dimension has one principal component.
        """
        names = [f"{kind}_{axis}" for axis in range(2) if f"{kind}_{axis}" in self.embedding]
        return np.stack([self.embedding[name] for name in names], axis=1).astype(np.float64)


def gather(runs: Sequence[Run]) -> list[Findings]:
    """Read everything that the page shows of each run.

    Args:
        runs: Finished and analysed runs.

    Returns:
        One record per run, in the same order.

    Raises:
        InputError: If no run is given, or one is not finished or not analysed.
    """
    if not runs:
        raise InputError("report", "no run", "one or more runs", "Name at least one run.")
    return [
        Findings(run, label, number, read_summary(run), read_embedding(run), run.entries())
        for number, (run, label) in enumerate(zip(runs, unique_labels(runs), strict=True))
    ]


def read_embedding(run: Run) -> dict[str, np.ndarray]:
    """Read ``analysis/embedding.parquet``.

    Args:
        run: An analysed run.

    Returns:
        Columns by name.

    Raises:
        InputError: If the file is missing.
    """
    path: Path = run.analysis / "embedding.parquet"
    if not path.exists():
        raise InputError(
            path, "no such file", "an analysed run", f"Run: cryolatent analyze {run.path}"
        )
    table = pq.read_table(path)
    columns = {name: table[name].to_numpy() for name in table.column_names}
    return columns | {"id": columns["id"].astype(np.str_)}


def unique_labels(runs: Sequence[Run]) -> list[str]:
    """Name runs so that no two have the same name.

    Args:
        runs: Runs in any folders.

    Returns:
        The directories' names; those that occur more than once are numbered.
    """
    total = Counter(run.name for run in runs)
    seen: Counter[str] = Counter()
    labels = []
    for run in runs:
        seen[run.name] += 1
        repeated = total[run.name] > 1
        labels.append(f"{run.name} ({seen[run.name]})" if repeated else run.name)
    return labels


def labelled_particles(findings: Sequence[Findings]) -> list[str]:
    """The particles that carry a number on every map.

    Args:
        findings: All runs of the page.

    Returns:
        Names of the first run's first ten particles.
    """
    return findings[0].embedding["id"][:LABELLED].tolist()
