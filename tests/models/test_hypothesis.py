"""Evidence and moments with poses, contrast and kinds integrated out, against brute force."""

from collections.abc import Callable
from itertools import product
from math import log

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from builders import clear_rotations
from cryolatent.data import FilteredImages
from cryolatent.models import Categorical, ExactGaussian
from cryolatent.models.contrast import Contrast
from cryolatent.models.hypothesis import Explained, Hypothesis, moved_on
from cryolatent.models.nuisances import Nuisances, PoseErrors, junk_gains, junk_power
from cryolatent.models.posteriors.exact import ClosedForm
from cryolatent.models.settling import Settling
from cryolatent.physics import (
    FourierDisc,
    FourierLattice,
    Interpolation,
    shift_phases,
    slice_lattice,
    tangents,
    turned,
)

DISC = FourierDisc(16, 5)
LATTICE = FourierLattice(DISC)
NOISE = 1 + torch.rand(DISC.radius + 1, generator=torch.Generator().manual_seed(0))
POSES = PoseErrors(0.03, 0.05, 0.4)
ABOUT = 1.3


def images_of(particles: int, each: int, rotations: Tensor) -> FilteredImages:
    """Noise as images, with transfer functions that are not one."""
    count = particles * each
    transfer = 0.3 + torch.rand(count, DISC.size)
    images = torch.randn(count, DISC.size, dtype=torch.complex64)
    power = torch.zeros(count, DISC.radius + 1)
    power.index_add_(1, DISC.shells, images.abs().square())
    return FilteredImages(
        torch.arange(particles),
        torch.arange(particles).repeat_interleave(each),
        images * transfer,
        transfer.square(),
        power[:, 1:],
        rotations,
        torch.arange(count),
    )


def posterior_of(kind: str) -> ClosedForm:
    return (
        ExactGaussian(2) if kind == "exact" else Categorical(3, torch.tensor([0.5, 0.3, 0.2]).log())
    )


def volumes(components: int = 3) -> Tensor:
    fields = 0.2 * torch.randn(components, *(LATTICE.side,) * 3)
    return LATTICE.from_field(fields) * LATTICE.side**1.5


def stacked(values: Tensor, weight: Tensor) -> Tensor:
    """Complex coefficients as real ones of unit noise, the transfer function applied."""
    return torch.view_as_real(values * weight[..., None]).transpose(-1, -2).flatten(-3, -2)


def dense(
    values: Tensor, part: FilteredImages, moved: Tensor, posterior: ClosedForm, spread: float
) -> Tensor:
    """Log evidence of each particle from normal densities of its pixels, contrast by quadrature."""
    sigma = NOISE[DISC.shells]
    transfer = part.weights.sqrt()
    weight = transfer * (2 / sigma).sqrt()
    g = stacked(slice_lattice(values, part.rotations, LATTICE, Interpolation.NEAREST), weight)
    bases = range(3) if posterior.independent else range(1)
    h = []
    for base in bases:
        slices = slice_lattice(
            tangents(values[:, base : base + 1], LATTICE),
            part.rotations,
            LATTICE,
            Interpolation.NEAREST,
        )
        turns = torch.einsum("nka,nba->nkb", slices[..., 1:], part.rotations.to(slices.dtype))
        shifts = slices[..., :1] * (-2j * torch.pi * DISC.cycles_per_pixel)
        h.append(stacked(torch.cat([turns, shifts], dim=-1), weight))
    x = stacked(part.images[..., None] / transfer[..., None], (2 / sigma).sqrt())[..., 0]
    deviations = torch.tensor(POSES.deviations)
    nodes, weights = np.polynomial.hermite_e.hermegauss(41)
    evidence = []
    for particle in range(len(part)):
        rows = torch.nonzero(part.owner == particle)[:, 0]
        blocks = [
            torch.block_diag(*(ABOUT * h[b][r] * deviations for r in rows)).double() for b in bases
        ]
        centre = -(moved[rows] / deviations).flatten().double()
        pixels, slices = x[rows].flatten().double(), g[rows].flatten(0, 1).double()
        log_jacobian = (part.images.shape[1] * (2 / sigma).log().mean() * len(rows)).double()
        terms = []
        for node, w in zip(nodes, weights / weights.sum(), strict=True):
            a = 1 + spread * node
            for base in bases:
                eye = torch.eye(len(pixels), dtype=torch.double)
                covariance = eye + blocks[base] @ blocks[base].T
                if posterior.independent:
                    mean, prior = a * slices[:, base], float(posterior.log_weights[base])
                else:
                    mean, prior = a * slices[:, 0], 0.0
                    covariance = covariance + a**2 * slices[:, 1:] @ slices[:, 1:].T
                density = torch.distributions.MultivariateNormal(
                    mean + blocks[base] @ centre, covariance
                )
                terms.append(density.log_prob(pixels) + prior + log(w))
        # two real numbers of unit variance for each complex one
        evidence.append(torch.stack(terms).logsumexp(0) + log_jacobian)
    return torch.stack(evidence)


