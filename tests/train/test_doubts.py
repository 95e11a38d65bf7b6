"""Searches that doubt their inputs: what they find of wrong poses, contrasts and junk."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from builders import exact_config, small_stack
from cryolatent.analysis.words import found
from cryolatent.data import ParticleStack
from cryolatent.errors import InputError
from cryolatent.io import read_arrays
from cryolatent.models.contrast import ONE
from cryolatent.models.nuisances import TRUSTED
from cryolatent.physics import turned
from cryolatent.runs.inputs import nuisances_of, said_of_inputs
from cryolatent.runs.run import Run
from cryolatent.sessions.systems import restore
from cryolatent.sessions.training import begin, train
from cryolatent.sessions.unseen import infer_unseen
from cryolatent.train import Watch, infer
from cryolatent.train.em.doubts import Doubts
from cryolatent.train.options import EmOptions

ERRORS = {"angle_error": 5.0, "shift_error": 0.5, "contrast_spread": 0.15, "junk": 0.08}
EASY = {"particles": 700, "box": 32, "pixel_size": 9.0, "snr": 0.3}


@pytest.fixture(scope="module")
def rigid(tmp_path_factory: pytest.TempPathFactory) -> ParticleStack:
    """One state, everything else wrong."""
    folder = tmp_path_factory.mktemp("rigid") / "data"
    return small_stack(folder, only=("mature",), seed=3, **EASY, **ERRORS)


@pytest.fixture(scope="module")
def runs(rigid: ParticleStack, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Run]:
    def finished(posterior: str, *trust: str) -> Run:
        config = exact_config(posterior, starts=1, trust=trust or None)
        run = begin(tmp_path_factory.mktemp("runs") / "run", config, rigid, Watch())
        train(run, rigid)
        return Run.open(run.path)

    return cache(finished)


def truth_of(stack: ParticleStack) -> dict[str, np.ndarray]:
    names = ["state", "rotations", "contrast"]
    return read_arrays(stack.source.parent / "truth" / "truth.npz", names)


def test_one_rigid_molecule_has_no_dimensions(runs: Callable[..., Run]) -> None:
    run = runs("exact")
    assert run.choices()[0].chosen == run.z_dim == 0
    assert "no heterogeneity that these particles can show" in found(run)
    believing = runs("exact", "all")
    assert believing.z_dim > 1
    trusted = "trusted as recorded: rotations, shifts, contrast, particles"
    assert said_of_inputs(believing) == [trusted]
    assert trusted in found(believing)


def test_one_rigid_molecule_is_one_state(runs: Callable[..., Run]) -> None:
    assert runs("categorical").z_dim == 1
    assert runs("categorical", "all").z_dim > 1


def test_errors_are_found_to_be_as_large_as_they_are(runs: Callable[..., Run]) -> None:
    nuisances = nuisances_of(runs("exact"))
    assert nuisances is not None
    tilt, _, spin, shift, _ = nuisances.poses.deviations
    assert np.degrees([tilt, spin]) == pytest.approx(ERRORS["angle_error"], rel=0.15)
    assert shift == pytest.approx(ERRORS["shift_error"], rel=0.15)
    assert nuisances.contrast.spread == pytest.approx(ERRORS["contrast_spread"], abs=0.04)
    assert 1 - nuisances.shares[0] == pytest.approx(ERRORS["junk"], abs=0.03)


def test_rows_say_where_particles_are(rigid: ParticleStack, runs: Callable[..., Run]) -> None:
    truth, beliefs = truth_of(rigid), runs("exact").latents().beliefs
    assert beliefs is not None
    good = truth["state"] >= 0
    assert roc_auc_score(good, beliefs.probability) > 0.95
    recorded, true = rigid.poses.rotations, torch.from_numpy(truth["rotations"]).float()
    refined = beliefs.refined(rigid.poses, rigid.pixel_size_angstrom).rotations
    torch.testing.assert_close(refined, turned(recorded, beliefs.moved[:, :3]))
    before, after = (angles(r, true)[good] for r in (recorded, refined))
    assert np.sqrt((after**2).mean()) < 0.5 * np.sqrt((before**2).mean())
    # errors are as large as their covariances say
    claimed = np.degrees(beliefs.covariance.diagonal(dim1=1, dim2=2)[:, :3].sum(1).sqrt().numpy())
    assert np.median(after / claimed[good]) == pytest.approx(0.9, abs=0.25)
    assert np.corrcoef(beliefs.contrast[good], truth["contrast"][good])[0, 1] > 0.5


def angles(first: torch.Tensor, second: torch.Tensor) -> np.ndarray:
    trace = (first * second).sum((1, 2))
    return np.degrees(torch.arccos(((trace - 1) / 2).clamp(-1, 1)).numpy())


@pytest.mark.parametrize("posterior", ["exact", "categorical"])
def test_infer_finds_what_the_run_found(
    rigid: ParticleStack, runs: Callable[..., Run], posterior: str
) -> None:
    run = runs(posterior)
    written, again = run.latents(), infer_unseen(run, rigid).latents
    torch.testing.assert_close(again.evidence, written.evidence, rtol=1e-6, atol=1e-3)
    assert written.beliefs is not None
    assert again.beliefs is not None
    for name, column in vars(written.beliefs).items():
        torch.testing.assert_close(
            getattr(again.beliefs, name), column, rtol=1e-4, atol=1e-5, msg=name
        )


def test_a_particle_is_read_alike_in_any_company(
    rigid: ParticleStack, runs: Callable[..., Run], tmp_path: Path
) -> None:
    run = runs("exact")
    few = rigid.select(torch.tensor([3, 50, 51, 600]))
    found_, written = infer_unseen(run, few).latents, run.latents()
    rows = [written.ids.tolist().index(name) for name in found_.ids.tolist()]
    torch.testing.assert_close(found_.evidence, written.evidence[rows], rtol=1e-6, atol=1e-3)


@pytest.mark.parametrize(
    ("trust", "expected"),
    [
        (("rotations", "shifts"), ["contrast varies", "images show no", "rotations, shifts"]),
        (("contrast", "particles"), ["orientations look", "shifts look", "contrast, particles"]),
        (("rotations",), ["shifts look", "contrast varies", "images show no", "rotations"]),
    ],
)
def test_some_may_be_trusted(tmp_path: Path, trust: tuple[str, ...], expected: list[str]) -> None:
    stack = small_stack(tmp_path / "data", particles=80, junk=0.1, angle_error=3.0)
    config = exact_config("categorical", starts=1, states=2, trust=trust)
    run = begin(tmp_path / "run", config, stack, Watch())
    train(run, stack)
    said = said_of_inputs(Run.open(run.path))
    assert len(said) == len(expected)
    assert all(word in clause for word, clause in zip(expected, said, strict=True))


def test_rows_follow_other_priors(rigid: ParticleStack, runs: Callable[..., Run]) -> None:
    """What is kept from batch to batch is of the priors that it was made under."""
    system = restore(runs("exact"))
    few, likelihood = rigid.select(torch.arange(8)), system.model.likelihood
    learned = likelihood.nuisances
    first = infer(system, few, 0).evidence
    likelihood.nuisances = replace(learned, junk_spectrum=2 * learned.junk_spectrum)
    assert infer(system, few, 0).evidence.isfinite().all()
    likelihood.nuisances = TRUSTED
    assert (infer(system, few, 0).evidence - first).abs().max() > 0.1
    likelihood.nuisances = learned
    torch.testing.assert_close(infer(system, few, 0).evidence, first)


def test_a_width_that_is_known_is_not_learned() -> None:
    options = EmOptions(angle_error=2.0, shift_error=0.3)
    doubts = Doubts.of(options, ONE)
    assert doubts.rotations
    assert (doubts.learned.rotations, doubts.learned.shifts) == (False, False)
    assert doubts.learned.contrast
    tilt, _, spin, shift, _ = doubts.begin(ONE, torch.ones(4)).poses.deviations
    assert np.degrees([tilt, spin]) == pytest.approx([2.0, 2.0])
    assert shift == 0.3
    assert Doubts.of(EmOptions(), ONE).learned.rotations
    with pytest.raises(InputError, match="rotations with a width"):
        Doubts.of(EmOptions(angle_error=2.0, trust=("rotations",)), ONE)
