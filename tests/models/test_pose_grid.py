"""Posteriors over a grid of poses, against the expectation step of single poses."""

from dataclasses import replace
from math import log

import pytest
import torch

from builders import are_clear, random_rotations
from cryolatent.data import FilteredImages
from cryolatent.models import Categorical, ExactGaussian
from cryolatent.models.hypothesis import Hypothesis
from cryolatent.models.located import PoseSearch, placed
from cryolatent.models.pose_grid import GridPosterior, PoseGrid, chosen
from cryolatent.models.posteriors.exact import ClosedForm
from cryolatent.physics import (
    FourierDisc,
    FourierLattice,
    Interpolation,
    displaced,
    plane_rotation,
    quarter_turn,
    slice_lattice,
    soft_sphere,
)

DISC = FourierDisc(16, 5, by_shell=True)
LATTICE = FourierLattice(DISC)
NOISE = 0.2 + 0.1 * torch.rand(DISC.radius + 1, generator=torch.Generator().manual_seed(0))
GRID = PoseGrid.of(30.0, 1.5, 1.0, 0.8)


def posterior_of(kind: str) -> ClosedForm:
    kinds = {
        "consensus": lambda: Categorical(1),
        "mean alone": lambda: ExactGaussian(0),
        "states": lambda: Categorical(3, torch.tensor([0.5, 0.3, 0.2]).log()),
        "subspace": lambda: ExactGaussian(2),
    }
    return kinds[kind]()


def hypothesis_of(kind: str) -> Hypothesis:
    posterior = posterior_of(kind)
    count = len(posterior.log_weights) if posterior.independent else posterior.z_dim + 1
    volumes = torch.randn(count, 16, 16, 16) * soft_sphere(16, 1.0, 5.0, 2.0)
    return Hypothesis(LATTICE, LATTICE.from_volumes(volumes), NOISE, posterior)


def part_of(images: torch.Tensor, transfer: torch.Tensor | float = 1.0) -> FilteredImages:
    count = len(images)
    transfer = torch.as_tensor(transfer).expand(images.shape)
    power = torch.zeros(count, DISC.radius + 1)
    power.index_add_(1, DISC.shells, images.abs().square())
    numbers = torch.arange(count)
    return FilteredImages(
        numbers,
        numbers,
        images * transfer,
        transfer.square().contiguous(),
        power[:, 1:],
        torch.eye(3).repeat(count, 1, 1),
        numbers,
    )


def noise_images(count: int) -> torch.Tensor:
    return torch.randn(count, DISC.size, dtype=torch.complex64) * NOISE[DISC.shells].sqrt()


def seen(hypothesis: Hypothesis, rotations: torch.Tensor, shifts: torch.Tensor) -> torch.Tensor:
    """Images of the first volume, with noise."""
    values = hypothesis.values[:, :1]
    slices = slice_lattice(values, rotations, LATTICE, Interpolation.NEAREST)[..., 0]
    return displaced(slices, shifts, DISC) + noise_images(len(rotations))


@pytest.mark.parametrize("kind", ["consensus", "mean alone", "states", "subspace"])
def test_every_pose_is_judged_as_the_expectation_step_judges_it(kind: str) -> None:
    hypothesis = hypothesis_of(kind)
    part = part_of(noise_images(3), 0.3 + torch.rand(3, DISC.size))
    posterior = GridPosterior(hypothesis, GRID)
    joint = posterior.log_joint(part)
    orientations = GRID.orientations.rotations
    assert joint.shape == (3, len(GRID.shifts), 2, len(orientations))
    clear = torch.nonzero(are_clear(orientations, LATTICE, 1e-4))[:, 0]
    clear = clear[torch.linspace(0, len(clear) - 1, 20).long()]
    everywhere = torch.cartesian_prod(torch.arange(len(GRID.shifts)), torch.arange(2), clear)
    shift, half, orientation = everywhere.unbind(-1)
    rotations = GRID.orientations.at(orientation + half * len(orientations))
    many = placed(part, rotations.expand(3, -1, -1, -1), GRID.shifts[shift].expand(3, -1, -1), DISC)
    evidence = hypothesis.explain(many).evidence.view(3, -1) - hypothesis.empty(part)[:, None]
    prior = GRID.log_shift_prior()[shift] - log(len(GRID.orientations))
    found = joint[:, shift, half, orientation]
    assert (found - evidence - prior).abs().max() < 1e-4 * found.abs().max().clamp(min=10)


def test_candidates_hold_what_the_whole_grid_says() -> None:
    hypothesis = hypothesis_of("states")
    part = part_of(noise_images(4))
    posterior = GridPosterior(hypothesis, GRID)
    every = posterior.candidates(part, len(GRID.orientations))
    joint = posterior.log_joint(part)
    assert torch.allclose(every.log_weights.logsumexp(1), torch.zeros(4), atol=1e-4)
    expected = joint.flatten(1).logsumexp(1) + hypothesis.empty(part)
    assert torch.allclose(every.evidence, expected, rtol=1e-5)
    best = joint.logsumexp(1).flatten(1).max(1).values
    few = posterior.candidates(part, 2)
    assert torch.allclose(few.log_weights[:, 0], best - joint.flatten(1).logsumexp(1), atol=1e-3)
    assert torch.equal(few.rotations, every.rotations[:, :2])


