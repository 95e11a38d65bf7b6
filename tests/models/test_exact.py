"""Exact posteriors against brute force: a grid over z, the nodes of the contrast, all states."""

from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor

from builders import DISC, random_batch, subspace_model, with_evidence
from cryolatent.data import Batch
from cryolatent.models import (
    Categorical,
    ExactGaussian,
    FullNormal,
    GenerativeModel,
    LookupTable,
    OneOf,
)
from cryolatent.models.contrast import Contrast
from cryolatent.models.decoders.coefficients import Linear, Shares
from cryolatent.models.exact import Moments, class_moments, normal_moments

PARTICLES = 3
SPREADS = pytest.mark.parametrize("spread", [0.0, 0.2])
COUNTS = pytest.mark.parametrize("per_particle", [1, 2])


def observed(model: GenerativeModel, per_particle: int) -> Batch:
    """Observations that the model may have made."""
    batch = random_batch(PARTICLES, per_particle)
    decoder = model.decoder
    z = torch.randn(PARTICLES, decoder.z_dim)
    with torch.no_grad():
        images = batch.images + 1.1 * model.predict(z, batch)
    return replace(batch, images=images, evidence=replace(batch.evidence, images=images))


def of_particle(batch: Batch, particle: int, copies: int) -> Batch:
    """One particle many times over."""
    rows = torch.nonzero(batch.owner == particle)[:, 0]
    rows, count = rows.repeat(copies), len(rows)
    images, poses, ctf = batch.images[rows], batch.poses[rows], batch.ctf[rows]
    return replace(
        batch,
        index=torch.zeros(copies, dtype=torch.long),
        owner=torch.arange(copies).repeat_interleave(count),
        images=images,
        poses=poses,
        ctf=ctf,
    )


@torch.no_grad()
def log_likelihood(model: GenerativeModel, batch: Batch, particle: int, z: Tensor, a: Tensor):
    """log p(x | z, a) of one particle, less that of an empty image: one row per z, column per a."""
    many = of_particle(batch, particle, len(z))
    predicted = model.predict(z, many).to(torch.complex128)
    images = many.images.to(torch.complex128)

    def misfit(contrast: float) -> Tensor:
        return many.sum_by_particle(model.likelihood.negative_log(images, contrast * predicted))

    # quadratic in the contrast: three of them say all
    empty, one, other = misfit(0.0), misfit(1.0), misfit(-1.0)
    pull, power = (other - one) / 2, one + other - 2 * empty
    return a.double() * pull[:, None] - 0.5 * a.double().square() * power[:, None]


def nodes(contrast: Contrast) -> tuple[Tensor, Tensor]:
    """A thousand contrasts, and the logarithms of their probabilities."""
    if contrast.spread == 0:
        return torch.ones(1), torch.zeros(1)
    u = torch.linspace(-6, 6, 1000).double()
    return 1 + contrast.spread * u, (-0.5 * u.square()).log_softmax(0)


@dataclass(frozen=True)
class Integral:
    """Expectations over a grid of z and the contrast's nodes."""

    mean: Tensor
    covariance: Tensor
    first: Tensor
    second: Tensor
    gain: Tensor


def integrate(model: GenerativeModel, batch: Batch, particle: int, contrast: Contrast) -> Integral:
    axis = torch.linspace(-6, 6, 73)
    step = float(axis[1] - axis[0])
    z = torch.cartesian_prod(axis, axis)
    prior = -0.5 * z.double().square().sum(-1) - torch.log(torch.tensor(2 * torch.pi))
    a, log_weights = nodes(contrast)
    score = log_likelihood(model, batch, particle, z, a)
    score = score + prior[:, None] + log_weights
    gain = score.flatten().logsumexp(0)
    share = (score - gain).exp()
    zeta = torch.cat([torch.ones_like(z[:, :1]), z], dim=-1).double()
    a = a.double()
    mean = share.sum(1) @ z.double()
    square = torch.einsum("g,gi,gj->ij", share.sum(1), z.double(), z.double())
    return Integral(
        mean,
        square - mean[:, None] * mean,
        (share @ a) @ zeta,
        torch.einsum("g,gi,gj->ij", share @ a.square(), zeta, zeta),
        gain + 2 * torch.log(torch.tensor(step)),
    )


def close(found: Tensor, expected: Tensor, tolerance: float = 1e-4) -> None:
    torch.testing.assert_close(
        found.detach().double(), expected.double(), rtol=tolerance, atol=tolerance
    )


