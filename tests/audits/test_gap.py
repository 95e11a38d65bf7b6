"""The inference gap, against evidence in closed form."""

import numpy as np
import pytest
import torch

from builders import small_stack, subspace_model
from cryolatent.audits.gap import InferenceGap, measured
from cryolatent.data import Batch, ParticleStack
from cryolatent.models import (
    DiagonalNormal,
    Distribution,
    ExactGaussian,
    GenerativeModel,
    Posterior,
)
from cryolatent.models.decoders.coefficients import Linear
from cryolatent.models.system import System
from subjects import Known, Shown


class Beside(Posterior):
    """What is exact for another particle, a given share of the way there."""

    reads_images = True

    def __init__(self, off: float) -> None:
        super().__init__()
        self.z_dim, self.off = 2, off

    def forward(self, batch: Batch, model: GenerativeModel) -> Distribution:
        q = ExactGaussian(2)(batch, model)
        mean = q.mean + self.off * (q.mean.roll(1, 0) - q.mean)
        covariance = q.covariance_or_none
        assert covariance is not None
        # the best diagonal one has the diagonal of the precision
        return DiagonalNormal(mean, -torch.linalg.inv(covariance).diagonal(dim1=1, dim2=2).log())


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> tuple[ParticleStack, GenerativeModel]:
    stack = small_stack(tmp_path_factory.mktemp("gap"), particles=24, snr=3.0)
    torch.manual_seed(1)
    return stack, subspace_model(Linear(2), size=4.0, disc=stack.disc)


def test_the_best_bound_is_the_evidence_but_for_correlations(
    given: tuple[ParticleStack, GenerativeModel],
) -> None:
    stack, model = given
    index = torch.arange(len(stack))
    found = measured(System(model, Beside(0.7)), stack, index, seed=0)
    assert found is not None
    batch = stack.batch(index)
    evidence = ExactGaussian(2).read(batch, model, torch.Generator()).evidence
    assert evidence is not None
    lack = evidence.double().numpy() - found.best
    # by 16 samples; a diagonal distribution lacks half the log of one less the square correlation
    assert -0.5 < lack.mean() < 0.5
    assert (found.best - found.own).mean() > 5


@pytest.mark.parametrize(("off", "verdict"), [(0.0, "pass"), (0.1, "pass"), (0.95, "fail")])
def test_a_posterior_that_takes_particles_for_others_fails(
    off: float, verdict: str, given: tuple[ParticleStack, GenerativeModel]
) -> None:
    stack, model = given
    found = InferenceGap(particles=24).ask(Shown(stack, System(model, Beside(off))))
    assert found.verdict == verdict
    assert found.statistic is not None
    # the bound is a parabola about its best: the gap grows with the square of the way
    assert found.statistic.value == pytest.approx(off**2, abs=0.15)


def test_exact_posteriors_have_no_gap(given: tuple[ParticleStack, GenerativeModel]) -> None:
    stack, model = given
    found = InferenceGap().ask(Shown(stack, System(model, ExactGaussian(2))))
    assert (found.verdict, found.statistic) == ("not applicable", None)
    assert InferenceGap().ask(Known(np.zeros((3, 1)))).verdict == "not applicable"