def explained(
    kind: str, spread: float, each: int, *, moves: bool = True
) -> tuple[Explained, Tensor, FilteredImages, Tensor]:
    posterior, values = posterior_of(kind), volumes()
    part = images_of(4, each, clear_rotations(4 * each, LATTICE))
    moved = torch.randn(4 * each, 5) * torch.tensor(POSES.deviations) * (0.7 if moves else 0.0)
    hypothesis = Hypothesis(LATTICE, values, NOISE, posterior, Nuisances(POSES, Contrast(spread)))
    compared = hypothesis.compare(part, moved)
    return hypothesis.judge(compared, torch.full((4,), ABOUT)), values, compared.part, moved


@pytest.mark.parametrize("kind", ["exact", "categorical"])
@pytest.mark.parametrize("each", [1, 2])
@pytest.mark.parametrize("spread", [0.0, 0.2])
def test_evidence_is_that_of_the_pixels(kind: str, each: int, spread: float) -> None:
    """The linear model's own evidence, with no Schur complement and no sufficient statistics."""
    found, values, part, moved = explained(kind, spread, each)
    expected = dense(values, part, moved, posterior_of(kind), spread)
    torch.testing.assert_close(found.evidence.double(), expected, rtol=0, atol=0.01)


@pytest.mark.parametrize("kind", ["exact", "categorical"])
def test_pose_posterior_is_the_slope_of_the_evidence(kind: str) -> None:
    """By the prior's centre: ``∂ log p / ∂ centre = (E[η] - centre) / σ²`` (Fisher's identity)."""
    torch.manual_seed(3)
    found, _, _, moved = explained(kind, 0.0, 1)
    mean = found.errors[0]
    hypothesis, deviations, step = found.by, torch.tensor(POSES.deviations), 0.02
    compared = found.compared
    for b in range(5):
        ends = []
        for sign in (1, -1):
            there = moved.clone()
            there[:, b] -= sign * step * deviations[b]
            row = type(compared)(compared.part, there, compared.products, compared.empty, None)
            ends.append(hypothesis.judge(row, torch.full((4,), ABOUT)).evidence.double())
        slope = (ends[0] - ends[1]) / (2 * step)
        expected = (mean[:, b] + moved[:, b]) / deviations[b]
        torch.testing.assert_close(slope.float(), expected, rtol=0.02, atol=0.01)


CENTRES = torch.tensor([[0.11, -0.05, 0.07], [-0.1, 0.04, 0.02], [0.0, -0.09, -0.12]]).double()


def transform(frequency: Tensor, which: slice) -> Tensor:
    """Gaussians off the centre, known everywhere."""
    envelope = torch.exp(-2 * torch.pi**2 * 0.12**2 * frequency.square().sum(-1))
    phase = -2 * torch.pi * frequency @ CENTRES[which].T
    return envelope * torch.polar(torch.ones_like(phase), phase).sum(-1)


