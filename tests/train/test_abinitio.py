"""Volumes and poses from images of which no pose is known."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from builders import small_stack, spectra, tilt_series
from cryolatent.analysis.pose_alignment import align_poses
from cryolatent.data import FilteredStack, ParticleStack
from cryolatent.data.backprojection import backproject
from cryolatent.errors import InputError
from cryolatent.models.contrast import ONE
from cryolatent.models.pose_grid import GridPosterior
from cryolatent.physics import NormalEquations, fourier_shell_correlation
from cryolatent.simulate.truth import Truth
from cryolatent.train import Watch
from cryolatent.train.abinitio.consensus import random_consensus
from cryolatent.train.abinitio.search import AbInitioSearch, Halt, Plan, unposed
from cryolatent.train.abinitio.soft import soft_pass
from cryolatent.train.em.results import first_tensors, start_search

RADIUS = 0.45 * 32
SIGNAL = {"only": ("mature",), "particles": 300, "box": 32, "pixel_size": 9.0, "snr": 0.5}
SHORT = Plan(
    (Halt(4, 30.0, 8), Halt(6, 20.0, 5)), (Halt(7, 20.0, 1),), (Halt(8, 15.0, 1), Halt(11, 15.0, 2))
)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> ParticleStack:
    return small_stack(tmp_path_factory.mktemp("abinitio") / "data", shift_spread=0.5, **SIGNAL)


def test_evidence_with_every_pose_weighted_never_falls(stack: ParticleStack) -> None:
    few = unposed(stack.select(torch.arange(120)))
    parts = FilteredStack(few, torch.arange(len(few)))
    search = start_search(parts, parts, first_tensors(few, spectra(few), RADIUS, {}), ONE)
    consensus = random_consensus(search, 4, 1.0, torch.Generator().manual_seed(0))
    lattice, space = consensus.lattice, search.alone(consensus.lattice)
    field, objective = torch.zeros_like(space.mask[:1]), []
    for number in range(7):
        posterior = GridPosterior(consensus.hypothesis, consensus.grid(30.0))
        found = soft_pass(parts.chunks(lattice.disc), posterior)
        if number:
            objective.append(found.evidence - space.penalty(field))
        field = space.improve(field, found.matrix, found.vector, 8)
        consensus = replace(consensus, values=space.values(field))
    steps = torch.tensor(objective).diff()
    assert steps.min() > -1e-4 * abs(objective[0])
    assert steps[0] > 1


def test_sums_over_a_grid_are_those_of_images_inserted_one_by_one(stack: ParticleStack) -> None:
    few = unposed(stack.select(torch.arange(3)))
    parts = FilteredStack(few, torch.arange(len(few)))
    search = start_search(parts, parts, first_tensors(few, spectra(few), RADIUS, {}), ONE)
    consensus = random_consensus(search, 3, 1.0, torch.Generator().manual_seed(0))
    lattice = consensus.lattice
    posterior = GridPosterior(consensus.hypothesis, consensus.grid(60.0))
    found = soft_pass(parts.chunks(lattice.disc), posterior)
    (part,) = parts.chunks(lattice.disc)
    share = posterior.log_joint(part)
    share = (share - share.flatten(1).logsumexp(1)[:, None, None, None]).exp()
    equations, gains = NormalEquations(lattice, 1, independent=True), 0.5 * posterior.gains
    orientations = posterior.grid.orientations
    for number, shift in enumerate(posterior.grid.shifts):
        there = part.moved(torch.zeros(3, 3), shift.expand(3, 2), lattice.disc)
        for orientation in range(len(orientations)):
            weight = share[:, number].flatten(1)[:, orientation, None].contiguous()
            rotations = orientations.at(torch.full((3,), orientation)).contiguous()
            equations.insert(there.images, there.weights, gains, (weight, weight), rotations)
    matrix, vector = equations.total()
    # half a turn may bring a point half way between two voxels to the other one
    assert torch.allclose(found.matrix.sum(), matrix.sum(), rtol=1e-4)
    off = (found.vector - vector).abs() > 1e-3 * vector.abs().max()
    assert off.float().mean() < 0.02


def test_a_map_is_found_up_to_its_hand(stack: ParticleStack) -> None:
    told: list[dict] = []
    watch = Watch(epoch=told.append)
    search = AbInitioSearch(
        stack, spectra(stack), RADIUS, shift_deviation=0.7, watch=watch, plan=SHORT
    )
    found = search.run(2)
    truth = Truth.load(stack.source.parent / "truth")
    aligned = align_poses(found.poses, truth.poses)
    assert aligned.degrees.median() < 3
    assert (aligned.degrees < 15).float().mean() > 0.95
    assert (aligned.shifts_angstrom / 9.0).square().mean().sqrt() < 0.4
    # the map at these poses is that at the true ones
    maps = [
        backproject(replace(stack, poses=poses), torch.arange(len(stack))).solve()
        for poses in (aligned.poses, stack.poses)
    ]
    curves = [fourier_shell_correlation(volume, truth.volumes[0]) for volume in maps]
    reached = [int((curve[1:] < 0.5).float().argmax()) for curve in curves]
    assert reached[0] >= reached[1] - 1.2
    assert len(found.starts) == 2
    assert found.chosen == int(torch.tensor(found.starts).argmax())
    assert {entry["remarks"][0] for entry in told} >= {"start 1 of 2", "start 2 of 2"}


def test_poses_of_tilted_images_are_not_searched(tmp_path: Path) -> None:
    tilts = tilt_series([2, 1])
    with pytest.raises(InputError, match="3 images of 2 particles"):
        AbInitioSearch(tilts, spectra(tilts), 3.0, shift_deviation=1.0)
