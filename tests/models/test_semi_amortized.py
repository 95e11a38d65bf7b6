"""Refinement against the exact posterior, against the proposal, and against plain PyTorch."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from builders import DISC, FLAT, random_batch, subspace_model, with_evidence
from cryolatent.data import Batch, Evidence
from cryolatent.models import (
    DiagonalNormal,
    Encoder,
    ExactGaussian,
    FourierFeatures,
    GenerativeModel,
    MlpDecoder,
    NegativeElbo,
    SemiAmortized,
)
from cryolatent.models.decoders import subspace
from cryolatent.models.decoders.coefficients import Linear, Network
from cryolatent.physics import CoefficientSubset
from cryolatent.physics.slicing import reference_slice_lattice

Z_DIM, PARTICLES = 3, 4


def linear_model() -> GenerativeModel:
    """Of volumes that are alike, so that posteriors are correlated."""
    model = subspace_model(Linear(Z_DIM))
    with torch.no_grad():
        model.decoder.volumes[2] += model.decoder.volumes[1]
    return model


def mlp_model() -> GenerativeModel:
    decoder = MlpDecoder(DISC, Z_DIM, FLAT.power, width=8, layers=1)
    return GenerativeModel(decoder, linear_model().likelihood)


BOTH = pytest.mark.parametrize("model_of", [linear_model, mlp_model])


def posterior(steps: int, size: float = 0.5) -> SemiAmortized:
    made = SemiAmortized(
        Encoder(FourierFeatures(DISC, FLAT.power), Z_DIM, width=8, layers=1), steps
    )
    with torch.no_grad():
        made.log_sizes.fill_(size).log_()
    return made


def observed(model: GenerativeModel, per_particle: int = 1) -> Batch:
    batch = random_batch(PARTICLES, per_particle)
    with torch.no_grad():
        images = batch.images + model.predict(torch.randn(PARTICLES, Z_DIM), batch)
    return replace(batch, images=images, evidence=replace(batch.evidence, images=images))


def same(a: DiagonalNormal, b: DiagonalNormal, tolerance: float = 0.0) -> None:
    for x, y in ((a.loc, b.loc), (a.log_var, b.log_var)):
        torch.testing.assert_close(x.detach(), y.detach(), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("per_particle", [1, 2])
def test_many_steps_end_at_the_best_diagonal_of_the_exact_posterior(per_particle: int) -> None:
    """Its means, and the inverses of its precision's diagonal."""
    model = linear_model()
    batch = observed(model, per_particle)
    with torch.no_grad():
        exact = ExactGaussian(Z_DIM)(batch, model)
        q = posterior(600, 0.05)(batch, model)
    precision = torch.linalg.inv(exact.covariance)
    diagonal = precision.diagonal(dim1=-2, dim2=-1)
    variance = exact.covariance.diagonal(dim1=-2, dim2=-1)
    assert ((variance * diagonal).log().amax(1) > 0.3).all()
    torch.testing.assert_close(q.loc, exact.mean, rtol=0.01, atol=0.01)
    torch.testing.assert_close(q.log_var, -diagonal.log(), rtol=0, atol=0.1)


@BOTH
def test_steps_from_an_untrained_proposal_raise_the_bound(
    model_of: Callable[[], GenerativeModel],
) -> None:
    model, refined = model_of(), posterior(12, 0.3)
    batch = observed(linear_model())

    @torch.no_grad()
    def loss(q: DiagonalNormal) -> torch.Tensor:
        misfit = model.misfit(batch)
        draws = [misfit(q.rsample(torch.Generator().manual_seed(s))) for s in range(50)]
        return (torch.stack(draws).mean(0) + q.kl()).mean()

    assert loss(refined(batch, model)) < loss(refined.encoder(batch, model)) - 0.1


@BOTH
def test_only_the_evidence_counts_and_all_of_it(model_of: Callable[[], GenerativeModel]) -> None:
    model, refined = model_of(), posterior(2)
    batch, other = observed(model), random_batch(PARTICLES)
    before = refined(batch, model)
    hidden = replace(batch, images=other.images, poses=other.poses, ctf=other.ctf)
    same(refined(hidden, model), before)
    some = CoefficientSubset(torch.tensor([1, 5, 9]), 7.0)
    same(refined(batch.comparing(some), model), before)
    for twin in (
        with_evidence(batch, other.images),
        replace(batch, evidence=replace(batch.evidence, poses=other.poses)),
        replace(batch, evidence=replace(batch.evidence, ctf=other.ctf)),
    ):
        assert not torch.allclose(refined(twin, model).loc, before.loc, atol=1e-4)


@BOTH
def test_reading_without_gradients_is_the_same_and_leaves_the_model_alone(
    model_of: Callable[[], GenerativeModel],
) -> None:
    model, refined = model_of(), posterior(3)
    batch = observed(model)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with torch.no_grad():
        read = refined(batch, model)
    assert not read.loc.requires_grad
    same(read, refined(batch, model), 1e-5)
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_particle_is_refined_by_itself() -> None:
    model, refined = linear_model(), posterior(3)
    batch = observed(model)
    images, poses, ctf = batch.images[:1], batch.poses[:1], batch.ctf[:1]
    shown = Evidence(images, poses, ctf, batch.owner[:1])
    alone = Batch(batch.index[:1], batch.owner[:1], images, poses, ctf, shown)
    q = refined(batch, model)
    same(refined(alone, model), DiagonalNormal(q.loc[:1], q.log_var[:1]), 1e-4)


@pytest.mark.parametrize("weights", [lambda: Linear(Z_DIM), lambda: Network(Z_DIM, 4, 8)])
def test_gradients_through_the_steps_are_those_of_plain_slices(
    weights: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The compiled slices have no second derivative, and must not need one."""
    model, refined = subspace_model(weights()), posterior(2)
    batch = observed(model)

    def gradients() -> tuple[torch.Tensor, ...]:
        loss = NegativeElbo()(batch, refined, model, torch.Generator().manual_seed(0)).total.sum()
        return torch.autograd.grad(loss, [*model.decoder.parameters(), *refined.parameters()])

    compiled = gradients()
    monkeypatch.setattr(subspace, "slice_lattice", reference_slice_lattice)
    for found, expected in zip(compiled, gradients(), strict=True):
        largest = float(expected.abs().max())
        assert largest > 0
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4 * largest)


@pytest.mark.parametrize("missing", ["poses", "ctf"])
def test_evidence_that_the_model_cannot_explain_is_refused(missing: str) -> None:
    model = linear_model()
    batch = observed(model)
    shown = replace(batch.evidence, **{missing: None})
    refined = posterior(1)
    with pytest.raises(ValueError, match=r"needs? poses"):
        refined(replace(batch, evidence=shown), model)


def test_the_gradient_of_the_steps_reaches_the_proposal() -> None:
    """With the steps' own derivative left out, the gradient would be that of the proposal."""
    model, refined = linear_model(), posterior(1)
    batch = observed(model)
    through, direct = (
        torch.autograd.grad(of(batch, model).loc.sum(), refined.encoder.output.bias)[0][:Z_DIM]
        for of in (refined, refined.encoder)
    )
    assert (direct == PARTICLES).all()
    assert not torch.allclose(through, direct, atol=1e-2)
    of_volumes = torch.autograd.grad(refined(batch, model).loc.sum(), model.decoder.volumes)[0]
    assert of_volumes.abs().max() > 0
