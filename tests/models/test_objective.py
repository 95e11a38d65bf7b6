"""Objectives against numbers worked by hand and against exact evidence."""

import math

import pytest
import torch
from torch import nn

from builders import DISC, FLAT, random_batch, with_evidence
from cryolatent.data import Batch
from cryolatent.models import (
    Decoder,
    DiagonalNormal,
    Encoder,
    FourierFeatures,
    FourierGaussian,
    GenerativeModel,
    LookupTable,
    MlpDecoder,
    NegativeElbo,
    PointTable,
    Posterior,
    ReportObjective,
)


class LinearDecoder(Decoder):
    """Slices linear in z and independent of the pose, so that the evidence is Gaussian."""

    def __init__(self, z_dim: int) -> None:
        super().__init__()
        self.z_dim = z_dim
        self.components = nn.Parameter(0.3 * torch.randn(z_dim, DISC.size, dtype=torch.complex64))

    def slices(self, z, poses):
        return z.to(torch.complex64) @ self.components

    def volume(self, z):
        raise NotImplementedError


def exact_evidence(batch: Batch, model: GenerativeModel) -> torch.Tensor:
    """Log density of each image under the normal distribution that the linear model implies."""
    likelihood, z_dim = model.likelihood, model.decoder.z_dim
    values = []
    for row in range(len(batch)):
        basis = [
            model.predict(unit.expand(len(batch), -1), batch)[row] for unit in torch.eye(z_dim)
        ]
        real_basis = torch.stack([torch.view_as_real(b).flatten() for b in basis], dim=1)
        noise = likelihood.noise_spectrum[DISC.shells].repeat_interleave(2) / 2
        covariance = torch.diag(noise) + real_basis @ real_basis.T
        image = torch.view_as_real(batch.images[row]).flatten()
        normal = torch.distributions.MultivariateNormal(torch.zeros_like(image), covariance)
        values.append(normal.log_prob(image))
    return torch.stack(values).detach()


def linear_case(z_dim: int) -> tuple[Batch, GenerativeModel]:
    noise = torch.linspace(1.5, 0.5, DISC.radius + 1)
    model = GenerativeModel(LinearDecoder(z_dim), FourierGaussian(DISC, noise, FLAT.power))
    batch = random_batch(3)
    with torch.no_grad():
        batch.images.add_(model.predict(torch.randn(3, z_dim), batch))
    return batch, model


def test_bound_is_below_and_close_to_the_exact_evidence() -> None:
    batch, model = linear_case(z_dim=1)
    table = LookupTable(3, 1, sparse=False)
    objective = NegativeElbo()
    optimiser = torch.optim.Adam(table.parameters(), lr=0.05)
    for _ in range(600):
        optimiser.zero_grad()
        objective(batch, table, model).total.sum().backward()
        optimiser.step()
    with torch.no_grad():
        draws = torch.stack([objective(batch, table, model).total for _ in range(2000)])
    elbo, error = -draws.mean(0), draws.std(0) / len(draws) ** 0.5
    evidence = exact_evidence(batch, model)
    assert (elbo <= evidence + 4 * error).all()
    assert (evidence - elbo < 0.05 + 4 * error).all()


def test_bound_of_a_wrong_posterior_is_lower_by_its_divergence() -> None:
    batch, model = linear_case(z_dim=1)
    table = LookupTable(3, 1, sparse=False)
    with torch.no_grad():
        table.loc.fill_(2.5)
        draws = torch.stack([NegativeElbo()(batch, table, model).total for _ in range(500)])
    assert (-draws.mean(0) < exact_evidence(batch, model) - 1).all()


def test_table_of_vanishing_variance_is_a_point_table() -> None:
    batch = random_batch(4)
    likelihood = FourierGaussian(DISC, FLAT.background, FLAT.power)
    model = GenerativeModel(MlpDecoder(DISC, 2, FLAT.power, width=8, layers=1), likelihood)
    table = LookupTable(4, 2, sparse=False)
    with torch.no_grad():
        table.loc.normal_()
        table.log_var.fill_(-60.0)
    points = table.loc.detach().clone().requires_grad_()
    point_loss = likelihood.negative_log(batch.images, model.predict(points[batch.index], batch))
    terms = NegativeElbo(beta=0.0)(batch, table, model)
    torch.testing.assert_close(terms.reconstruction, point_loss)
    terms.total.sum().backward()
    point_loss.sum().backward()
    torch.testing.assert_close(table.loc.grad, points.grad)


def test_report_objective_by_hand() -> None:
    """Residuals of one everywhere: error 2, and KL of half a nat over the real coefficients."""
    batch = with_images(random_batch(2), 1.0)
    model = GenerativeModel(ZeroDecoder(), FourierGaussian(DISC, FLAT.background, FLAT.power))
    terms = ReportObjective(beta=0.25).combine(
        batch, model, torch.zeros_like(batch.images), torch.tensor([0.5, 0.0])
    )
    assert terms.reconstruction.tolist() == pytest.approx([1.0, 1.0])
    expected = 1.0 + 0.25 * 0.5 / (2 * DISC.size)
    assert terms.total.tolist() == pytest.approx([expected, 1.0], rel=1e-7)


