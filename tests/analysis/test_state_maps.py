"""Maps of states from their own particles, by one numbering."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from builders import exact_config, small_stack
from cryolatent.analysis import local_volumes
from cryolatent.analysis.clusters import Clusters, clusters_of, find_clusters
from cryolatent.analysis.groups import describe_groups, population
from cryolatent.analysis.state_maps import (
    LEAST_SHARE,
    halved_members,
    own_members,
    write_state_maps,
)
from cryolatent.data import ParticleStack
from cryolatent.errors import InputError
from cryolatent.io import read_volume
from cryolatent.models import FullNormal, OneOf
from cryolatent.models.beliefs import Beliefs
from cryolatent.models.latents import Latents
from cryolatent.physics import fourier_shell_correlation
from cryolatent.runs.manifest import Manifest
from cryolatent.runs.run import Run
from cryolatent.sessions.crossfit import CrossFit
from cryolatent.simulate.truth import Truth
from cryolatent.train.recorder import STATES, Checkpoint

SHOWN = (3, 0)
"""True state that is the run's state 0, and that which is its state 1."""


def one_of(shares: torch.Tensor) -> OneOf:
    return OneOf(shares, torch.full_like(shares, -np.log(shares.shape[1])))


def run_of(
    folder: Path, stack: ParticleStack, shares: torch.Tensor, beliefs: Beliefs | None = None
) -> Run:
    """A finished run whose states are given."""
    config, manifest = exact_config("categorical"), Manifest.of(stack, seed=0, threads=1)
    run = Run.create(folder, config, manifest, Checkpoint({}, {"epoch": 0}, shares.shape[1]))
    zeros = torch.zeros(len(stack))
    run.write_latents(Latents(stack.ids, one_of(shares), zeros, zeros, beliefs=beliefs))
    run.set_status("finished")
    return Run.open(folder)


def doubted(real: torch.Tensor) -> Beliefs:
    """What is believed of particles at their recorded poses, some of which are none."""
    count, still = len(real), torch.zeros(len(real), 5)
    kinds = torch.stack([real, 1 - real, torch.zeros(count)], dim=-1)
    covariance = 1e-4 * torch.eye(5).expand(count, -1, -1)
    ones = torch.ones(count)
    return Beliefs(kinds, ones, 0.1 * ones, ones.long(), still, covariance)


@dataclass(frozen=True)
class Known:
    """Particles of two states, fewer of the run's state 0 than of its state 1."""

    stack: ParticleStack
    truth: Truth
    shares: torch.Tensor

    def fsc(self, path: Path, state: int) -> float:
        volume = torch.from_numpy(read_volume(path)[0])
        return float(
            fourier_shell_correlation(volume, self.truth.volumes[SHOWN[state]])[1:9].mean()
        )


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Known:
    folder = tmp_path_factory.mktemp("known")
    stack = small_stack(folder / "data", particles=1200, box=32, pixel_size=9.0, snr=0.3)
    truth = Truth.load(folder / "data" / "truth")
    first, second = (np.flatnonzero(truth.state == state) for state in SHOWN)
    chosen = torch.from_numpy(np.sort(np.concatenate([first[:200], second])))
    is_first = torch.from_numpy(truth.state)[chosen] == SHOWN[0]
    shares = torch.stack([is_first, ~is_first], dim=-1).float()
    return Known(stack.select(chosen), truth, 0.9 * shares + 0.05)


def test_a_state_keeps_its_number_in_every_file(known: Known, tmp_path: Path) -> None:
    run = run_of(tmp_path / "run", known.stack, known.shares)
    groups = clusters_of(run, None, seed=0)
    (tmp_path / "maps").mkdir()
    made = write_state_maps(
        own_members(run, groups), groups.labels, tmp_path / "maps", "state", relative_to=tmp_path
    )
    volumes = local_volumes(run, tmp_path / "volumes").volumes
    sizes = [cluster.size for cluster in describe_groups(run.latents(), groups)]
    assert sizes[0] == 200 < sizes[1]
    for state in (0, 1):
        assert made[state] is not None
        assert made[state][0].file == f"maps/state_{state}.mrc"
        path = tmp_path / "maps" / f"state_{state}.mrc"
        assert known.fsc(path, state) > known.fsc(path, 1 - state) + 0.02
        assert (volumes[state].number, volumes[state].file) == (state, f"state_{state}.mrc")
        again = read_volume(tmp_path / "volumes" / f"state_{state}.mrc")[0]
        np.testing.assert_array_equal(again, read_volume(path)[0])
    # all are known as well as these: 5 % of the weight is of the others
    own, weight = 0.95 * 200, 0.95 * 200 + 0.05 * sizes[1]
    assert made[0][0].others == pytest.approx(1 - own / weight, abs=1e-6)


def test_what_is_no_particle_counts_for_nothing(known: Known, tmp_path: Path) -> None:
    real = (torch.arange(len(known.stack)) % 3 > 0).float()
    run = run_of(tmp_path / "run", known.stack, known.shares, doubted(real))
    groups = clusters_of(run, None, seed=0)
    members = own_members(run, groups)
    assert bool((members.weights[real == 0] == 0).all())
    torch.testing.assert_close(members.weights[real == 1], known.shares[real == 1])
    rows = describe_groups(run.latents(), groups)
    expected = known.shares[real == 1].mean(0)
    for row, share in zip(rows, expected.tolist(), strict=True):
        assert row.population is not None
        assert row.population.value == pytest.approx(share, abs=1e-6)
        assert row.population.low < share < row.population.high


