"""Does a latent move when the particle is only displaced or turned in the image?"""

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float

from cryolatent.analysis.bootstrap import mean_estimate
from cryolatent.audits.base import Audit
from cryolatent.audits.displacement import Displacement, displacement, own_neighbour
from cryolatent.audits.reading import (
    BATCH,
    LABELLED,
    chosen_particles,
    posterior_means,
    reads_images,
)
from cryolatent.data import Evidence, ParticleStack
from cryolatent.data.moves import rot90_image, rot90_particle, shift_image, shift_particle
from cryolatent.physics import FourierDisc
from cryolatent.runs.finding import Estimate, Finding, Table, verdict_below
from cryolatent.sessions.subject import Need, Subject

BLIND = "This posterior is blind to the images that it is shown."
CONSTANT = "Half of all pairs of particles have the same latent: there is nothing to compare with."


@dataclass(frozen=True, kw_only=True)
class MoveTest(Audit):
    """Move the evidence and see how far the latents follow.

    The statistic is the median displacement of the posterior means over the median distance
    between random particles: 0 if latents do not feel the move, 1 if a moved particle is as far
    from itself as from any other.

    Args:
        consistent: Whether pose, displacement and astigmatism are moved along, so that the moved
            evidence shows the same particle; else the image alone is moved, as in the report.
        threshold: Largest displacement that passes.
        seed: Fixes the choice of particles, pairs and resampling.
    """

    needs: ClassVar[tuple[Need, ...]] = ("system", "a posterior that reads images", "particles")

    consistent: bool = False
    threshold: float = 0.25
    seed: int = 0

    @abstractmethod
    def moved(self, evidence: Evidence, disc: FourierDisc) -> Evidence:
        """Move evidence.

        Args:
            evidence: What the posterior is shown.
            disc: Its coefficients.

        Returns:
            The moved evidence.
        """

    @property
    @abstractmethod
    def move(self) -> str:
        """The move in a few words, for ``... are displaced by (1, 0) pixels``."""

    @property
    def name(self) -> str:
        """Name of the audit, as in ``shift-raw``."""
        kind = type(self).__name__.removesuffix("Test").lower()
        return f"{kind}-{'consistent' if self.consistent else 'raw'}"

    @property
    def question(self) -> str:
        """How far latents move."""
        what = "images, poses and transfer functions" if self.consistent else "images alone"
        return f"How far do latents move when {what} are {self.move}?"

    def answer(self, subject: Subject) -> Finding:
        """Read up to 2,000 particles as they are and moved."""
        stack, system = subject.particles(), subject.system()
        if system is None or not isinstance(stack, ParticleStack):
            raise TypeError("a move is one of particles that a posterior reads")
        index = chosen_particles(len(stack), self.seed)
        z, moved = posterior_means(system, stack, index, lambda e: self.moved(e, stack.disc))
        found = displacement(z, moved, seed=self.seed)
        note = "" if reads_images(system, stack.batch(index[:BATCH])) else BLIND
        return self._finding(stack.ids[index.numpy()], z, moved, found, note)

    def _finding(
        self,
        ids: np.ndarray,
        z: Float[np.ndarray, "n zdim"],
        moved: Float[np.ndarray, "n zdim"],
        found: Displacement | None,
        note: str,
    ) -> Finding:
        each = None if found is None else found.each
        pairs = pair_table(ids, z, moved, each)
        chance = 1 / len(ids)
        return self.finding(
            "inconclusive" if found is None else verdict_below(found.median, self.threshold),
            None if found is None else found.median,
            particles=len(ids),
            null=None if found is None else found.null,
            threshold=self.threshold,
            note=" ".join(filter(None, [note, CONSTANT if found is None else ""])),
            numbers={
                "retrieval": mean_estimate(own_neighbour(z, moved), seed=self.seed),
                "retrieval_by_chance": Estimate.sure(chance),
            },
            tables={"labelled": _first(pairs, LABELLED), "pairs": pairs},
        )


@dataclass(frozen=True, kw_only=True)
class ShiftTest(MoveTest):
    """Displace the images.

    Args:
        pixels: Displacement (x, y) in pixels; the report's is one to the right.
    """

    pixels: tuple[float, float] = (1.0, 0.0)

    @property
    def move(self) -> str:
        """The displacement in words."""
        return f"displaced by ({self.pixels[0]:g}, {self.pixels[1]:g}) pixels"

    def moved(self, evidence: Evidence, disc: FourierDisc) -> Evidence:
        """Displace evidence."""
        shift = shift_particle if self.consistent else shift_image
        return shift(evidence, disc, torch.tensor(self.pixels))


@dataclass(frozen=True, kw_only=True)
class RotationTest(MoveTest):
    """Turn the images clockwise by 90 degrees.

    With the pose moved along they turn about pixel D / 2; the image alone turns as in the report,
    by numpy's ``rot90`` about (D - 1) / 2.
    """

    @property
    def move(self) -> str:
        """The turn in words."""
        return "turned by 90 degrees"

    def moved(self, evidence: Evidence, disc: FourierDisc) -> Evidence:
        """Turn evidence."""
        return (rot90_particle if self.consistent else rot90_image)(evidence, disc)


def pair_table(
    ids: np.ndarray,
    z: Float[np.ndarray, "n zdim"],
    moved: Float[np.ndarray, "n zdim"],
    each: Float[np.ndarray, " n"] | None,
) -> Table:
    """Latents before and after, for drawing.

    Args:
        ids: Particle names.
        z: Latents.
        moved: Latents after the move.
        each: Relative displacements, where they are defined.

    Returns:
        Columns ``id``, ``z_0`` ..., ``moved_0`` ..., ``displacement``.
    """
    numbers = {f"z_{axis}": column for axis, column in enumerate(z.T)}
    numbers |= {f"moved_{axis}": column for axis, column in enumerate(moved.T)}
    numbers |= {} if each is None else {"displacement": each}
    columns = {name: tuple(column.tolist()) for name, column in numbers.items()}
    return Table(columns={"id": tuple(ids.tolist())} | columns)


def _first(table: Table, rows: int) -> Table:
    return Table(columns={name: column[:rows] for name, column in table.columns.items()})
