"""Every posterior of poses by the same contract, and poses looked for everywhere."""

from dataclasses import replace
from math import log
from pathlib import Path

import pytest
import roma
import torch

from builders import random_rotations, small_stack
from cryolatent.analysis.export import export_poses
from cryolatent.data import FilteredImages, open_particles
from cryolatent.models import Categorical, ExactGaussian, FourierGaussian
from cryolatent.models.beliefs import Beliefs
from cryolatent.models.everywhere import Everywhere, Look, pose_posterior
from cryolatent.models.hypothesis import Explained, Hypothesis
from cryolatent.models.nuisances import FOUND, LOG_FOUND, Nuisances, PoseErrors
from cryolatent.models.settling import Settling
from cryolatent.physics import (
    SHIFTS,
    FourierDisc,
    FourierLattice,
    Interpolation,
    Poses,
    displaced,
    plane_rotation,
    quarter_turn,
    slice_lattice,
    soft_sphere,
    turn_between,
    turned,
)

DISC = FourierDisc(16, 5, by_shell=True)
LATTICE = FourierLattice(DISC)
NOISE = torch.full((DISC.radius + 1,), 0.2)
ERRORS = PoseErrors(0.05, 0.05, 0.5)
DOUBTS = {
    "recorded": Nuisances(),
    "local": Nuisances(ERRORS),
    "global": Nuisances(ERRORS, lost=0.2),
}
QUARTER = torch.eye(3)
QUARTER[:2, :2] = plane_rotation(torch.tensor(90.0))


def hypothesis_of(nuisances: Nuisances, posterior: object = None) -> Hypothesis:
    generator = torch.Generator().manual_seed(5)
    posterior = posterior or ExactGaussian(0)
    count = 3 if posterior.independent else posterior.z_dim + 1
    volumes = torch.randn(count, 16, 16, 16, generator=generator) * soft_sphere(16, 1.0, 5.0, 2.0)
    smooth = torch.exp(-(LATTICE.frequency**2) / 8)[:, None]
    return Hypothesis(LATTICE, LATTICE.from_volumes(volumes) * smooth, NOISE, posterior, nuisances)


def part_of(images: torch.Tensor, rotations: torch.Tensor) -> FilteredImages:
    numbers, power = torch.arange(len(images)), torch.zeros(len(images), DISC.radius + 1)
    power.index_add_(1, DISC.shells, images.abs().square())
    weights = torch.ones(images.shape)
    return FilteredImages(numbers, numbers, images, weights, power[:, 1:], rotations, numbers)


def seen(hypothesis: Hypothesis, rotations: torch.Tensor, shifts: torch.Tensor) -> torch.Tensor:
    values = hypothesis.values[:, :1]
    slices = slice_lattice(values, rotations, LATTICE, Interpolation.NEAREST)[..., 0]
    noise = torch.randn(slices.shape, dtype=torch.complex64) * NOISE[DISC.shells].sqrt()
    return displaced(slices, shifts, DISC) + noise


def found_poses(found: Explained, recorded: torch.Tensor) -> Poses:
    return Beliefs.of(found).refined(Poses(recorded, torch.zeros(len(recorded), 2)), 1.0)