def test_calibrated_objective_by_hand() -> None:
    batch = with_images(random_batch(2), 1.0)
    model = GenerativeModel(ZeroDecoder(), FourierGaussian(DISC, 2 * FLAT.power, FLAT.power))
    terms = NegativeElbo(beta=2.0).combine(
        batch, model, torch.zeros_like(batch.images), torch.tensor([0.5, 0.0])
    )
    reconstruction = DISC.size * (0.5 + math.log(2 * math.pi))
    assert terms.total.tolist() == pytest.approx([reconstruction + 1.0, reconstruction], rel=1e-6)


def test_observations_of_a_particle_add_up_and_share_one_divergence() -> None:
    batch = random_batch(2, per_particle=3)
    likelihood = FourierGaussian(DISC, FLAT.background, FLAT.power)
    model = GenerativeModel(ZeroDecoder(), likelihood)
    terms = NegativeElbo()(batch, LookupTable(2, 1), model)
    each = likelihood.negative_log(batch.images, torch.zeros_like(batch.images))
    torch.testing.assert_close(terms.reconstruction, each.reshape(2, 3).sum(1))
    assert terms.kl.shape == (2,)


@pytest.mark.parametrize("kind", ["encoder", "table"])
def test_posterior_sees_the_evidence_and_the_likelihood_the_images(kind: str) -> None:
    batch = random_batch(4)
    posterior: Posterior = LookupTable(4, 2)
    if kind == "encoder":
        posterior = Encoder(FourierFeatures(DISC, FLAT.power), 2, width=8, layers=1)
    model = GenerativeModel(ZeroDecoder(), FourierGaussian(DISC, FLAT.background, FLAT.power))
    twin = with_evidence(batch, torch.randn_like(batch.images))
    before, after = posterior(batch, model).mean, posterior(twin, model).mean
    assert torch.equal(before, after) == (kind == "table")
    a, b = (NegativeElbo()(x, posterior, model).reconstruction for x in (batch, twin))
    assert torch.equal(a, b)
    other_images = with_images(batch, 3.0)
    assert torch.equal(posterior(other_images, model).mean, before)


class ZeroDecoder(Decoder):
    """Renders nothing, whatever the latent."""

    def slices(self, z, poses):
        return torch.zeros(len(z), DISC.size, dtype=torch.complex64) * z.sum(-1, keepdim=True)

    def volume(self, z):
        raise NotImplementedError


def with_images(batch: Batch, value: float) -> Batch:
    images = torch.full_like(batch.images, value)
    return Batch(batch.index, batch.owner, images, batch.poses, batch.ctf, batch.evidence)


def test_kl_of_the_start_of_a_table_by_hand() -> None:
    q = DiagonalNormal(torch.zeros(1, 4), torch.full((1, 4), -8.0))
    assert float(q.kl()) == pytest.approx(4 * 0.5 * (math.exp(-8) - 1 + 8))


def test_trained_point_is_the_maximum_a_posteriori() -> None:
    """Of a linear model that is the exact posterior's mean, and the total is -log p(x, z)."""
    batch, model = linear_case(z_dim=2)
    table = PointTable(3, 2, sparse=False)
    optimiser = torch.optim.Adam(table.parameters(), lr=0.05)
    for _ in range(800):
        optimiser.zero_grad()
        NegativeElbo()(batch, table, model).total.sum().backward()
        optimiser.step()
    with torch.no_grad():
        found = table(batch, model).point
        total = NegativeElbo()(batch, table, model).total
        log_likelihood = -model.likelihood.negative_log(batch.images, model.predict(found, batch))
    prior = torch.distributions.Normal(0.0, 1.0).log_prob(found).sum(-1)
    torch.testing.assert_close(total, -(log_likelihood + prior))
    torch.testing.assert_close(found, exact_mean(batch, model), rtol=1e-3, atol=1e-3)


def exact_mean(batch: Batch, model: GenerativeModel) -> torch.Tensor:
    """Posterior means by regularised least squares on the stacked real coefficients."""
    with torch.no_grad():
        units = torch.eye(model.decoder.z_dim)
        basis = [model.predict(unit.expand(len(batch), -1), batch) for unit in units]
        weight = (2 / model.likelihood.noise_spectrum[DISC.shells]).sqrt()
        rows = torch.stack([torch.view_as_real(b * weight).flatten(1) for b in basis], dim=1)
        image = torch.view_as_real(batch.images * weight).flatten(1)
        right = (rows @ image[..., None])[..., 0]
        return torch.linalg.solve(rows @ rows.mT + torch.eye(len(units)), right)