@torch.no_grad()
def terms(model: GenerativeModel, batch: Batch) -> tuple[Tensor, Tensor]:
    """Gram matrices and inner products from predictions alone."""
    zero, units = torch.zeros(len(batch), 2), torch.eye(2)
    at_zero = model.predict(zero, batch)
    others = [model.predict(zero + unit, batch) - at_zero for unit in units]
    g = torch.stack([at_zero, *others], dim=-1)
    weight = 2 / model.likelihood.noise_spectrum[DISC.shells]
    gram = torch.einsum("k,nkc,nkd->ncd", weight.to(g), g.conj(), g).real
    inner = torch.einsum("k,nkc,nk->nc", weight.to(g), g.conj(), batch.images).real
    return batch.sum_by_particle(gram), batch.sum_by_particle(inner)


def moments_of(model: GenerativeModel, batch: Batch, contrast: Contrast) -> Moments:
    return normal_moments(*terms(model, batch), contrast)


@SPREADS
@COUNTS
def test_likelihood_of_a_latent_is_averaged_over_contrasts(
    spread: float, per_particle: int
) -> None:
    model = subspace_model(Linear(2))
    contrast = model.likelihood.contrast = Contrast(spread)
    batch, z = observed(model, per_particle), torch.randn(PARTICLES, 2)
    empty = batch.sum_by_particle(model.likelihood.negative_log(batch.images, 0 * batch.images))
    found = model.misfit(batch)(z)
    for particle in range(PARTICLES):
        a, log_weights = nodes(contrast)
        score = log_likelihood(model, batch, particle, z[particle, None], a)
        expected = (score + log_weights).logsumexp(-1)[0] - empty[particle]
        close(-found[particle], expected)


def test_residuals_are_those_at_the_contrast_that_the_images_show() -> None:
    model = subspace_model(Linear(2), size=4.0)
    model.likelihood.contrast = Contrast(0.2)
    batch, z = random_batch(40), torch.randn(40, 2)
    chosen = 1 + 0.2 * torch.randn(40)
    with torch.no_grad():
        predicted = model.predict(z, batch)
    noise = 0.1 * torch.randn_like(predicted)
    seen = replace(batch, images=chosen[:, None] * predicted + noise)
    model.likelihood.noise_spectrum.fill_(0.01)
    model.observe(seen, predicted)
    model.likelihood.refit()
    torch.testing.assert_close(
        model.likelihood.noise_spectrum[1:], torch.full((5,), 0.01), rtol=0.2, atol=0
    )


@SPREADS
@COUNTS
def test_normal_posterior_is_the_integral(spread: float, per_particle: int) -> None:
    model = subspace_model(Linear(2))
    contrast = model.likelihood.contrast = Contrast(spread)
    batch = observed(model, per_particle)
    reading = ExactGaussian(2).read(batch, model, torch.Generator())
    q = reading.posterior
    assert isinstance(q, FullNormal)
    empty = batch.sum_by_particle(model.likelihood.negative_log(batch.images, 0 * batch.images))
    close(reading.evidence, moments_of(model, batch, contrast).gain - empty)
    close(-reading.reconstruction - reading.kl, reading.evidence)
    moments = moments_of(model, batch, contrast)
    for particle in range(PARTICLES):
        expected = integrate(model, batch, particle, contrast)
        # neither the prior again nor a point
        assert expected.covariance.diagonal().max() < 0.8
        assert expected.covariance.diagonal().min() > 0.02
        close(q.mean[particle], expected.mean)
        close(q.covariance[particle], expected.covariance)
        close(moments.first[particle], expected.first)
        close(moments.second[particle], expected.second)
        close(moments.gain[particle], expected.gain)


@SPREADS
@COUNTS
def test_responsibilities_are_the_softmax_of_the_likelihoods(
    spread: float, per_particle: int
) -> None:
    model = subspace_model(Shares(3), size=0.2)
    batch = observed(model, per_particle)
    contrast = model.likelihood.contrast = Contrast(spread)
    posterior = Categorical(3, torch.tensor([0.5, 0.3, 0.2]).log())
    reading = posterior.read(batch, model, torch.Generator())
    q = reading.posterior
    assert isinstance(q, OneOf)
    empty = batch.sum_by_particle(model.likelihood.negative_log(batch.images, 0 * batch.images))
    for particle in range(PARTICLES):
        a, log_weights = nodes(contrast)
        score = log_likelihood(model, batch, particle, torch.eye(3), a)
        score = (score + log_weights).logsumexp(-1) + posterior.log_weights
        close(q.mean[particle], score.softmax(-1))
        close(reading.evidence[particle], score.logsumexp(-1) - empty[particle])
    assert (q.mean.max(-1).values < 0.999).any()