def degrees(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    return torch.rad2deg(roma.rotmat_geodesic_distance(first.double(), second.double())).float()


@pytest.fixture
def recorded() -> tuple[torch.Tensor, torch.Tensor]:
    """True rotations, and recorded ones of which a quarter is any rotation."""
    true = random_rotations(40)
    noted = turned(true, 0.05 * torch.randn(40, 3))
    noted[:10] = random_rotations(10)
    return true, noted


def test_what_is_doubted_says_where_poses_are_looked_for() -> None:
    kinds = {name: pose_posterior(hypothesis_of(doubt)) for name, doubt in DOUBTS.items()}
    assert isinstance(kinds["global"], Everywhere)
    for name in ("recorded", "local"):
        assert isinstance(kinds[name], Settling)
    assert len(kinds["recorded"].steps) == 1


@pytest.mark.parametrize("kind", DOUBTS)
def test_the_pose_turns_with_the_image(kind: str, recorded: tuple) -> None:
    true, noted = recorded
    hypothesis = hypothesis_of(DOUBTS[kind])
    images = seen(hypothesis, true, 0.5 * torch.randn(40, 2))
    posterior = pose_posterior(hypothesis)
    before = posterior.explain(part_of(images, noted))
    after = posterior.explain(part_of(quarter_turn(images, DISC), QUARTER @ noted))
    there = found_poses(after, QUARTER @ noted)
    expected = QUARTER @ found_poses(before, noted).rotations
    # rounding may read other voxels, and which of two poses is the better one may hang on that
    off = degrees(there.rotations, expected)
    assert off.median() < 0.05
    assert (off < 1).float().mean() > 0.9
    torch.testing.assert_close(
        after.evidence.median(), before.evidence.median(), rtol=1e-3, atol=0.0
    )


@pytest.mark.parametrize("kind", DOUBTS)
def test_what_is_recorded_of_shifts_is_where_they_are_counted_from(
    kind: str, recorded: tuple
) -> None:
    true, noted = recorded
    hypothesis = hypothesis_of(DOUBTS[kind])
    images = seen(hypothesis, true, torch.zeros(40, 2))
    posterior, move = pose_posterior(hypothesis), torch.tensor([1.5, -0.5]).expand(40, 2)
    plain = posterior.explain(part_of(images, noted))
    # an image moved, and recorded so, is the same image once it is moved back
    back = displaced(displaced(images, move, DISC), -move, DISC)
    again = posterior.explain(part_of(back, noted))
    torch.testing.assert_close(
        found_poses(again, noted).rotations.median(), found_poses(plain, noted).rotations.median()
    )
    if kind != "recorded":
        small = displaced(images, torch.tensor([0.3, 0.0]).expand(40, 2), DISC)
        moved = Beliefs.of(posterior.explain(part_of(small, noted))).moved[:, SHIFTS]
        moved = moved - Beliefs.of(plain).moved[:, SHIFTS]
        assert moved.median(0).values.tolist() == pytest.approx([0.3, 0.0], abs=0.06)


@pytest.mark.parametrize("posterior", [ExactGaussian(0), ExactGaussian(2), Categorical(3)])
def test_lost_orientations_are_found_and_others_stay(posterior: object, recorded: tuple) -> None:
    true, noted = recorded
    hypothesis = hypothesis_of(DOUBTS["global"], posterior)
    images = seen(hypothesis, true, 0.5 * torch.randn(40, 2))
    found = pose_posterior(hypothesis).explain(part_of(images, noted))
    off = degrees(found_poses(found, noted).rotations, true)
    assert (off[:10] < 12).float().mean() > 0.85
    assert (off[10:] < 12).float().mean() > 0.95
    placing = found.part.placing
    assert placing is not None
    assert placing.lost[:10].float().mean() > 0.85
    assert placing.lost[10:].float().mean() < 0.1
    # without a search they are where they were
    near = Settling.of(hypothesis.under(DOUBTS["local"])).explain(part_of(images, noted))
    assert (degrees(found_poses(near, noted).rotations, true)[:10] < 12).float().mean() < 0.3
    # the evidence is that of both kinds of prior together
    judged = Everywhere.of(hypothesis).look(part_of(images, noted))
    both = torch.logaddexp(judged.near + log(0.8), judged.elsewhere.logsumexp(1) + log(0.2))
    gap = found.kinds[:, 0] - both
    assert gap.abs().median() < 0.5
    assert gap.abs().max() < 6


def test_the_uniform_density_is_that_of_random_rotations() -> None:
    anywhere = roma.random_rotmat(100_000)
    angle = degrees(anywhere, torch.eye(3).expand_as(anywhere)).deg2rad()
    # a ball of rotation vectors, but for the curvature of the sphere of rotations
    ball = 4 / 3 * torch.pi * 0.5**3 * (1 - 0.5**2 / 20)
    density = float((angle < 0.5).float().mean()) / ball
    widths = torch.tensor(FOUND.deviations[:3]).double()
    normal = float(
        torch.distributions.Normal(torch.zeros(3).double(), widths)
        .log_prob(torch.zeros(3).double())
        .sum()
    )
    assert LOG_FOUND + normal == pytest.approx(log(density), abs=0.1)


def test_places_are_weighed_by_their_evidence_and_prior() -> None:
    near, there = torch.tensor([5.0, 0.0, 5.0]), torch.tensor([[0.0, 0.0], [9.0, 9.0], [6.0, 0.0]])
    moves = torch.randn(3, 2, 5)
    look = Look(near, there, moves, torch.full((3,), -torch.inf))
    placing = look.placing(0.1)
    assert placing.lost.tolist() == [False, True, False]
    assert torch.equal(placing.moves[1], moves[1, 0])
    assert not placing.moves[[0, 2]].any()
    stays = log(0.9) - torch.log_softmax(torch.tensor([5 + log(0.9), log(0.1), log(0.1)]), 0)[0]
    assert float(placing.log_prior[0]) == pytest.approx(float(stays), abs=1e-5)
    # two candidates alike: half of the evidence is the other one's
    assert float(placing.log_prior[1]) == pytest.approx(log(0.1) + LOG_FOUND + log(2), abs=1e-3)


def test_the_share_of_lost_orientations_is_fitted_to_those_that_show_a_particle() -> None:
    far = torch.tensor([-50.0] * 70 + [50.0] * 30)
    rival = torch.full((100,), -torch.inf)
    look = Look(torch.zeros(100), far[:, None], torch.zeros(100, 1, 5), rival)
    assert look.fitted(0.5) == pytest.approx(0.3, abs=0.01)
    # half of the lost ones show nothing
    rival[85:] = 500.0
    assert replace(look, rival=rival).fitted(0.5) == pytest.approx(15 / 85, abs=0.01)


def test_a_turn_between_rotations_leads_from_one_to_the_other() -> None:
    first, second = random_rotations(50), random_rotations(50)
    torch.testing.assert_close(turned(first, turn_between(first, second)), second)


@pytest.mark.parametrize("kind", DOUBTS)
def test_a_saved_likelihood_reads_as_before(kind: str, recorded: tuple) -> None:
    true, noted = recorded
    hypothesis = hypothesis_of(DOUBTS[kind])
    part = part_of(seen(hypothesis, true, torch.zeros(40, 2)), noted)
    flat = torch.ones(DISC.radius + 1)
    saved = FourierGaussian(DISC, NOISE, flat, hypothesis.nuisances).state_dict()
    restored = FourierGaussian(DISC, flat, flat)
    restored.load_state_dict(saved)
    again = hypothesis.under(restored.nuisances)
    first, second = (pose_posterior(h).explain(part) for h in (hypothesis, again))
    assert torch.equal(first.evidence, second.evidence)
    # one of before there was such a share
    del saved["lost_share"]
    older = FourierGaussian(DISC, flat, flat)
    older.load_state_dict(saved)
    assert older.nuisances == replace(restored.nuisances, lost=0.0)


def test_poses_found_keep_their_conventions_in_a_file(tmp_path: Path) -> None:
    stack = small_stack(tmp_path / "data", particles=12)
    poses = Poses(random_rotations(12), 9 * torch.randn(12, 2))
    export_poses(stack, poses, tmp_path / "found.star")
    again = open_particles(tmp_path / "found.star", datadir=stack.source.parent).poses
    assert degrees(again.rotations, poses.rotations).max() < 0.01
    torch.testing.assert_close(again.shifts_angstrom, poses.shifts_angstrom, atol=1e-4, rtol=1e-4)