def test_an_image_turned_by_a_quarter_has_its_posterior_turned() -> None:
    hypothesis, grid = hypothesis_of("consensus"), replace(GRID, shifts=torch.zeros(1, 2))
    images = seen(hypothesis, random_rotations(4), torch.zeros(4, 2))
    posterior = GridPosterior(hypothesis, grid)
    before = posterior.candidates(part_of(images), 1)
    after = posterior.candidates(part_of(quarter_turn(images, DISC)), 1)
    turn = torch.eye(3)
    turn[:2, :2] = plane_rotation(torch.tensor(90.0))
    assert torch.allclose(after.rotations[:, 0], turn @ before.rotations[:, 0], atol=1e-5)
    assert torch.allclose(after.evidence, before.evidence, rtol=1e-4)


def test_an_image_moved_by_a_pixel_has_its_posterior_moved() -> None:
    hypothesis = hypothesis_of("consensus")
    images = seen(hypothesis, random_rotations(4), torch.zeros(4, 2))
    posterior = GridPosterior(hypothesis, replace(GRID, shift_deviation=1e3))
    moved = displaced(images, torch.tensor([1.0, 0.0]).expand(4, 2), DISC)
    before, after = (posterior.log_joint(part_of(x)) for x in (images, moved))
    place = {tuple(shift): n for n, shift in enumerate(GRID.shifts.tolist())}
    pairs = [(n, place[x + 1, y]) for (x, y), n in place.items() if (x + 1, y) in place]
    assert len(pairs) == 6
    for here, there in pairs:
        assert torch.allclose(before[:, here], after[:, there], atol=0.02)


def test_recorded_rotations_are_a_prior() -> None:
    hypothesis = hypothesis_of("consensus")
    grid = replace(GRID, turn_deviation=0.2)
    recorded = random_rotations(5)
    part = replace(part_of(noise_images(5) * 1e-3), rotations=recorded)
    prior = grid.log_turn_prior(recorded)
    assert torch.allclose(prior.flatten(1).exp().sum(1), torch.ones(5), atol=1e-4)
    faint = replace(hypothesis, values=1e-4 * hypothesis.values)
    found = GridPosterior(faint, grid).candidates(part, 1).rotations[:, 0]
    assert degrees(found, recorded).max() < 0.87 * 30


def test_true_poses_are_found_to_within_a_cell_and_then_closely() -> None:
    hypothesis = hypothesis_of("consensus")
    smooth = 3 * torch.exp(-(LATTICE.frequency**2) / 8)[:, None]
    hypothesis = replace(hypothesis, values=hypothesis.values * smooth)
    true, shifts = random_rotations(60), 0.7 * torch.randn(60, 2)
    part = part_of(seen(hypothesis, true, shifts))
    small = FourierLattice(DISC.within(4))
    values, noise = LATTICE.cropped(hypothesis.values, small), hypothesis.noise[:5]
    few = replace(hypothesis, lattice=small, values=values, noise=noise)
    search = PoseSearch(GridPosterior(few, PoseGrid.of(15.0, 2.0, 1.0, 0.7)), hypothesis, 4)
    found = search.locate(part, search.settling())
    best, shown = found.best()
    off = degrees(found.starts[0][:, 0], true)
    assert (off < 1.3 * 15).float().mean() > 0.9
    among = torch.stack([degrees(found.starts[0][:, n], true) for n in range(4)], dim=1)
    assert (among.amin(1) < 0.87 * 15).float().mean() > 0.95
    near = degrees(best, true)
    assert near.median() < 0.4 * off.median()
    assert (near < 10).float().mean() > 0.95
    assert (shown - shifts)[near < 10].square().mean().sqrt() < 0.2
    assert torch.allclose(found.log_weights.logsumexp(1), torch.zeros(60), atol=1e-5)


def degrees(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    return torch.rad2deg((((first * second).sum((1, 2)) - 1) / 2).clamp(-1, 1).acos())


def test_few_particles_are_chosen_with_all_that_belongs_to_them() -> None:
    part = part_of(noise_images(5))
    few = chosen(part, torch.tensor([3, 1]))
    assert few.index.tolist() == few.rows.tolist() == [3, 1]
    assert few.owner.tolist() == [0, 1]
    assert torch.equal(few.images, part.images[[3, 1]])
    several = replace(part, owner=torch.tensor([0, 0, 1, 1, 2]), index=torch.arange(3))
    with pytest.raises(ValueError, match="several images"):
        next(GridPosterior(hypothesis_of("consensus"), GRID).parts(several))
