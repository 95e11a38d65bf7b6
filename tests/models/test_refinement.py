"""Fits with a frozen decoder, against exact posteriors and against each other."""

from dataclasses import replace

import pytest
import torch

from builders import DISC, FLAT, random_batch, subspace_model, with_evidence
from cryolatent.data import Batch
from cryolatent.models import (
    Delta,
    DiagonalNormal,
    Encoder,
    ExactGaussian,
    Fitted,
    FourierFeatures,
    GenerativeModel,
    MlpDecoder,
)
from cryolatent.models.decoders.coefficients import Fourier, Linear
from cryolatent.models.refinement import best_of, fit_latents, pool_start, prior_starts

Z_DIM, PARTICLES = 2, 5


def correlated_model() -> GenerativeModel:
    model = subspace_model(Linear(Z_DIM))
    with torch.no_grad():
        model.decoder.volumes[2] += model.decoder.volumes[1]
    return model


def observed(model: GenerativeModel, per_particle: int = 1) -> Batch:
    batch = random_batch(PARTICLES, per_particle)
    with torch.no_grad():
        images = batch.images + model.predict(torch.randn(PARTICLES, Z_DIM), batch)
    return replace(batch, images=images, evidence=replace(batch.evidence, images=images))


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@torch.no_grad()
def loss(model: GenerativeModel, batch: Batch, q: DiagonalNormal, draws: int = 200) -> torch.Tensor:
    misfit, generator = model.misfit(batch), seeded(99)
    return torch.stack([misfit(q.rsample(generator)) for _ in range(draws)]).mean(0) + q.kl()


@pytest.mark.parametrize("per_particle", [1, 2])
def test_fit_is_the_best_diagonal_of_the_exact_posterior(per_particle: int) -> None:
    model = correlated_model()
    batch = observed(model, per_particle)
    exact = ExactGaussian(Z_DIM)(batch, model)
    start = prior_starts(DiagonalNormal, PARTICLES, Z_DIM, 1)[0]
    q = fit_latents(batch, model, start, steps=1000, learning_rate=0.1, generator=seeded())
    precision = torch.linalg.inv(exact.covariance.detach()).diagonal(dim1=-2, dim2=-1)
    variance = exact.covariance.detach().diagonal(dim1=-2, dim2=-1)
    # the covariance's own diagonal is another answer
    assert (variance * precision).log().mean() > 0.3
    torch.testing.assert_close(q.loc, exact.mean.detach(), rtol=0.02, atol=0.02)
    torch.testing.assert_close(q.log_var, -precision.log(), rtol=0, atol=0.2)
    assert abs((q.log_var + precision.log()).mean()) < 0.05


def test_most_probable_of_a_pool_by_brute_force() -> None:
    model = correlated_model()
    batch = observed(model)
    pool = 2 * torch.randn(7, Z_DIM, generator=seeded(3))
    found = pool_start(batch, model, Delta(pool))
    each = [pool[row].expand(PARTICLES, -1) for row in range(len(pool))]
    with torch.no_grad():
        scores = torch.stack([model.misfit(batch)(z) + Delta(z).kl() for z in each])
    assert len(set(scores.argmin(0).tolist())) > 1
    assert torch.equal(found.point, pool[scores.argmin(0)])


def test_fitted_points_are_the_exact_means() -> None:
    model = correlated_model()
    batch = observed(model)
    start = prior_starts(Delta, PARTICLES, Z_DIM, 1)[0]
    q = fit_latents(batch, model, start, steps=400)
    assert isinstance(q, Delta)
    expected = ExactGaussian(Z_DIM)(batch, model).mean.detach()
    torch.testing.assert_close(q.point, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("kind", [DiagonalNormal, Delta])
@pytest.mark.parametrize("decoder", ["subspace", "mlp"])
def test_decoder_and_likelihood_are_left_as_they_were(kind: type, decoder: str) -> None:
    model = correlated_model()
    if decoder == "mlp":
        network = MlpDecoder(DISC, Z_DIM, FLAT.power, width=8, layers=1)
        model = GenerativeModel(network, model.likelihood)
    next(model.parameters()).requires_grad_(False)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    learning = [parameter.requires_grad for parameter in model.parameters()]
    Fitted(kind, Z_DIM, starts=2, steps=5)(observed(model), model)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert (model.likelihood.residual_count == 0).all()
    assert [parameter.requires_grad for parameter in model.parameters()] == learning
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("kind", [DiagonalNormal, Delta])
def test_several_starts_are_never_worse_than_one_and_sometimes_better(kind: type) -> None:
    """Harmonics give the bound several maxima."""
    model = subspace_model(Fourier(Z_DIM), size=0.6)
    batch = observed(model)
    few, many = (Fitted(kind, Z_DIM, starts=n, steps=60)(batch, model) for n in (1, 6))
    chosen = best_of(batch, model, [few, many], seed=-1)
    for part, wanted in zip(vars(chosen).values(), vars(many).values(), strict=True):
        assert torch.equal(part, wanted)
    assert not torch.equal(few.mean, many.mean)
    if kind is DiagonalNormal:
        assert loss(model, batch, many).mean() < loss(model, batch, few).mean()


def test_best_is_chosen_for_each_particle_and_never_what_is_not_a_number() -> None:
    model = correlated_model()
    batch = observed(model)
    exact = ExactGaussian(Z_DIM)(batch, model).mean.detach()
    far, broken = exact + 3, torch.full_like(exact, torch.nan)
    mixed = exact.clone()
    mixed[::2] = far[::2]
    other = far.clone()
    other[::2] = exact[::2]
    found = best_of(batch, model, [Delta(broken), Delta(mixed), Delta(other)])
    assert torch.equal(found.point, exact)


def test_proposal_is_a_further_start_and_is_never_made_worse() -> None:
    model = correlated_model()
    batch = observed(model)
    exact = ExactGaussian(Z_DIM)(batch, model)

    class Good(Encoder):
        def forward(self, batch: Batch, model: GenerativeModel) -> DiagonalNormal:
            precision = torch.linalg.inv(exact.covariance).diagonal(dim1=-2, dim2=-1)
            return DiagonalNormal(exact.mean.detach(), -precision.detach().log())

    proposal = Good(FourierFeatures(DISC, FLAT.power), Z_DIM, width=4, layers=1)
    alone = Fitted(DiagonalNormal, Z_DIM, starts=1, steps=2)(batch, model)
    helped = Fitted(DiagonalNormal, Z_DIM, starts=1, steps=2, proposal=proposal)(batch, model)
    best = loss(model, batch, proposal(batch, model))
    assert (loss(model, batch, alone) > best + 0.5).any()
    assert (loss(model, batch, helped) < best + 0.1).all()
    with pytest.raises(TypeError, match="DiagonalNormal for Delta"):
        Fitted(Delta, Z_DIM, steps=1, proposal=proposal)(batch, model)


def test_fitted_posterior_reads_the_evidence_never_the_images() -> None:
    model = correlated_model()
    batch, other = observed(model), random_batch(PARTICLES)
    fitted = Fitted(DiagonalNormal, Z_DIM, starts=1, steps=10)
    before = fitted(batch, model).loc
    hidden = replace(batch, images=other.images, poses=other.poses, ctf=other.ctf)
    assert torch.equal(fitted(hidden, model).loc, before)
    twin = with_evidence(batch, other.images)
    assert not torch.allclose(fitted(twin, model).loc, before, atol=1e-3)
