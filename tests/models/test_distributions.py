import torch
from torch.distributions import Normal, kl_divergence

from cryolatent.models import Delta, DiagonalNormal
from cryolatent.models.distributions import from_columns


def test_kl_is_the_closed_form_with_the_right_sign() -> None:
    loc, log_var = torch.randn(20, 3), torch.randn(20, 3)
    expected = kl_divergence(Normal(loc, (0.5 * log_var).exp()), Normal(0.0, 1.0)).sum(-1)
    torch.testing.assert_close(DiagonalNormal(loc, log_var).kl(), expected)


def test_kl_of_one_standard_deviation_is_half_a_nat() -> None:
    q = DiagonalNormal(torch.tensor([[1.0], [0.0]]), torch.zeros(2, 1))
    assert q.kl().tolist() == [0.5, 0.0]


def test_samples_have_the_stated_moments() -> None:
    q = DiagonalNormal(torch.full((40_000, 1), 2.0), torch.full((40_000, 1), -2.0))
    sample = q.rsample(torch.Generator().manual_seed(0))
    standard_deviation = torch.exp(torch.tensor(-1.0))
    assert abs(sample.mean() - 2) < 5 * standard_deviation / 200
    assert abs(sample.std() / standard_deviation - 1) < 5 / (2 * 40_000) ** 0.5


def test_penalty_of_a_point_is_minus_its_log_prior_density() -> None:
    z = torch.randn(20, 3)
    torch.testing.assert_close(Delta(z).kl(), -Normal(0.0, 1.0).log_prob(z).sum(-1))


def test_point_is_recognised_by_its_columns_and_bounds_nothing() -> None:
    z = torch.randn(5, 2)
    columns = Delta(z).to_columns()
    assert list(columns) == ["point_0", "point_1"]
    again = from_columns(columns)
    assert isinstance(again, Delta)
    assert torch.equal(again.mean, z)
    assert not again.is_bound
    assert DiagonalNormal.is_bound
