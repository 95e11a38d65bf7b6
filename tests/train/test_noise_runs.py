"""Runs on micrographs that are not equally noisy."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from builders import exact_config, small_stack
from cryolatent.data import ParticleStack, open_particles
from cryolatent.io import read_arrays
from cryolatent.runs.inputs import said_of_inputs
from cryolatent.runs.run import Run
from cryolatent.sessions.training import begin, train
from cryolatent.sessions.unseen import infer_unseen, open_unseen
from cryolatent.train import Watch

MICROGRAPHS = 12
RIGID = {"particles": 700, "box": 32, "pixel_size": 9.0, "snr": 0.3, "only": ("mature",)}
ERRORS = {"angle_error": 5.0, "shift_error": 0.5}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> ParticleStack:
    folder = tmp_path_factory.mktemp("noisy") / "data"
    noisy = {"micrographs": MICROGRAPHS, "noise_spread": 0.6, "seed": 3}
    return small_stack(folder, **RIGID, **ERRORS, **noisy)


@pytest.fixture(scope="module")
def runs(stack: ParticleStack, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Run]:
    def finished(groups: str) -> Run:
        config = exact_config("exact", starts=1, noise_groups=groups)
        source = open_particles(stack.source, noise_groups=groups)
        run = begin(tmp_path_factory.mktemp("runs") / "run", config, source, Watch())
        train(run, source)
        return Run.open(run.path)

    return cache(finished)


def test_particles_of_noisy_micrographs_are_no_junk(
    stack: ParticleStack, runs: Callable[[str], Run]
) -> None:
    level = read_arrays(stack.source.parent / "truth" / "truth.npz", ["noise_level"])["noise_level"]
    shares = []
    for groups in ("auto", "none"):
        beliefs = runs(groups).latents().beliefs
        assert beliefs is not None
        shares.append(beliefs.probability.numpy())
    assert (shares[0] < 0.5).mean() < 0.02
    # believed to be as noisy as others, they would be
    assert (shares[1] < 0.5).mean() > 0.05
    assert np.corrcoef(shares[1], level)[0, 1] < -0.5


def test_the_run_says_how_noisy_its_micrographs_are(runs: Callable[[str], Run]) -> None:
    levels = runs("auto").noise_levels()
    assert levels is not None and levels.spread == pytest.approx(0.6, rel=0.5)
    assert said_of_inputs(runs("auto"))[-1] == levels.words()
    assert runs("none").noise_levels() is None
    assert not any("noise" in clause for clause in said_of_inputs(runs("none")))


def test_inference_is_at_the_levels_of_the_run(
    stack: ParticleStack, runs: Callable[[str], Run]
) -> None:
    run = runs("auto")
    some = open_unseen(run, stack.source).select(torch.tensor([680, 10, 300]))
    found, own = infer_unseen(run, some).latents, run.latents()
    order = [own.ids.tolist().index(name) for name in found.ids.tolist()]
    assert found.beliefs is not None and own.beliefs is not None
    torch.testing.assert_close(found.beliefs.moved, own.beliefs.moved[order], atol=1e-5, rtol=1e-4)
    given = run.open_stack().noise_level
    assert given is not None and some.noise_level is not None
    assert some.noise_level.tolist() == given[[680, 10, 300]].tolist()


def test_micrographs_that_a_run_has_not_seen_have_levels_too(
    runs: Callable[[str], Run], tmp_path: Path
) -> None:
    nameless = small_stack(tmp_path / "data", **RIGID, **ERRORS, seed=3)
    assert open_unseen(runs("auto"), nameless.source).noise_level is None
    noisy = {"micrographs": 5, "noise_spread": 0.6, "seed": 4}
    others = small_stack(tmp_path / "others", **RIGID, **ERRORS, **noisy)
    text = others.source.read_text().replace("micrograph0000", "other0000")
    others.source.write_text(text)
    found = open_unseen(runs("auto"), others.source).noise_level
    truth = read_arrays(others.source.parent / "truth" / "truth.npz", ["noise_level"])
    assert found is not None
    ratio = np.log(found.numpy() / truth["noise_level"])
    assert ratio.std() < 0.04
