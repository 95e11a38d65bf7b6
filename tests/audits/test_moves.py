"""Shift and rotation tests of runs whose answer is known."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from builders import ArrayImages, small_config, small_stack
from cryolatent.audits import RotationTest, ShiftTest
from cryolatent.audits.reading import LABELLED, MOST, chosen_particles
from cryolatent.data import ParticleStack
from cryolatent.errors import InputError, NonFiniteError
from cryolatent.runs.finding import Finding
from cryolatent.runs.run import Checkpoint, Run
from cryolatent.sessions.subject import RunSubject, Subject
from cryolatent.sessions.training import begin, train
from cryolatent.train import Watch

ALL_TESTS = [
    test(consistent=consistent)
    for test in (ShiftTest, RotationTest)
    for consistent in (True, False)
]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> ParticleStack:
    return small_stack(tmp_path_factory.mktemp("stack") / "data")


def begun(path: Path, stack: ParticleStack, posterior: str, frame: str = "raw") -> Run:
    """A run that was not trained: the audits ask of a function, however it was found."""
    options = {"evidence_frame": frame} if posterior == "encoder" else {}
    return begin(path, small_config(posterior, **options), stack, Watch())


def with_posterior(run: Run, **values: float | torch.Tensor) -> Run:
    """The same run with some tensors of its posterior set."""
    tensors = run.checkpoint().tensors
    for name, value in values.items():
        key = f"posterior.{name.replace('__', '.')}"
        tensors[key] = torch.zeros_like(tensors[key]) + value
    run.save_checkpoint(1, Checkpoint(tensors, {}))
    return run


@pytest.mark.parametrize("test", ALL_TESTS, ids=lambda test: test.name)
def test_raw_encoder_follows_the_move(
    test: ShiftTest | RotationTest, stack: ParticleStack, tmp_path: Path
) -> None:
    finding = test.ask(RunSubject(begun(tmp_path / "run", stack, "encoder"), stack))
    assert finding.statistic is not None
    assert finding.null is not None
    assert finding.verdict == "fail"
    assert finding.statistic.value > 0.4
    assert finding.null.low < 1.1
    assert finding.null.high > 0.9
    assert finding.note == ""


@pytest.mark.parametrize("test", ALL_TESTS, ids=lambda test: test.name)
def test_aligned_encoder_passes_where_the_pose_is_moved_along(
    test: ShiftTest | RotationTest, stack: ParticleStack, tmp_path: Path
) -> None:
    finding = test.ask(RunSubject(begun(tmp_path / "run", stack, "encoder", "aligned"), stack))
    assert finding.verdict == ("pass" if test.consistent else "fail")
    if test.consistent:
        assert finding.statistic is not None
        assert finding.statistic.high < 0.01
        assert finding.numbers["retrieval"].value == 1


def test_encoder_that_ignores_its_input_is_inconclusive(
    stack: ParticleStack, tmp_path: Path
) -> None:
    run = with_posterior(begun(tmp_path / "run", stack, "encoder"), output__weight=0.0)
    finding = ShiftTest().ask(RunSubject(run, stack))
    assert finding.verdict == "inconclusive"
    assert finding.statistic is None
    assert finding.null is None
    assert "blind to the images" in finding.note
    assert "nothing to compare with" in finding.note
    assert finding.numbers["retrieval"].value == pytest.approx(1 / 40)
    assert "displacement" not in finding.tables["pairs"].columns


def test_table_says_that_it_does_not_read_images(stack: ParticleStack, tmp_path: Path) -> None:
    run = begun(tmp_path / "run", stack, "table")
    run = with_posterior(run, loc=torch.randn(40, 2))
    finding = RotationTest().ask(RunSubject(run, stack))
    assert finding.verdict == "not applicable"
    assert finding.statistic is None
    assert finding.note == "This posterior does not read images."


def test_tables_hold_the_latents_before_and_after(stack: ParticleStack, tmp_path: Path) -> None:
    run = begun(tmp_path / "run", stack, "encoder")
    finding = ShiftTest(pixels=(0.0, 2.0)).ask(RunSubject(run))
    pairs, labelled = finding.tables["pairs"], finding.tables["labelled"]
    assert list(pairs.columns) == ["id", "z_0", "z_1", "moved_0", "moved_1", "displacement"]
    assert (len(pairs), len(labelled), finding.particles) == (40, LABELLED, 40)
    assert pairs.columns["id"] == tuple(stack.ids.tolist())
    assert labelled.columns["z_1"] == pairs.columns["z_1"][:LABELLED]
    assert finding.statistic is not None
    assert finding.statistic.value == pytest.approx(
        float(np.median(np.array(pairs.columns["displacement"], float)))
    )
    assert "(0, 2) pixels" in finding.question
    assert Finding.model_validate_json(finding.model_dump_json()) == finding


@pytest.mark.parametrize("twin", [None, "permuted", "noise"])
def test_run_is_asked_as_it_was_trained(
    stack: ParticleStack, tmp_path: Path, twin: str | None
) -> None:
    config = small_config("encoder", epochs=1, twin=twin)
    run = begin(tmp_path / "run", config, stack, Watch())
    train(run, stack)
    columns = ShiftTest(consistent=True).ask(RunSubject(run)).tables["pairs"].columns
    found = np.array([columns["z_0"], columns["z_1"]], float).T
    latents = Run.open(run.path).latents().distribution.mean.numpy()
    np.testing.assert_allclose(found, latents, rtol=0, atol=1e-6)


def test_nothing_of_the_run_is_written(stack: ParticleStack, tmp_path: Path) -> None:
    run = begun(tmp_path / "run", stack, "encoder")
    before = {p: p.read_bytes() for p in run.path.rglob("*") if p.is_file()}
    ShiftTest().ask(RunSubject(run, stack))
    assert before == {p: p.read_bytes() for p in run.path.rglob("*") if p.is_file()}


def test_other_particles_are_refused(stack: ParticleStack, tmp_path: Path) -> None:
    run = begun(tmp_path / "run", stack, "encoder")
    with pytest.raises(InputError, match=r"found 9 particles.*expected 40 particles"):
        ShiftTest().ask(RunSubject(run, stack.select(torch.arange(9))))
    with pytest.raises(InputError, match="5 shells"):
        ShiftTest().ask(RunSubject(run, replace(stack, shells=5)))


def test_latent_that_is_not_finite_names_its_particle(stack: ParticleStack, tmp_path: Path) -> None:
    run = begun(tmp_path / "run", stack, "encoder")
    pixels = stack.images.read(np.arange(40))
    pixels[7] = np.nan
    spoilt = replace(stack, images=ArrayImages(pixels, 16))
    with pytest.raises(NonFiniteError, match="000008@"):
        ShiftTest().ask(RunSubject(run, spoilt))


def test_of_many_particles_the_numbered_ones_and_some_others_are_read() -> None:
    index = chosen_particles(5000, seed=1)
    assert len(index) == len(index.unique()) == MOST
    assert index[:LABELLED].tolist() == list(range(LABELLED))
    assert (index.diff() > 0).all()
    assert index.max() > 4900
    assert not torch.equal(index, chosen_particles(5000, seed=2))
    assert chosen_particles(30, seed=0).tolist() == list(range(30))


class Elsewhere(Subject):
    """Latents that another program found: no particles, no system."""

    name = "elsewhere"
    ids = np.array(["a", "b"])

    def latents(self) -> None:
        return None

    def particles(self) -> None:
        return None

    def system(self) -> None:
        return None


def test_what_a_subject_lacks_is_named() -> None:
    finding = ShiftTest().ask(Elsewhere())
    assert (finding.verdict, finding.note) == ("not applicable", "elsewhere has no system.")
    assert finding.question.startswith("How far do latents move")
