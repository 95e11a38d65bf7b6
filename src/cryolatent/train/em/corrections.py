"""What is known of every image's pose and of every particle's contrast, so far."""

from dataclasses import dataclass, replace
from math import radians

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from cryolatent.data import FilteredImages, ParticleStack, Placing
from cryolatent.models.beliefs import Beliefs
from cryolatent.models.everywhere import SPACING_DEGREES
from cryolatent.models.hypothesis import ERRORS, Explained, moved_on
from cryolatent.models.nuisances import LOG_FOUND
from cryolatent.physics import SHIFTS, TURNS, FourierDisc
from cryolatent.train.randomness import seeded

ROUNDING = 1e-12


@dataclass(frozen=True)
class Corrections:
    """Posteriors of poses about the recorded ones, of contrasts, and of what is a particle.

    Rows are those of the whole stack, so that parts of it share them.

    Args:
        moved: Most probable error of each recorded pose: turns in radians and shifts in pixels, in
            the image's frame.
        spread: Cholesky factors of the errors' covariances.
        contrast: Means and variances.
        share: Probability of each particle to be one.
        shells: Last shell that was looked at; 0 if none was.
    """

    moved: Float[Tensor, "obs 5"]
    spread: Float[Tensor, "obs 5 5"]
    contrast: Float[Tensor, "n 2"]
    share: Float[Tensor, " n"]
    shells: int = 0

    @staticmethod
    def none(stack: ParticleStack, device: torch.device) -> "Corrections":
        """Of nothing anything is known but what is recorded.

        Args:
            stack: The particles.
            device: Where everything lies.

        Returns:
            Poses as recorded, contrasts of one.
        """
        n, observations = len(stack), int(stack.offsets[-1])
        zeros = torch.zeros(observations, ERRORS, ERRORS, device=device)
        one = torch.tensor([1.0, 0.0], device=device)
        return Corrections(zeros[:, 0], zeros, one.repeat(n, 1), one[0].repeat(n))

    @staticmethod
    def of(beliefs: Beliefs, shells: int, *, probability: float) -> tuple["Corrections", Placing]:
        """What a finished run believes.

        Args:
            beliefs: Of all particles of the stack.
            shells: Last shell that it looked at.
            probability: That a recorded orientation says nothing, by that run. If that is not 0,
                poses further from the recorded one than a cell of the grid were found elsewhere.

        Returns:
            Corrections, and where images are looked at.
        """
        moved, share = beliefs.moved, beliefs.probability
        lost = moved[:, TURNS].norm(dim=1) > radians(SPACING_DEGREES)
        lost = lost & (probability > 0)
        contrast = torch.stack([beliefs.contrast, beliefs.contrast_error.square()], dim=-1)
        floor = ROUNDING * torch.eye(ERRORS)
        spread = torch.linalg.cholesky_ex(beliefs.covariance + floor).L
        here, there = torch.tensor([1 - probability, probability]).log()
        placing = Placing(moved * lost[:, None], lost, torch.where(lost, there + LOG_FOUND, here))
        return Corrections(moved * ~lost[:, None], spread, contrast, share, shells), placing

    def about(self, part: FilteredImages) -> tuple[Tensor, Tensor]:
        """Where images are expanded about: moves, and contrasts."""
        return self.moved[part.rows], self.contrast[part.index, 0]

    def drawn(self, part: FilteredImages, draws: "PassDraws", disc: FourierDisc) -> FilteredImages:
        """Images at a draw of their poses, whatever the volumes are now.

        Args:
            part: The images at the recorded poses.
            draws: The pass.
            disc: Where the coefficients belong.

        Returns:
            The images, moved.
        """
        spread, (_, normal) = self.spread[part.rows], draws.normal(part)
        move = moved_on(self.moved[part.rows], (spread @ normal[..., None])[..., 0])
        return part.moved(move[:, TURNS], move[:, SHIFTS], disc)

    def updated(self, found: list[Explained], shells: int) -> "Corrections":
        """Take what was found of some particles.

        Args:
            found: Their posteriors.
            shells: Last shell looked at.

        Returns:
            New rows for these, old ones for others.
        """
        moved, spread = self.moved.clone(), self.spread.clone()
        contrast, share = self.contrast.clone(), self.share.clone()
        for explained in found:
            part, (_, covariance) = explained.part, explained.errors
            floor = ROUNDING * torch.eye(ERRORS, device=moved.device)
            moved[part.rows] = explained.best()
            spread[part.rows] = torch.linalg.cholesky_ex(covariance + floor).L
            contrast[part.index] = torch.stack(explained.moments.contrast, dim=-1)
            share[part.index] = explained.share
        # a common factor is the volumes'
        mean = (share * contrast[:, 0]).sum() / share.sum()
        contrast = contrast / torch.stack([mean, mean.square()])
        return Corrections(moved, spread, contrast, share, shells)

    def forgotten(self, images: Bool[Tensor, " obs"]) -> "Corrections":
        """Begin anew with some images.

        Args:
            images: Those of which nothing is known any more.

        Returns:
            Zeros for their poses, what was known for others.
        """
        rows = images.view(-1, 1)
        moved, spread = self.moved.masked_fill(rows, 0), self.spread.masked_fill(rows[..., None], 0)
        return replace(self, moved=moved, spread=spread)

    def to_tensors(self) -> dict[str, Tensor]:
        """Rows by name, for files."""
        return {
            "moved": self.moved,
            "spread": self.spread,
            "contrast": self.contrast,
            "share": self.share,
            "surveyed": torch.tensor(self.shells),
        }

    @staticmethod
    def from_tensors(tensors: dict[str, Tensor], device: torch.device) -> "Corrections":
        """Undo `to_tensors`.

        Args:
            tensors: Rows by name.
            device: Where everything lies.

        Returns:
            The corrections.
        """
        moved, spread, contrast, share = (
            tensors[name].to(device) for name in ("moved", "spread", "contrast", "share")
        )
        return Corrections(moved, spread, contrast, share, int(tensors["surveyed"]))


@dataclass(frozen=True)
class PassDraws:
    """The random numbers of one pass, the same for a particle however particles are divided.

    Args:
        corrections: Where images are expanded about.
        particles: Standard normal numbers of each particle of the stack.
        observations: Standard normal numbers of each observation.
    """

    corrections: Corrections
    particles: Float[Tensor, "n w"]
    observations: Float[Tensor, "obs 5"]

    @staticmethod
    def of(corrections: Corrections, seed: int, number: int, width: int) -> "PassDraws":
        """Draw for a pass.

        Args:
            corrections: Where images are expanded about.
            seed: The run's.
            number: The pass.
            width: How many numbers each particle needs.

        Returns:
            Numbers on the corrections' device.
        """
        generator, device = seeded(seed, number, "pose"), corrections.moved.device
        particles, observations = len(corrections.share), len(corrections.moved)
        return PassDraws(
            corrections,
            torch.randn(particles, width, generator=generator).to(device),
            torch.randn(observations, ERRORS, generator=generator).to(device),
        )

    def about(self, part: FilteredImages) -> tuple[Tensor, Tensor]:
        """Where images are expanded about: moves, and contrasts."""
        return self.corrections.about(part)

    def normal(self, part: FilteredImages) -> tuple[Tensor, Tensor]:
        """Numbers of particles, and of observations."""
        return self.particles[part.index], self.observations[part.rows]
