"""Volumes of states whose populations are not equal."""

from pathlib import Path

import pytest
import torch

from builders import exact_config, small_stack, spectra
from cryolatent.data import FilteredStack
from cryolatent.io import read_arrays
from cryolatent.models.contrast import ONE
from cryolatent.physics import FourierDisc, FourierLattice
from cryolatent.runs.run import Run
from cryolatent.sessions.training import begin, train
from cryolatent.simulate.truth import Truth
from cryolatent.train import Watch
from cryolatent.train.em.results import finished, first_tensors, start_search
from cryolatent.train.em.states import States, _contrasts, _to_consensus, march, without_empty
from cryolatent.train.em.volumes import MaskedVolumes

STATES = ("mature", "without protuberance and stalk")


def test_the_mean_by_populations_becomes_the_consensus() -> None:
    lattice, states = FourierLattice(FourierDisc(8, 2)), 3
    shape = (lattice.side,) * 3
    space = MaskedVolumes(lattice, torch.ones(1, *shape), torch.ones(3, states), _contrasts(states))
    fields, consensus = torch.randn(states, *shape), torch.randn(1, *shape)
    weights = torch.tensor([0.7, 0.2, 0.1])
    fields[:1] += _to_consensus(space, fields, weights.log(), consensus)
    volumes = torch.einsum("cf,fzyx->czyx", space.mixing, fields)
    mean = torch.einsum("c,czyx->zyx", weights, volumes)
    torch.testing.assert_close(mean, consensus[0], rtol=0, atol=1e-5)
    # an unweighted mean is another one
    assert (volumes.mean(0) - consensus[0]).abs().max() > 0.1


@pytest.mark.parametrize("share", [0.85, 0.15])
def test_populations_are_those_of_the_particles(tmp_path: Path, share: float) -> None:
    stack = small_stack(
        tmp_path / "data",
        particles=600,
        box=24,
        pixel_size=12.0,
        snr=0.5,
        only=STATES,
        populations=(share, 1 - share),
        seed=2,
    )
    run = begin(tmp_path / "run", exact_config("categorical", starts=1), stack, Watch())
    train(run, stack)
    run = Run.open(run.path)
    truth = read_arrays(tmp_path / "data" / "truth" / "truth.npz", ["state"])["state"]
    populations = run.latents().distribution.mean.mean(0)
    assert len(populations) == len(STATES)
    common = (truth == truth[0]).mean()
    expected = torch.tensor([max(common, 1 - common), min(common, 1 - common)]).float()
    # state 0 is the one of the most particles
    torch.testing.assert_close(populations, expected, rtol=0, atol=0.03)
    # the prior too: it is what a particle without information is given
    weights = run.checkpoint().tensors["posterior.log_weights"].exp()
    torch.testing.assert_close(weights, expected, rtol=0, atol=0.03)


def test_weights_follow_the_particles(tmp_path: Path) -> None:
    """From the true volumes, held to be equally frequent."""
    stack = small_stack(
        tmp_path / "data",
        particles=400,
        box=24,
        pixel_size=12.0,
        snr=0.5,
        only=STATES,
        populations=(0.85, 0.15),
        seed=2,
    )
    truth = Truth.load(tmp_path / "data" / "truth")
    index = torch.arange(len(stack))
    kept, aside = (FilteredStack(stack, rows) for rows in (index[:360], index[360:]))
    tensors = first_tensors(stack, spectra(stack), 10.0, {"mask": None, "focus": None})
    search = start_search(kept, aside, tensors, ONE)
    lattice, mixing = search.lattice(8), _contrasts(2)
    fields = lattice.to_field(lattice.from_volumes(truth.volumes, -1))
    fields = torch.einsum("cf,czyx->fzyx", mixing, fields)
    space = search.space(lattice, torch.ones(1), mixing)
    found = march(search, States(space, fields, torch.tensor([0.5, 0.5]).log()), 8, last=False)
    expected = float((truth.state[:360] == 0).mean())
    # a third that holds nothing is left out, and the others are what they were
    mixing = _contrasts(3)
    volumes = torch.einsum("fzyx,cf->czyx", found.fields, found.space.mixing)
    fields = torch.einsum("czyx,cf->fzyx", volumes[[0, 1, 1]], mixing)
    weights = torch.cat([found.log_weights, torch.tensor([1e-5]).log()])
    more = States(search.space(lattice, torch.ones(2), mixing), fields, weights)
    fewer = without_empty(search, more)
    torch.testing.assert_close(fewer.values(), found.values(), rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(fewer.log_weights, found.log_weights, rtol=0, atol=1e-3)
    assert without_empty(search, found) is found
    assert float(found.log_weights.exp()[0]) == pytest.approx(expected, abs=0.03)
    # a finished run has the state of the most particles first, here what was the second
    swapped = torch.einsum("czyx,cf->fzyx", volumes[[1, 0]], _contrasts(2))
    rare_first = States(found.space, swapped, found.log_weights.flip(0))
    system = finished(stack, search, rare_first)
    assert (system.posterior.log_weights.diff() <= 0).all()
    decoded = system.model.decoder.volume(torch.eye(2))
    common = found.lattice.to_volumes(found.values(), 1)[:1]
    torch.testing.assert_close(decoded[:1], common, rtol=1e-3, atol=1e-3 * float(common.std()))
