"""Small stacks and models that tests build on."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from cryolatent.config.owners import belonging
from cryolatent.config.training import TrainConfig
from cryolatent.data import (
    Batch,
    DigitSet,
    Evidence,
    ImageSource,
    ParticleStack,
    StackStatistics,
    open_star,
    scan,
)
from cryolatent.models import FourierGaussian, GenerativeModel, SubspaceDecoder
from cryolatent.models.decoders.coefficients import CoefficientMap
from cryolatent.physics import CTF, FourierDisc, FourierLattice, Interpolation, Poses, soft_sphere
from cryolatent.simulate.config import SimulateConfig
from cryolatent.simulate.stack import simulate

DISC = FourierDisc(16, 5)
FLAT = StackStatistics(*(torch.ones(DISC.radius + 1) for _ in range(3)))


def random_rotations(count: int) -> torch.Tensor:
    rotations, _ = torch.linalg.qr(torch.randn(count, 3, 3))
    return rotations * torch.linalg.det(rotations).sign()[:, None, None]


def clear_rotations(count: int, lattice: FourierLattice, margin: float = 1e-4) -> torch.Tensor:
    """Rotations that leave no point half way between two voxels, where rounding may go either way.

    Nor is a point so near to the plane kx = 0 that its side depends on rounding.
    """
    rotations = random_rotations(4 * count)
    return rotations[are_clear(rotations, lattice, margin)][:count].contiguous()


def are_clear(rotations: torch.Tensor, lattice: FourierLattice, margin: float) -> torch.Tensor:
    points = lattice.disc.coordinates @ rotations[:, :2] * lattice.oversampling
    halfway = ((points - points.floor() - 0.5).abs() < margin).flatten(1).any(1)
    return ~halfway & ~(points[..., 0].abs() < margin).any(1)


def random_ctf(count: int, pixel_size_angstrom: float = 4.0) -> CTF:
    defocus = 10_000 + 10_000 * torch.rand(count)
    constants = (300.0, 2.7, 0.1, 0.0, pixel_size_angstrom)
    return CTF(
        defocus,
        defocus - 200,
        90 * torch.rand(count),
        *(torch.full((count,), c) for c in constants),
    )


def random_batch(particles: int = 4, per_particle: int = 1, disc: FourierDisc = DISC) -> Batch:
    count = particles * per_particle
    images = torch.randn(count, disc.size, dtype=torch.complex64)
    poses = Poses(random_rotations(count), 4 * torch.randn(count, 2))
    ctf = random_ctf(count)
    owner = torch.arange(particles).repeat_interleave(per_particle)
    index = torch.randperm(particles)
    return Batch(index, owner, images, poses, ctf, Evidence(images, poses, ctf, owner))


def subspace_model(
    coefficients: CoefficientMap, size: float = 0.5, disc: FourierDisc = DISC
) -> GenerativeModel:
    """A subspace decoder of random volumes, nearest voxels, and noise that differs by shell."""
    flat = torch.ones(disc.radius + 1)
    decoder = SubspaceDecoder(disc, coefficients, flat, interpolation=Interpolation.NEAREST)
    box = disc.box
    volumes = size * torch.randn(coefficients.size, box, box, box) / box**0.5
    decoder.set_volumes(volumes * soft_sphere(box, 1.0, 0.35 * box, 2.0))
    noise = torch.linspace(1.5, 0.7, disc.radius + 1)
    return GenerativeModel(decoder, FourierGaussian(disc, noise, flat))


def with_evidence(batch: Batch, images: torch.Tensor) -> Batch:
    return replace(batch, evidence=replace(batch.evidence, images=images))


def small_stack(folder: Path, **options: object) -> ParticleStack:
    defaults = {"particles": 40, "box": 16, "pixel_size": 18.0, "snr": 1.0}
    simulate(SimulateConfig.model_validate(defaults | options), folder)
    return open_star(folder / "particles.star")


def small_config(posterior: str, **options: object) -> TrainConfig:
    usual = {"epochs": 2, "threads": 1, "learning_rate": 2e-3, "z_dim": 2} | SMALL_NETWORKS
    return _config(usual, {"posterior": posterior} | options)


def exact_config(posterior: str, **options: object) -> TrainConfig:
    return TrainConfig.of({"posterior": posterior, "z_dim": 4, "threads": 1} | options)


def spectra(stack: ParticleStack) -> StackStatistics:
    return scan(stack, 0.45 * stack.disc.box).statistics


@dataclass(frozen=True)
class ArrayImages(ImageSource):
    pixels: np.ndarray
    box: int = 8

    def __len__(self) -> int:
        return len(self.pixels)

    def read(self, positions: np.ndarray) -> np.ndarray:
        return self.pixels[positions]

    def name(self, position: int) -> str:
        return f"memory, image {position + 1}"

    def fingerprint(self):
        return b""

    def select(self, positions: np.ndarray) -> "ArrayImages":
        return ArrayImages(self.pixels[positions])


def tilt_series(counts: list[int]) -> ParticleStack:
    total = sum(counts)
    rng = np.random.default_rng(0)
    rotations = torch.eye(3).repeat(total, 1, 1)
    if total:
        rotations = torch.from_numpy(Rotation.random(total, random_state=0).as_matrix()).float()
    optics = [torch.from_numpy(rng.uniform(0.1, 1, total)).float() for _ in range(8)]
    return ParticleStack(
        images=ArrayImages(rng.normal(size=(total, 8, 8)).astype(np.float32)),
        poses=Poses(rotations, torch.from_numpy(rng.normal(size=(total, 2))).float()),
        ctf=CTF(*optics),
        ids=np.array([f"particle {p}" for p in range(len(counts))], dtype=np.str_),
        offsets=torch.tensor([0, *np.cumsum(counts)], dtype=torch.long),
        source=Path("tilts.star"),
        source_rows=10 + np.arange(total),
        half_set=1 + np.arange(len(counts)) % 2,
    )


def small_digits(count: int, side: int = 6, seed: int = 0) -> DigitSet:
    """Bars at one of four places, with a little noise: something that two dimensions explain."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 4, count)
    images = 0.1 * rng.random((count, side, side))
    images[np.arange(count), labels] += 0.8
    return DigitSet(
        torch.from_numpy(images.reshape(count, -1)).float(),
        labels,
        np.array([f"train/{number:05d}" for number in range(count)]),
        Path("digits.npz"),
    )


def digit_config(posterior: str, **options: object) -> TrainConfig:
    usual = {"epochs": 2, "batch_size": 8, "learning_rate": 0.01, "beta_warmup": 0, "z_dim": 2}
    usual |= {"threads": 1, "encoder_residual": False} | SMALL_NETWORKS
    return _config(usual, {"posterior": posterior, "decoder": "pixel"} | options)


SMALL_NETWORKS = {"encoder_width": 16, "encoder_layers": 1} | {
    "decoder_width": 16,
    "decoder_layers": 1,
}


def _config(usual: dict, asked: dict) -> TrainConfig:
    """Usual options where the parts have them, and those asked for whether they have or not."""
    kept = {k: v for k, v in belonging(usual | asked).items() if k not in asked}
    return TrainConfig.of(kept | asked)
