"""What a search for poses wrote beside the run that it ended in."""

from dataclasses import replace
from pathlib import Path

import torch
from jaxtyping import Float, Int
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from cryolatent.data import ParticleStack
from cryolatent.data.adequacy import too_little
from cryolatent.physics import sphere_grid
from cryolatent.train.abinitio.search import AbInitio

FILE = "abinitio.json"
VIEW_DIVISIONS = 5
"""Of the grid on which views are counted: 300 directions."""

SURE = 0.5
"""Probability from which an orientation counts as found."""


class PosesFound(BaseModel):
    """What a search for poses came to.

    Args:
        source: The particle file.
        seed: What it was asked to begin with.
        particles: How many particles there are.
        lacks: What there are too few of, particles or views.
        certain: Share of particles of which one orientation has most of the probability.
        starts: Log evidence per particle of each random start, in nats.
        chosen: Which of them went on, counted from zero.
        angstrom: Resolution at which poses were compared last.
        evidence: Log evidence per particle there, in nats.
        views: How many images each pixel of a `sphere_grid` of `VIEW_DIVISIONS` is seen from; empty
            in a file of before they were counted.
    """

    model_config = ConfigDict(frozen=True)

    source: str
    seed: int
    particles: int
    lacks: tuple[str, ...]
    certain: float
    starts: tuple[float, ...]
    chosen: int
    angstrom: float
    evidence: float
    views: tuple[int, ...] = ()

    @staticmethod
    def of(found: AbInitio, stack: ParticleStack, seed: int) -> "PosesFound":
        """Sum up a search.

        Args:
            found: What it found.
            stack: The particles.
            seed: Its seed.

        Returns:
            What is kept of it.
        """
        side = stack.disc.box * stack.pixel_size_angstrom
        return PosesFound(
            source=str(stack.source.resolve()),
            seed=seed,
            particles=len(stack),
            lacks=tuple(too_little(replace(stack, poses=found.poses))),
            certain=float((found.certainty >= SURE).float().mean()),
            starts=found.starts,
            chosen=found.chosen,
            angstrom=side / found.shells,
            evidence=found.evidence,
            views=tuple(views_of(found.poses.rotations).tolist()),
        )

    @staticmethod
    def read(folder: Path) -> "PosesFound | None":
        """Read what a search wrote.

        Args:
            folder: Of the search.

        Returns:
            What it came to; None if there was none.
        """
        path = folder / FILE
        return PosesFound.model_validate_json(path.read_text()) if path.is_file() else None

    def words(self) -> list[str]:
        """What was found, in sentences."""
        evidence = ", ".join(f"{value:.2f}" for value in self.starts)
        best = f"start {self.chosen + 1} of {len(self.starts)} explains the images best"
        return [
            f"{self.particles} particles, one orientation clear for {100 * self.certain:.0f} % of "
            f"them at {self.angstrom:.1f} Å",
            f"{best} (evidence per particle: {evidence} nats)",
            *self.lacks,
            "the hand cannot be known from images: map and poses may be the mirror image's",
        ]


def views_of(rotations: Float[Tensor, "n 3 3"]) -> Int[Tensor, " v"]:
    """Count from where images see the volume.

    Args:
        rotations: Rotations R; the last row is the view.

    Returns:
        For each pixel of a `sphere_grid`.
    """
    polar, longitude = torch.deg2rad(sphere_grid(VIEW_DIVISIONS)).unbind(-1)
    flat = polar.sin()
    centres = torch.stack([flat * longitude.cos(), flat * longitude.sin(), polar.cos()], dim=-1)
    nearest = (rotations[:, 2].double() @ centres.T).argmax(1)
    return torch.bincount(nearest, minlength=len(centres))
