"""What images show beside their particle: noise, ice that slopes, and neighbours."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from cryolatent.simulate.config import SimulateConfig
from cryolatent.simulate.scene import Scene

NEAR, FAR = 0.8, 1.3
"""How far neighbours are, in diameters of the molecule."""


@dataclass(frozen=True)
class Background:
    """Noise and disturbances of every image.

    Args:
        config: What they are.
        micrograph: Number of each image's micrograph.
        noise_level: Power of the noise of each image, relative to the mean.
        diameter_pixels: Of the molecule.
    """

    config: SimulateConfig
    micrograph: Int[np.ndarray, " images"]
    noise_level: Float[np.ndarray, " images"]
    diameter_pixels: float

    @staticmethod
    def draw(config: SimulateConfig, diameter_pixels: float) -> "Background":
        """Divide images among micrographs, and draw how noisy these are.

        Args:
            config: How many, and how different.
            diameter_pixels: Of the molecule.

        Returns:
            The background; micrographs are consecutive and of different sizes.
        """
        rng, count = np.random.default_rng([config.seed, 5]), max(1, config.micrographs)
        share = rng.dirichlet(np.full(count, 4.0))
        micrograph = np.sort(rng.choice(count, size=config.images, p=share))
        level = np.exp(config.noise_spread * rng.normal(size=count))[micrograph]
        return Background(config, micrograph, level / level.mean(), diameter_pixels)

    def add(
        self, images: Float[Tensor, "n y x"], rows: Int[Tensor, " n"], scene: Scene, gain: Tensor
    ) -> Float[Tensor, "n y x"]:
        """Images with what disturbs them.

        Args:
            images: Clean images.
            rows: Which they are, from a multiple of the chunk on.
            scene: Where neighbours come from.
            gain: Amplitude of the noise at every frequency of a real transform.

        Returns:
            The images as they are recorded.
        """
        seed, start = self.config.seed, int(rows[0])
        rng = np.random.default_rng([seed, 2, start])
        noise = torch.from_numpy(rng.normal(size=images.shape))
        noise = torch.fft.irfft2(torch.fft.rfft2(noise) * gain, s=noise.shape[-2:])
        level = torch.from_numpy(self.noise_level[rows.numpy()])
        images = images + noise * level.sqrt()[:, None, None]
        rng = np.random.default_rng([seed, 6, start])
        if self.config.neighbours:
            images = images + self._neighbours(rows, scene, rng)
        if self.config.gradient:
            images = images + self._gradients(rows, rng)
        return images

    def _neighbours(
        self, rows: Int[Tensor, " n"], scene: Scene, rng: np.random.Generator
    ) -> Float[Tensor, "n y x"]:
        """Other particles, displaced to the edge of some images."""
        count, total = len(rows), self.config.images
        crowded = rng.random(count) < self.config.neighbours
        others = torch.from_numpy(rng.integers(total, size=count))
        angle = rng.uniform(0, 2 * np.pi, size=count)
        far = self.diameter_pixels * rng.uniform(NEAR, FAR, size=count)
        away = np.stack([np.sin(angle), np.cos(angle)], -1) * far[:, None]
        box = self.config.box
        away = np.where(crowded[:, None], away.round().clip(-box, box), box).astype(int)
        images = scene.images(others)
        return torch.stack([_displaced(*pair) for pair in zip(images, away, strict=True)])

    def _gradients(
        self, rows: Int[Tensor, " n"], rng: np.random.Generator
    ) -> Float[Tensor, "n y x"]:
        """Slopes across images, in directions of their own."""
        box = self.config.box
        angle = rng.uniform(0, 2 * np.pi, size=len(rows))
        rise = np.abs(rng.normal(scale=self.config.gradient, size=len(rows))) * (np.pi / 2) ** 0.5
        slope = torch.from_numpy(np.stack([np.sin(angle), np.cos(angle)]) * rise).float()
        across = torch.arange(box) / box - 0.5
        return slope[0, :, None, None] * across[:, None] + slope[1, :, None, None] * across


def _displaced(image: Float[Tensor, "y x"], pixels: Int[np.ndarray, " 2"]) -> Float[Tensor, "y x"]:
    """An image further down and right; what leaves is lost, and zeros follow."""
    target, box = torch.zeros_like(image), len(image)
    to, of = zip(*(_overlap(int(by), box) for by in pixels), strict=True)
    target[to] = image[of]
    return target


def _overlap(by: int, box: int) -> tuple[slice, slice]:
    return slice(max(by, 0), box + min(by, 0)), slice(max(-by, 0), box - max(by, 0))