def test_the_interval_of_a_population_is_that_of_counting() -> None:
    share = np.repeat([1.0, 0.0], [300, 700])
    found = population(share, np.ones(1000))
    deviation = np.sqrt(0.3 * 0.7 / 1000)
    assert found.high - found.low == pytest.approx(2 * 1.96 * deviation, rel=0.1)


def test_probabilities_of_hardly_anything_are_left_out(known: Known, tmp_path: Path) -> None:
    shares = torch.where(known.shares > 0.5, 1 - 0.9 * LEAST_SHARE, 0.9 * LEAST_SHARE)
    run = run_of(tmp_path / "run", known.stack, shares)
    weights = own_members(run, clusters_of(run, None, seed=0)).weights
    assert ((weights > 0).sum(1) == 1).all()


def test_halves_keep_their_own_beliefs_and_the_runs_numbers(known: Known, tmp_path: Path) -> None:
    """Each half's model has the states in an order of its own, and its own refined poses."""
    stack = known.stack
    run = run_of(tmp_path / "run", stack, known.shares)
    halves = stack.split(run.config.session.seed)
    volumes, models = known.truth.volumes[list(SHOWN)], []
    own = (torch.tensor([1, 0]), torch.tensor([0, 1]))
    for number, half in enumerate(halves):
        beliefs = doubted(torch.ones(len(half)))
        beliefs.moved[:, 3] = 0.5 + number
        # column j is the run's state own[j]
        believed = (0.6 + 0.2 * number) * known.shares[half][:, own[number]]
        models.append(run_of(tmp_path / f"half{number}", stack.select(half), believed, beliefs))
    # in the first half's order, into which the second's was brought
    orders = (torch.arange(2), torch.tensor([1, 0]))
    flipped = volumes[[1, 0]]
    found = CrossFit(
        (models[0], models[1]),
        halves,
        orders,
        torch.stack([flipped, flipped]),
        torch.ones(2, 2),
        torch.ones(2, 16),
    )
    members = halved_members(run, found, volumes)
    assert members.independent
    pixel = stack.pixel_size_angstrom
    for number, half in enumerate(halves):
        expected = (0.6 + 0.2 * number) * known.shares[half]
        torch.testing.assert_close(members.weights[half], expected)
        moved = members.stack.poses.shifts_angstrom[half] - stack.poses.shifts_angstrom[half]
        torch.testing.assert_close(moved[:, 0], torch.full((len(half),), (0.5 + number) * pixel))


def test_a_window_stays_in_its_state(known: Known, tmp_path: Path) -> None:
    """States read beside a continuous latent that hardly tells them apart."""
    count = len(known.stack)
    z = torch.linspace(-1, 1, count)[:, None]
    run = run_of(tmp_path / "run", known.stack, torch.ones(count, 1))
    zeros = torch.zeros(count)
    run.write_latents(
        Latents(known.stack.ids, FullNormal(z, torch.eye(1).expand(count, 1, 1)), zeros, zeros)
    )
    few = torch.arange(count) < 90
    states = one_of(torch.stack([few, ~few], dim=-1).float())
    run.write_latents(Latents(known.stack.ids, states, zeros, zeros), STATES)
    name = str(known.stack.ids[40])
    with pytest.raises(InputError, match=r"% of whose weight is of other states .* 0 of 90 part"):
        local_volumes(run, tmp_path / "out", at=(name,), effective=count // 2)
    assert not (tmp_path / "out").exists()
    made = local_volumes(run, tmp_path / "out", at=(name,)).volumes[0]
    assert made.others is not None
    assert made.others <= 0.2
    assert made.effective_particles < 120


def test_as_many_clusters_as_states_are_the_states(known: Known, tmp_path: Path) -> None:
    count, zeros = len(known.stack), torch.zeros(len(known.stack))
    run = run_of(tmp_path / "run", known.stack, torch.ones(count, 1))
    q = FullNormal(torch.randn(count, 2), torch.eye(2).expand(count, 2, 2))
    run.write_latents(Latents(known.stack.ids, q, zeros, zeros))
    run.write_latents(Latents(known.stack.ids, one_of(known.shares), zeros, zeros), STATES)
    for asked, are_states in ((None, True), (2, True), (3, False)):
        assert clusters_of(run, asked, seed=0).are_states == are_states
    labels = clusters_of(run, 2, seed=0).labels
    assert (labels == known.shares.argmax(1).numpy()).all()


def test_a_state_that_nobody_prefers_keeps_its_number() -> None:
    shares = torch.tensor([[0.2, 0.3, 0.5], [0.1, 0.8, 0.1], [0.0, 0.1, 0.9]])
    groups: Clusters = find_clusters(one_of(shares), 2, seed=0)
    assert groups.labels.tolist() == [2, 1, 2]
    assert groups.medoids.tolist() == [0, 1, 2]
    assert torch.equal(groups.shares, shares)