def summed(
    image: Tensor,
    render: Callable[[Tensor, Tensor], list[Tensor]],
    sigma: Tensor,
    poses: PoseErrors,
    spread: float,
) -> Tensor:
    """Log evidence by quadrature over poses and contrast; the latent's integral is closed."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(5)
    share = np.log(weights / weights.sum())
    fine, fine_weights = np.polynomial.hermite_e.hermegauss(15)
    fine_share = torch.tensor(np.log(fine_weights / fine_weights.sum()))
    scores = []
    for at_ in product(range(5), repeat=5):
        errors = torch.tensor(nodes[list(at_)]) * torch.tensor(poses.deviations).double()
        mean, other = render(errors[:3], errors[3:])
        inner = []
        for a in 1 + spread * fine:
            off = image - a * mean
            gram = 2 * ((a * other).abs().square() / sigma).sum(-1)
            pull = 2 * ((a * other).conj() * off / sigma).sum(-1).real
            gain = 0.5 * pull.square() / (1 + gram) - 0.5 * torch.log1p(gram)
            inner.append(gain - (off.abs().square() / sigma).sum(-1))
        over = (torch.stack(inner) + fine_share[:, None]).logsumexp(0)
        scores.append(over + share[list(at_)].sum())
    scores = [score - torch.log(torch.pi * sigma).sum() for score in scores]
    return torch.stack(scores).logsumexp(0)


def test_evidence_is_that_of_finite_poses() -> None:
    """A sum over rotations, shifts, contrasts and latents, each rendered exactly."""
    torch.manual_seed(1)
    poses, spread = PoseErrors(0.02, 0.03, 0.1), 0.15
    cube = torch.from_numpy(Rotation.create_group("O").as_matrix())[[1, 5, 9, 14]].float()
    scales, which = (6.0, 3.0), (slice(0, 3), slice(0, 1))
    at = LATTICE.coordinates.double()
    values = torch.stack(
        [s * transform(at, w) for s, w in zip(scales, which, strict=True)],
        dim=-1,
    ).to(torch.complex64)
    values = values * LATTICE.inside[:, None]
    flat = torch.cat([DISC.coordinates, torch.zeros(DISC.size, 1)], dim=1).double()
    part = images_of(4, 1, cube.contiguous())

    def render(turns: Tensor, shifts: Tensor) -> list[Tensor]:
        points = flat @ turned(cube.double(), turns.expand(4, 3))
        phases = shift_phases(DISC, shifts.expand(4, 2)).to(torch.complex128)
        return [s * transform(points, w) * phases for s, w in zip(scales, which, strict=True)]

    transfer = part.weights.sqrt().double()
    shown = torch.tensor(poses.deviations).double() * torch.tensor([0.8, -0.6, 0.9, 0.7, -0.8])
    mean, other = render(shown[:3], shown[3:])
    clean = 1.1 * (mean + 0.5 * other) * transfer
    sigma = NOISE[DISC.shells].double()
    noise = torch.randn(4, DISC.size, dtype=torch.complex128) * sigma.sqrt()
    image = clean + noise
    part = FilteredImages(
        part.index,
        part.owner,
        (image * transfer).to(torch.complex64),
        part.weights,
        torch.zeros(4, 6).index_add(1, DISC.shells, image.abs().square().float())[:, 1:],
        part.rotations,
        part.rows,
    )
    expected = summed(
        image, lambda w, t: [transfer * row for row in render(w, t)], sigma, poses, spread
    )
    nuisances = Nuisances(poses, Contrast(spread))
    hypothesis = Hypothesis(LATTICE, values, NOISE, ExactGaussian(1), nuisances)
    believing = Hypothesis(LATTICE, values, NOISE, ExactGaussian(1))
    found = Settling.of(hypothesis).explain(part)
    torch.testing.assert_close(found.evidence.double(), expected, rtol=0, atol=0.15)
    # and not what it is at the recorded poses
    assert (believing.explain(part).evidence - expected).abs().mean() > 0.5
    # the poses are found, to within what the posterior says of itself
    mean, covariance = found.best(), found.errors[1]
    off = (mean - shown.float()) / covariance.diagonal(dim1=1, dim2=2).sqrt()
    assert off.square().mean() < 2.5


def test_a_common_turn_of_poses_and_volumes_changes_nothing() -> None:
    values, cube = volumes(1), torch.from_numpy(Rotation.create_group("O").as_matrix()).float()
    common = cube[7]
    part = images_of(6, 1, cube[:6].contiguous())
    grid = LATTICE.coordinates @ common
    turned_values = slice_values(values, grid)
    nuisances = Nuisances(POSES, Contrast(0.1))
    moved = 0.02 * torch.randn(6, 5)
    rotations = (part.rotations @ common.T).contiguous()
    # values are those of V(q common), so that poses R commonᵀ see what R saw of V
    other = FilteredImages(
        part.index, part.owner, part.images, part.weights, part.power, rotations, part.rows
    )
    here = Hypothesis(LATTICE, values, NOISE, ExactGaussian(0), nuisances).explain(part, moved)
    there = Hypothesis(LATTICE, turned_values, NOISE, ExactGaussian(0), nuisances)
    assert (there.explain(other, 0 * moved).evidence - here.evidence).abs().max() > 0.01
    # moves are in the images' frames, and so the same; but voxels are where rounding puts them
    still = torch.zeros_like(moved)
    here = Hypothesis(LATTICE, values, NOISE, ExactGaussian(0), nuisances).explain(part, still)
    found = there.explain(other, still)
    torch.testing.assert_close(found.evidence, here.evidence, rtol=1e-5, atol=0.05)
    torch.testing.assert_close(found.best(), here.best(), rtol=0.02, atol=2e-3)


def slice_values(values: Tensor, points: Tensor) -> Tensor:
    """Values at turned voxels, each of which is a voxel."""
    reach, scale = LATTICE.reach, LATTICE.oversampling
    x, y, z = (points * scale).round().long().unbind(-1)
    flipped = x < 0
    x, y, z = (torch.where(flipped, -c, c) for c in (x, y, z))
    inside = (x <= reach) & (y.abs() <= reach) & (z.abs() <= reach)
    side, row = 2 * reach + 1, reach + 1
    flat = ((z + reach) * side + y + reach) * row + x
    found = values[flat.clamp(0, len(values) - 1)]
    found = torch.where(flipped[:, None], found.conj(), found)
    return (found * inside[:, None]).contiguous()


def test_moves_follow_one_another() -> None:
    first, second = 0.2 * torch.randn(2, 5, 5)
    rotations = clear_rotations(5, LATTICE)
    both = moved_on(first, second)
    step_by_step = turned(turned(rotations, first[:, :3]), second[:, :3])
    torch.testing.assert_close(turned(rotations, both[:, :3]), step_by_step, rtol=0, atol=1e-5)
    torch.testing.assert_close(both[:, 3:], first[:, 3:] + second[:, 3:])


def test_moved_images_are_those_of_displaced_particles() -> None:
    part = images_of(3, 1, clear_rotations(3, LATTICE))
    shifts = torch.randn(3, 2)
    there = part.moved(torch.zeros(3, 3), shifts, DISC)
    expected = part.images * shift_phases(DISC, -shifts)
    torch.testing.assert_close(there.images, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(there.rotations, part.rotations, rtol=0, atol=1e-6)


def test_structureless_images_have_the_evidence_of_their_power() -> None:
    """Coefficients ``C s + ε`` are normal with variance ``C² S + σ²``."""
    transfer, spectrum = 0.2 + torch.rand(4, DISC.size), 0.1 + torch.rand(DISC.size)
    noise = NOISE[DISC.shells]
    image = torch.randn(4, DISC.size, dtype=torch.complex64)

    def density(variance: Tensor) -> Tensor:
        return -(image.abs().square() / variance + torch.log(torch.pi * variance)).sum(-1)

    power = (transfer * image).abs().square()
    found = junk_gains(power, transfer.square(), noise, spectrum)
    expected = density(transfer.square() * spectrum + noise) - density(noise.expand(4, -1))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    # the expected power is what many draws of s given x have
    total = transfer.square() * spectrum + noise
    mean, variance = transfer * spectrum / total * image, spectrum * noise / total
    expected = mean.abs().square() + variance
    torch.testing.assert_close(junk_power(power, transfer.square(), noise, spectrum), expected)


def test_draws_have_the_posterior_of_poses() -> None:
    """Means and variances of what is drawn, states and contrasts integrated out by drawing them."""
    torch.manual_seed(5)
    for kind in ("exact", "categorical"):
        found, *_ = explained(kind, 0.1, 1, moves=False)
        mean, covariance = found.errors
        draws = []
        for _ in range(3000):
            normal, errors = torch.randn(4, 4), torch.randn(4, 5)
            base, _, beta = found.by.posterior.drawn(found.moments, normal)
            draws.append(found.poses.drawn(beta, base, errors) * found.by.deviations)
        drawn = torch.stack(draws)
        width = covariance.diagonal(dim1=1, dim2=2).sqrt()
        assert ((drawn.mean(0) - mean) / width).abs().max() < 0.1
        torch.testing.assert_close(drawn.std(0), width, rtol=0.1, atol=0)
