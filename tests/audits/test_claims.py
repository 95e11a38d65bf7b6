"""What latents claim, put to the other half: regressions, scales, replicas, verdicts."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from cryolatent.audits.confirmation import Confirmation
from cryolatent.audits.halves import Reality
from cryolatent.audits.null import Null, announced
from cryolatent.config.training import TrainConfig
from cryolatent.runs.run import Run
from cryolatent.sessions.claims import claims, homogeneous, replica, scales, whitened
from cryolatent.sessions.training import trained
from cryolatent.train.choice import Candidate, Choice
from four_states import Four, made
from subjects import Known, halves


def test_whitened_latents_are_uncorrelated_and_ordered() -> None:
    rng = np.random.default_rng(0)
    z = rng.normal(size=(300, 3)) @ np.diag([5.0, 1.0, 1e-6]) @ rng.normal(size=(3, 4)) + 7
    axes = whitened(z).double()
    assert axes.shape == (300, 2)
    assert torch.allclose(axes.T @ axes / 300, torch.eye(2).double(), atol=1e-5)
    assert whitened(z, most=1).shape == (300, 1)
    assert whitened(np.ones((5, 2))).shape == (5, 0)


@pytest.fixture(scope="module")
def four(tmp_path_factory: pytest.TempPathFactory) -> Four:
    return made(tmp_path_factory.mktemp("claims"), snr=0.2)


def test_regressed_volumes_are_the_true_ones(four: Four) -> None:
    axes = whitened(four.z)
    shares = torch.from_numpy(four.z.mean(0)).float()
    means = torch.stack([axes[four.truth.state == k].mean(0) for k in range(4)])
    true = torch.einsum("k,kd,kzyx->dzyx", shares, means, four.truth.volumes)
    claim = claims(four.stack, four.halves, four.z)[0]
    found = claim.hypothesis.lattice.to_volumes(claim.hypothesis.values[:, 1:], 1)
    for volume, expected in zip(found, true, strict=True):
        assert float(torch.corrcoef(torch.stack([volume, expected]).flatten(1))[0, 1]) > 0.6


def test_true_states_foretell_the_other_half_and_those_of_others_do_not(four: Four) -> None:
    own = claims(four.stack, four.halves, four.z)
    assert min(scales(own)) > 0.5
    found = Confirmation(claims=own).ask(Known(four.z))
    assert found.verdict == "pass"
    assert found.statistic is not None and found.null is not None
    assert found.statistic.low > 1
    assert found.null.high < 0.05
    foreign = four.z[np.random.default_rng(1).permutation(len(four.z))]
    others = claims(four.stack, four.halves, foreign)
    refuted = Confirmation(claims=others).ask(Known(foreign))
    # the margin is within the error of so few particles
    assert refuted.verdict != "pass"
    assert refuted.statistic is not None and refuted.statistic.high < 0.05
    none = Confirmation(claims=None)
    assert none.ask(Known(four.z[:, :0])).verdict == "not applicable"


def test_energies_are_slopes_of_the_gain(four: Four) -> None:
    """At latent zero a claim is its mean volume, and near it the gain is a parabola."""
    claim = claims(four.stack, four.halves, four.z)[0]
    assert np.abs(claim.gain(0.0)).max() == 0
    explained, power = (float(energy.mean()) for energy in claim.energies())
    assert explained > 1 and power > 1
    # no contrast and no junk: the evidence is the quadratic form itself
    for scale in (0.1, 1.0):
        expected = scale * explained - 0.5 * scale**2 * power
        assert float(claim.gain(scale).mean()) == pytest.approx(expected, rel=1e-3, abs=1e-4)


def test_a_replica_claims_what_the_data_claim(four: Four) -> None:
    pair = claims(four.stack, four.halves, four.z)
    made = replica(four.stack, four.halves, pair, four.z, seed=3)
    assert (made.poses.rotations == four.stack.poses.rotations).all()
    pixels = [s.images.read(np.arange(100)) for s in (four.stack, made)]
    assert pixels[1].std() == pytest.approx(pixels[0].std(), rel=0.1)
    # other noise: nothing but the particles themselves is alike
    assert 0.02 < np.corrcoef(pixels[0].ravel(), pixels[1].ravel())[0, 1] < 0.5
    parts = [made.select(torch.from_numpy(half.rows)) for half in four.halves]
    pairs = zip(four.halves, parts, reversed(parts), strict=True)
    showing = [replace(half, other=other, own=own) for half, other, own in pairs]
    again = claims(made, (showing[0], showing[1]), four.z)
    explained, found = (
        np.mean([float(c.energies()[0].mean()) for c in claim]) for claim in (pair, again)
    )
    assert found == pytest.approx(explained, rel=0.12)


def test_a_replica_is_as_strong_as_its_data_though_volumes_are_shrunk(tmp_path: Path) -> None:
    rigid = made(tmp_path, known=0.75, only=("mature",), snr=0.4)
    pixels = rigid.stack.images.read(np.arange(500)).var()
    again = homogeneous(rigid.stack, rigid.halves).images.read(np.arange(500)).var()
    # the shrunken volume alone would miss an eighth of the variance
    assert again == pytest.approx(pixels, rel=0.03)


@pytest.mark.parametrize(("shown", "verdict"), [(0.5, "fail"), (0.0, "inconclusive")])
def test_what_would_not_have_been_seen_refutes_nothing(shown: float, verdict: str) -> None:
    rng = np.random.default_rng(2)
    nothing = halves(rng.normal(size=(1000, 0)), np.zeros(1000))
    again = halves(rng.normal(size=(1000, 1)), np.full(1000, shown))
    found = Reality(read=nothing, replica=lambda: again).ask(Known(rng.normal(size=(1000, 2))))
    assert found.verdict == verdict
    assert found.numbers["gain_of_replica"].value == shown


@pytest.mark.parametrize(("chosen", "gain"), [(0, (0.0, 0.0)), (1, (2.5, 0.5)), (2, (3.0, 0.5))])
def test_what_is_announced_is_the_gain_over_nothing(chosen: int, gain: tuple[float, float]) -> None:
    behind = ((0, 3.0, 0.5), (1, 0.5, 0.2), (2, 0.0, 0.0))
    candidates = tuple(Candidate(number=n, behind=b, error=e) for n, b, e in behind)
    assert announced(Choice(name="dimensions", candidates=candidates, chosen=chosen)) == gain


def test_a_believing_run_announces_as_much_of_one_volume(tmp_path: Path) -> None:
    """Poses wrong by more than the resolution are states to a run that believes them."""
    rigid = made(tmp_path / "data", only=("mature",), snr=0.3, angle_error=6.0)
    config = TrainConfig.of(posterior="exact", trust=("all",), threads=1)
    run = trained(None, tmp_path / "run", config, rigid.stack)
    assert run.choices()[0].chosen > 0

    def again(number: int) -> Run:
        same = homogeneous(rigid.stack, rigid.halves, number)
        return trained(None, tmp_path / f"null{number}", config, same)

    null = Null(run=run, repeated=again, replicas=2)
    found = null.ask(Known(run.latents().distribution.mean.numpy()))
    assert found.statistic is not None
    assert found.statistic.value == pytest.approx(1.0, abs=0.4)
    assert found.verdict == "fail"
    assert Null(run=None, repeated=lambda _: run).ask(Known(rigid.z)).verdict == "not applicable"
