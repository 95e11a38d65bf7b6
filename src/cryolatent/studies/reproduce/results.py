"""What all trainings gave, read from their runs."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from jaxtyping import Float

from cryolatent.analysis.agreement import knn_overlap, linear_cka, procrustes
from cryolatent.runs.finding import Estimate
from cryolatent.runs.run import Run
from cryolatent.studies.reproduce.measures import Measures
from cryolatent.studies.reproduce.work import Particles

NEIGHBOURS, COMPARED = 20, 2000


@dataclass(frozen=True)
class Results:
    """What all trainings gave.

    Args:
        folder: Where the runs lie, as ``decoder/experiment/seed``.
        measures: Numbers of each run by that name.
        particles: The data.
        best: The oracle's adjusted Rand index, if the truth is known.
    """

    folder: Path
    measures: dict[str, Measures]
    particles: Particles
    best: Estimate | None

    def of(self, experiment: str, decoder: str) -> dict[int, Measures]:
        """Numbers of an experiment's seeds that have not diverged.

        Args:
            experiment: Its name.
            decoder: With which decoder.

        Returns:
            Numbers by seed.
        """
        start = f"{decoder}/{experiment}/"
        found = {int(n[len(start) :]): m for n, m in self.measures.items() if n.startswith(start)}
        return {seed: m for seed, m in sorted(found.items()) if not m.diverged}

    def diverged(self, experiment: str, decoder: str) -> int:
        """Number of an experiment's seeds that have diverged.

        Args:
            experiment: Its name.
            decoder: With which decoder.

        Returns:
            A count.
        """
        found = [m for n, m in self.measures.items() if n.startswith(f"{decoder}/{experiment}/")]
        return sum(m.diverged for m in found)

    def agreement(self, experiment: str, decoder: str, seed: int) -> dict[str, float]:
        """How far a run's latents agree with those of the baseline's other seeds.

        The same seed is left out for every experiment: it shares start, order and samples.

        Args:
            experiment: Name of the run's experiment.
            decoder: Its decoder.
            seed: Its seed.

        Returns:
            Mean neighbour overlap, CKA and Procrustes by name; nothing without another seed.
        """
        mine = _latents(self.folder / decoder / experiment / str(seed))
        others = [
            _latents(self.folder / decoder / "baseline" / str(other))
            for other in self.of("baseline", decoder)
            if other != seed
        ]
        if not others:
            return {}
        k = min(NEIGHBOURS, len(mine) - 2)
        return {
            "neighbours": float(np.mean([knn_overlap(mine, z, k).mean() for z in others])),
            "cka": float(np.mean([linear_cka(mine, z) for z in others])),
            "procrustes": float(np.mean([procrustes(mine, z) for z in others])),
        }


@cache
def _latents(path: Path) -> Float[np.ndarray, "n zdim"]:
    return Run.open(path).latents().distribution.mean[:COMPARED].double().numpy()
