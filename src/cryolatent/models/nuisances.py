"""What a model of images doubts of its inputs: poses, contrast, and that a particle is one."""

from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from math import degrees, log, pi, radians

import torch
from jaxtyping import Float
from torch import Tensor

from cryolatent.models.contrast import ONE, Contrast

KINDS = ("particle", "shapeless", "empty")
"""What an image may show: the molecule; something of power but without its structure; nothing."""


@dataclass(frozen=True)
class PoseErrors:
    """Normal errors of recorded poses: standard deviations.

    Args:
        tilt: Of turns about each axis in the image's plane, in radians.
        spin: Of turns in the image's plane, in radians.
        shift: Of displacements along each axis, in pixels.
    """

    tilt: float = 0.0
    spin: float = 0.0
    shift: float = 0.0

    @property
    def deviations(self) -> tuple[float, float, float, float, float]:
        """In the order of `cryolatent.physics.first_order`: three turns, two shifts."""
        return self.tilt, self.tilt, self.spin, self.shift, self.shift

    def __bool__(self) -> bool:
        return any(self.deviations)


SURE = PoseErrors()

FOUND = PoseErrors(radians(5.0), radians(5.0), 1.0)
"""Widths of the prior about poses that the images themselves gave: wide, and not learned, for the
same images are read again."""

LOG_FOUND = 1.5 * log(2 * pi) + 2 * log(FOUND.tilt) + log(FOUND.spin) - log(8 * pi**2)
"""Density of all orientations alike over that of the prior about one that was found."""


@dataclass(frozen=True)
class Nuisances:
    """Priors of everything about a particle that is not its latent.

    Args:
        poses: Errors of the recorded poses.
        contrast: Spread of the contrast.
        shares: Probabilities of `KINDS`.
        junk_spectrum: Power of the structureless kind's Fourier coefficients, before the transfer
            function, shells 0 to the last; None if every image is believed to show a particle.
        lost: Probability that a recorded orientation has nothing to do with its image.
    """

    poses: PoseErrors = SURE
    contrast: Contrast = ONE
    shares: tuple[float, float, float] = (1.0, 0.0, 0.0)
    junk_spectrum: Float[Tensor, " shells"] | None = None
    lost: float = 0.0

    @property
    def doubts_images(self) -> bool:
        """Whether poses or particles are doubted, and not only the contrast."""
        return bool(self.poses) or self.junk_spectrum is not None

    @cached_property
    def log_odds(self) -> tuple[float, float, float]:
        """Logarithms of the shares; none is quite impossible."""
        return tuple(log(max(share, 1e-6)) for share in self.shares)  # pyright: ignore

    def words(self, given: Collection[str] = ()) -> list[str]:
        """What the priors say of the inputs, in clauses.

        Errors of poses are given as standard deviations per axis, and as the angle that three axes
        make together; flexibility that no latent explains counts in them.

        Args:
            given: Which of ``rotations`` and ``shifts`` have a width that was not learned.

        Returns:
            One clause for each of rotations, shifts, contrast and particles that is doubted, one
            for those that are not, and one for orientations that were looked for everywhere.
        """
        tilt, _, spin, shift, _ = self.poses.deviations
        axis = degrees(((2 * tilt**2 + spin**2) / 3) ** 0.5)
        angles = f"{axis:.1f}° per axis ({axis * 3**0.5:.1f}° in all)"
        verb = {
            n: "are taken as off" if n in given else "look off" for n in ("rotations", "shifts")
        }
        junk, spread = 1 - self.shares[0], self.contrast.spread
        looks = {
            "rotations": f"orientations {verb['rotations']} by {angles}" if tilt or spin else "",
            "shifts": f"shifts {verb['shifts']} by {shift:.2f} px" if shift else "",
            "contrast": f"contrast varies by {100 * spread:.0f} %" if spread else "",
            "particles": f"{100 * junk:.1f} % of the images show no particle"
            if self.junk_spectrum is not None
            else "",
        }
        learned = [clause for clause in looks.values() if clause]
        if self.lost:
            lost = f"{100 * self.lost:.1f} % of the orientations have nothing to do with the image"
            learned.insert(0, lost)
        trusted = [name for name, clause in looks.items() if not clause]
        return [*learned, *([f"trusted as recorded: {', '.join(trusted)}"] if trusted else [])]

    def to_tensors(self, shells: int) -> dict[str, Tensor]:
        """Numbers by name, for files.

        Args:
            shells: Last shell.

        Returns:
            What `from_tensors` needs, of the same shapes whatever is doubted.
        """
        numbers = (*self.poses.deviations[1:4], self.contrast.spread, *self.shares)
        spectrum = torch.zeros(shells + 1)
        if self.junk_spectrum is not None:
            spectrum[: len(self.junk_spectrum)] = self.junk_spectrum.cpu()
        return {
            "nuisance_widths": torch.tensor(numbers, dtype=torch.double),
            "junk_spectrum": spectrum,
            "lost_share": torch.tensor(self.lost, dtype=torch.double),
        }

    @staticmethod
    def from_tensors(tensors: dict[str, Tensor]) -> "Nuisances":
        """Undo `to_tensors`.

        Args:
            tensors: Numbers by name.

        Returns:
            The priors.
        """
        tilt, spin, shift, spread, *shares = tensors["nuisance_widths"].tolist()
        poses, contrast = PoseErrors(tilt, spin, shift), Contrast(spread)
        particle, shapeless, empty = shares
        spectrum = tensors["junk_spectrum"].clone() if particle < 1 else None
        # a run of before orientations were looked for everywhere has no such share
        lost = float(tensors.get("lost_share", 0.0))
        return Nuisances(poses, contrast, (particle, shapeless, empty), spectrum, lost)


TRUSTED = Nuisances()
"""Everything is as recorded."""


def junk_gains(
    power: Float[Tensor, "n k"],
    weights: Float[Tensor, "n k"],
    noise: Float[Tensor, " k"],
    spectrum: Float[Tensor, " k"],
) -> Float[Tensor, " n"]:
    """Log evidence of images of something without structure, relative to empty images.

    Each coefficient is ``C s + ε`` with ``s ~ CN(0, S)`` and ``ε ~ CN(0, σ²)``, independently.

    Args:
        power: Power of the filtered images, ``|C x|²``.
        weights: Squared transfer functions ``C²``.
        noise: Variance σ² at each coefficient.
        spectrum: Power S at each coefficient.

    Returns:
        ``Σ_k |C x|² S / (σ² (σ² + C² S)) - log(1 + C² S / σ²)``.
    """
    ratio = weights * (spectrum / noise)
    return (power * (spectrum / noise.square()) / (1 + ratio) - torch.log1p(ratio)).sum(-1)


def junk_power(
    power: Float[Tensor, "n k"],
    weights: Float[Tensor, "n k"],
    noise: Float[Tensor, " k"],
    spectrum: Float[Tensor, " k"],
) -> Float[Tensor, "n k"]:
    """Expected power ``E|s|²`` of something without structure, given its image.

    Args:
        power: Power of the filtered images, ``|C x|²``.
        weights: Squared transfer functions ``C²``.
        noise: Variance σ² at each coefficient.
        spectrum: Power S at each coefficient.

    Returns:
        ``|C x|² S² / (σ² + C² S)² + S σ² / (σ² + C² S)``.
    """
    total = noise + weights * spectrum
    return power * (spectrum / total).square() + spectrum * noise / total
