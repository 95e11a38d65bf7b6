"""Expectation maximisation of a volume with poses integrated out, every sum written out."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from builders import clear_rotations
from cryolatent.data import FilteredImages
from cryolatent.models import ExactGaussian
from cryolatent.models.hypothesis import Hypothesis
from cryolatent.models.nuisances import Nuisances, PoseErrors
from cryolatent.physics import (
    FourierDisc,
    FourierLattice,
    Interpolation,
    slice_lattice,
    tangents,
)

DISC = FourierDisc(12, 4)
LATTICE = FourierLattice(DISC)
NOISE = torch.linspace(1.5, 0.8, DISC.radius + 1)
POSES = PoseErrors(0.15, 0.25, 0.5)
UNKNOWNS, PARTICLES, EACH = 10, 30, 2


def real(values: Tensor) -> Tensor:
    """Complex coefficients, the last axis but one, as real ones of unit noise."""
    weighted = values * (2 / NOISE[DISC.shells]).sqrt()[:, None].to(values.dtype)
    return torch.cat([weighted.real, weighted.imag], dim=-2).double()


class Problem:
    """Images of a volume that is a sum of a few known ones, in poses that are not quite known."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        basis = torch.randn(UNKNOWNS, *(LATTICE.side,) * 3)
        self.values = LATTICE.from_field(basis) * LATTICE.side**1.5 * 0.15
        rotations = clear_rotations(PARTICLES * EACH, LATTICE)
        self.slopes = torch.stack([self.slope(m, rotations) for m in range(UNKNOWNS)], dim=-1)
        truth = torch.randn(UNKNOWNS).double()
        self.deviations = torch.tensor(POSES.deviations)
        errors = torch.randn(len(rotations), 5) * self.deviations
        # about a point that is not the recorded pose
        self.moved = 0.5 * torch.randn(len(rotations), 5) * self.deviations
        self.pixels = (self.design((errors - self.moved).double()) @ truth).squeeze(-1)
        self.pixels += torch.randn_like(self.pixels)
        half = len(self.pixels[0]) // 2
        images = torch.complex(*self.pixels.float().split(half, dim=1))
        images = images * (NOISE[DISC.shells] / 2).sqrt()
        power = torch.zeros(len(images), DISC.radius + 1)
        power.index_add_(1, DISC.shells, images.abs().square())
        owner = torch.arange(PARTICLES).repeat_interleave(EACH)
        rows = torch.arange(len(images))
        weights = torch.ones(len(images), DISC.size)
        index = torch.arange(PARTICLES)
        self.part = FilteredImages(index, owner, images, weights, power[:, 1:], rotations, rows)

    def slope(self, unknown: int, rotations: Tensor) -> Tensor:
        """Slices of one volume and of its five derivatives, ``obs, pixels, 6``."""
        tangent = tangents(self.values[:, unknown : unknown + 1], LATTICE)
        slices = slice_lattice(tangent, rotations, LATTICE, Interpolation.NEAREST)
        turns = torch.einsum("nka,nba->nkb", slices[..., 1:], rotations.to(slices.dtype))
        shifts = slices[..., :1] * (-2j * torch.pi * DISC.cycles_per_pixel)
        return real(torch.cat([slices[..., :1], turns, shifts], dim=-1))

    def design(self, errors: Tensor) -> Tensor:
        """What each unknown adds to each pixel at some errors, ``obs, pixels, unknowns``."""
        weights = torch.cat([torch.ones_like(errors[:, :1]), errors], dim=1)
        return torch.einsum("npbm,nb->npm", self.slopes, weights)

    def expect(self, volume: Tensor) -> tuple[float, Tensor, Tensor]:
        """Log evidence of all particles, and the errors' means and covariances."""
        values = self.values @ volume.to(self.values.dtype)[:, None]
        posterior = ExactGaussian(0)
        hypothesis = Hypothesis(LATTICE, values, NOISE, posterior, Nuisances(poses=POSES))
        # the images are where they are expanded about already
        found = hypothesis.judge(replace(hypothesis.compare(self.part), moved=self.moved))
        mean, covariance = found.errors
        return float(found.evidence.double().sum()), mean.double(), covariance.double()

    def maximise(self, mean: Tensor, covariance: Tensor) -> Tensor:
        """The volume of the largest expected log density: unknowns coupled by second moments."""
        design = self.design(mean)
        off = self.slopes[:, :, 1:]
        matrix = torch.einsum("npm,npl->ml", design, design)
        matrix += torch.einsum("nbc,npbm,npcl->ml", covariance, off, off)
        return torch.linalg.solve(matrix, torch.einsum("npm,np->m", design, self.pixels))


@pytest.fixture(scope="module")
def problem() -> Problem:
    return Problem()


def climb(problem: Problem, coupled: float, steps: int = 80) -> Tensor:
    """Evidence along the way; `coupled` weights what the unknowns' coupling comes from."""
    still = torch.zeros(PARTICLES * EACH, 5).double()
    volume, evidence = problem.maximise(still, torch.zeros(len(still), 5, 5).double()), []
    for _ in range(steps):
        found, mean, covariance = problem.expect(volume)
        evidence.append(found)
        volume = problem.maximise(mean, coupled * covariance)
    return torch.tensor(evidence, dtype=torch.double)


def test_evidence_never_falls(problem: Problem) -> None:
    """At fixed expansion points, priors and noise, if unknowns are coupled."""
    evidence = climb(problem, 1.0)
    # rounding of single precision
    assert evidence.diff().min() > -1e-6 * evidence.abs().max()
    assert evidence[-1] - evidence[0] > 50
    assert evidence.diff()[-1] < 1e-3 * (evidence[-1] - evidence[0])


def test_images_inserted_at_their_mean_poses_end_lower(problem: Problem) -> None:
    """What the covariance is for: without it the climb is not one."""
    right, wrong = climb(problem, 1.0), climb(problem, 0.0)
    assert wrong[-1] < right[-1] - 0.5
    assert wrong.diff().min() < -0.1