def test_class_moments_weight_contrasts_and_states() -> None:
    contrast = Contrast(0.3)
    gram, inner = torch.tensor([[9.0, 4.0]]), torch.tensor([[8.0, 6.0]])
    log_weights = torch.tensor([0.4, 0.6]).log()
    a, log_prior = nodes(contrast)
    score = a[:, None] * inner.double() - 0.5 * a[:, None].square() * gram.double()
    score = score + log_prior[:, None] + log_weights
    share = (score - score.flatten().logsumexp(0)).exp()
    found = class_moments(gram, inner, log_weights, contrast)
    close(found.posterior.mean[0], share.sum(0))
    close(found.first[0], a @ share)
    close(found.second[0], a.square() @ share)
    close(found.gain[0], score.flatten().logsumexp(0))
    close(found.contrast[0][0], (a @ share).sum())


@pytest.mark.parametrize("power", [1.0, 30.0, 3000.0])
@pytest.mark.parametrize("z_dim", [0, 1, 3])
def test_contrast_of_normal_latents_is_integrated_however_narrow(z_dim: int, power: float) -> None:
    """Against a thousand nodes of the prior; contrasts far from one included."""
    contrast, count = Contrast(0.3), 40
    g = torch.randn(count, 60, z_dim + 1) * (power / 60) ** 0.5
    zeta = torch.cat([torch.ones(count, 1), torch.randn(count, z_dim)], dim=-1)
    true = 1 + 0.3 * torch.randn(count, 1)
    x = true * (g @ zeta[..., None])[..., 0] + torch.randn(count, 60)
    gram, inner = g.mT @ g, (g.mT @ x[..., None])[..., 0]
    found = normal_moments(gram, inner, contrast)
    a, log_prior = nodes(contrast)
    gram, inner = gram.double(), inner.double()
    at = [normal_moments(b * b * gram, b * inner) for b in a.tolist()]
    score = torch.stack([q.gain for q in at], dim=-1) + log_prior
    share = score.softmax(-1)
    assert float((found.gain - score.logsumexp(-1)).abs().max()) < 0.02
    mean = torch.stack([a_ * q.first for a_, q in zip(a, at, strict=True)], dim=-1)
    expected = (share[:, None] * mean).sum(-1)
    torch.testing.assert_close(found.first.double(), expected, rtol=0.01, atol=0.02)
    second = torch.stack([a_**2 * q.second for a_, q in zip(a, at, strict=True)], dim=-1)
    expected = (share[:, None, None] * second).sum(-1)
    torch.testing.assert_close(found.second.double(), expected, rtol=0.02, atol=0.03)


@pytest.mark.parametrize("name", ["exact", "categorical"])
def test_posterior_reads_the_evidence_never_the_images(name: str) -> None:
    model, posterior = {
        "exact": (subspace_model(Linear(2)), ExactGaussian(2)),
        "categorical": (subspace_model(Shares(3)), Categorical(3)),
    }[name]
    batch = observed(model, 1)
    other = random_batch(PARTICLES)
    before = posterior(batch, model).mean
    hidden = replace(batch, images=other.images, poses=other.poses, ctf=other.ctf)
    assert torch.equal(posterior(hidden, model).mean, before)
    for twin in (
        with_evidence(batch, other.images),
        replace(batch, evidence=replace(batch.evidence, poses=other.poses)),
        replace(batch, evidence=replace(batch.evidence, ctf=other.ctf)),
    ):
        assert not torch.allclose(posterior(twin, model).mean, before, atol=1e-3)


@pytest.mark.parametrize("posterior", [ExactGaussian(3), Categorical(3)])
def test_wrong_decoder_is_named(posterior: torch.nn.Module) -> None:
    wrong = Shares(3) if isinstance(posterior, ExactGaussian) else Linear(3)
    with pytest.raises(ValueError, match="subspace decoder"):
        posterior(random_batch(PARTICLES), subspace_model(wrong))


def test_row_parameters_belong_to_tables_alone() -> None:
    assert ExactGaussian(2).row_parameters() == Categorical(2).row_parameters() == []
    assert LookupTable(3, 2).row_parameters()
