"""Ranks, coverage and temperatures on posteriors whose widths are known."""

import numpy as np
import pytest
import torch

from builders import small_stack, subspace_model
from cryolatent.audits.calibration import Calibration, aggregate, covered, ranks, temperature
from cryolatent.data import Batch, ParticleStack
from cryolatent.models import (
    Categorical,
    DiagonalNormal,
    Distribution,
    ExactGaussian,
    FullNormal,
    GenerativeModel,
    OneOf,
)
from cryolatent.models.contrast import Contrast
from cryolatent.models.decoders.coefficients import Linear, Shares
from cryolatent.models.nuisances import Nuisances
from cryolatent.models.system import System
from cryolatent.runs.finding import Estimate, verdict_about
from subjects import Known, Shown


class Scaled(ExactGaussian):
    """Exact but for its widths."""

    is_closed_form = False

    def __init__(self, factor: float) -> None:
        super().__init__(2)
        self.factor = factor

    def forward(self, batch: Batch, model: GenerativeModel) -> Distribution:
        q = super().forward(batch, model)
        covariance = q.covariance_or_none
        assert covariance is not None
        return FullNormal(q.mean, self.factor**2 * covariance)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> ParticleStack:
    return small_stack(tmp_path_factory.mktemp("calibration"), particles=400)


def asked(stack: ParticleStack, posterior: ExactGaussian, nuisances: Nuisances | None = None):
    torch.manual_seed(1)
    model = subspace_model(Linear(2), size=4.0, disc=stack.disc)
    if nuisances is not None:
        model.likelihood.nuisances = nuisances
    return Calibration().ask(Shown(stack, System(model, posterior)))


def test_exact_posteriors_are_calibrated(stack: ParticleStack) -> None:
    found = asked(stack, ExactGaussian(2))
    assert found.verdict == "pass"
    assert found.statistic is not None and found.null is not None
    assert found.null.low < found.statistic.value < found.null.high
    assert found.numbers["temperature"].low < 1 < found.numbers["temperature"].high
    counts = np.array([c for n, c in found.tables["ranks"].columns.items() if n != "from"], float)
    assert counts.sum() == 2 * len(stack)
    # chi-squared of 19 degrees of freedom, both dimensions
    expected = len(stack) / counts.shape[1]
    assert (np.square(counts - expected).sum(axis=1) / expected < 43.8).all()


@pytest.mark.parametrize(("factor", "right"), [(0.5, 2.0), (2.0, 0.5)])
def test_wrong_widths_fail_and_say_what_would_be_right(
    stack: ParticleStack, factor: float, right: float
) -> None:
    found = asked(stack, Scaled(factor))
    assert found.verdict == "fail"
    assert found.numbers["temperature"].value == pytest.approx(right, rel=0.1)
    assert "surer" in found.note if right > 1 else "less sure" in found.note
    assert "Widths times" in found.note
    assert found.statistic is not None
    # P(|ε| < 1.645 f) of a normal ε
    held = {0.5: 0.589, 2.0: 0.999}[factor]
    assert found.statistic.value == pytest.approx(held, abs=0.04)


def test_contrasts_are_drawn_as_they_are_doubted(stack: ParticleStack) -> None:
    """What the posterior integrates out leaves it calibrated; what it believes does not."""
    doubt = Nuisances(contrast=Contrast(0.3))
    assert asked(stack, ExactGaussian(2), doubt).verdict != "fail"

    class Believing(ExactGaussian):
        def forward(self, batch: Batch, model: GenerativeModel) -> Distribution:
            model.likelihood.nuisances = Nuisances()
            found = super().forward(batch, model)
            model.likelihood.nuisances = doubt
            return found

    assert asked(stack, Believing(2), doubt).verdict == "fail"


def test_states_are_calibrated_if_their_shares_are(stack: ParticleStack) -> None:
    torch.manual_seed(2)
    model = subspace_model(Shares(3), size=0.3, disc=stack.disc)
    weights = torch.tensor([0.6, 0.3, 0.1]).log()
    exact = Calibration().ask(Shown(stack, System(model, Categorical(3, weights))))
    assert exact.verdict != "fail"
    assert exact.statistic is not None
    assert exact.statistic.value == pytest.approx(0.9, abs=0.04)

    class Sure(Categorical):
        def forward(self, batch: Batch, model: GenerativeModel) -> Distribution:
            q = super().forward(batch, model)
            assert isinstance(q, OneOf)
            cold = q.shares**3
            return OneOf(cold / cold.sum(1, keepdim=True), q.log_weights)

    assert Calibration().ask(Shown(stack, System(model, Sure(3, weights)))).verdict == "fail"


def test_ranks_by_hand() -> None:
    q = FullNormal(torch.tensor([[1.0, 0.0]]), torch.tensor([[[4.0, 2.0], [2.0, 5.0]]]))
    # L = ((2, 0), (1, 2)): z - μ = L (1, -1)
    rank = ranks(q, torch.tensor([[3.0, -1.0]]), np.random.default_rng(0))
    np.testing.assert_allclose(rank, [[0.8413447, 0.1586553]], atol=1e-6)
    shares = OneOf(torch.tensor([[0.5, 0.3, 0.2]]), torch.zeros(1, 3))
    for state, low, high in ((0, 0.0, 0.5), (1, 0.5, 0.8), (2, 0.8, 1.0)):
        z = torch.eye(3)[state : state + 1]
        assert low <= float(ranks(shares, z, np.random.default_rng(1))[0, 0]) <= high


def test_coverage_and_temperature_by_hand() -> None:
    rank = np.array([[0.04], [0.06], [0.5], [0.94], [0.96]])
    assert covered(rank, discrete=False)[:, 0].tolist() == [0, 1, 1, 1, 0]
    assert covered(rank, discrete=True)[:, 0].tolist() == [1, 1, 1, 0, 0]
    uniform = (np.arange(4000) + 0.5)[:, None] / 4000
    assert temperature(uniform).value == pytest.approx(1, abs=2e-3)


def test_the_aggregate_of_exact_posteriors_is_the_prior() -> None:
    rng = np.random.default_rng(3)
    mean = torch.from_numpy(rng.normal(size=(4000, 2)) * 0.6).float()
    q = DiagonalNormal(mean, torch.full((4000, 2), np.log(1 - 0.36)))
    assert aggregate(q).value == pytest.approx(1, abs=0.03)
    prior = torch.tensor([0.7, 0.3]).log().expand(10, 2)
    shares = torch.tensor([[1.0, 0.0]] * 4 + [[0.0, 1.0]] * 6)
    assert aggregate(OneOf(shares, prior)).value == pytest.approx(0.7)


def test_verdicts_about_a_value() -> None:
    for low, high, verdict in [
        (0.88, 0.92, "pass"),
        (0.84, 0.92, "inconclusive"),
        (0.7, 0.84, "fail"),
        (0.96, 0.99, "fail"),
    ]:
        estimate = Estimate(value=(low + high) / 2, low=low, high=high)
        assert verdict_about(estimate, 0.9, 0.05) == verdict


def test_what_claims_no_width_is_not_asked(stack: ParticleStack) -> None:
    class Points(Shown):
        calibrated = False

    model = subspace_model(Linear(2), size=4.0, disc=stack.disc)
    found = Calibration().ask(Points(stack, System(model, ExactGaussian(2))))
    assert (found.verdict, found.statistic) == ("not applicable", None)
    assert "not meant" in found.note
    assert Calibration().ask(Known(np.zeros((5, 2)))).note == "known has no system."
