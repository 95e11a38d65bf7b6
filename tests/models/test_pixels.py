"""Pictures under the contract of decoders, likelihoods and posteriors."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from builders import small_digits
from cryolatent.models import (
    Bernoulli,
    Delta,
    DiagonalNormal,
    Encoder,
    Fitted,
    GenerativeModel,
    LookupTable,
    NegativeElbo,
    PixelDecoder,
    PixelFeatures,
    PointTable,
    SemiAmortized,
    SummedElbo,
)
from cryolatent.models.layers import PlainMlp

SIDE, Z_DIM, COUNT = 6, 2, 5


def encoder() -> Encoder:
    return Encoder(PixelFeatures(SIDE), Z_DIM, width=8, layers=1, hidden=PlainMlp)


POSTERIORS = {
    "encoder": encoder,
    "semi-amortised": lambda: SemiAmortized(encoder(), steps=2),
    "table": lambda: LookupTable(COUNT, Z_DIM),
    "points": lambda: PointTable(COUNT, Z_DIM),
    "fitted": lambda: Fitted(DiagonalNormal, Z_DIM, starts=2, steps=3),
    "fitted points": lambda: Fitted(Delta, Z_DIM, starts=2, steps=3),
}


def model() -> GenerativeModel:
    return GenerativeModel(PixelDecoder(SIDE, Z_DIM, width=8), Bernoulli(SIDE))


@pytest.mark.parametrize("name", POSTERIORS)
def test_every_posterior_works_on_pictures(name: str) -> None:
    posterior, generative = POSTERIORS[name](), model()
    if isinstance(posterior, PointTable):
        with torch.no_grad():
            posterior.loc.normal_()
    batch = small_digits(COUNT, SIDE).batch(torch.arange(COUNT))
    NegativeElbo()(batch, posterior, generative).total.sum().backward()
    assert posterior(batch, generative).mean.shape == (COUNT, Z_DIM)
    for key, parameter in [*posterior.named_parameters(), *generative.named_parameters()]:
        assert parameter.grad is not None, key
        assert parameter.grad.to_dense().abs().sum() > 0, key


def test_cross_entropy_by_hand() -> None:
    likelihood = Bernoulli(2)
    images = torch.tensor([[0.0, 1.0, 0.25, 1.0]])
    chance = torch.tensor([[0.1, 0.8, 0.5, 0.5]], dtype=torch.double)
    odds = torch.logit(chance).float()
    expected = -torch.log(torch.tensor(0.9 * 0.8 * 0.5 * 0.5))
    torch.testing.assert_close(likelihood.negative_log(images, odds), expected[None])
    squared = (0.1**2 + 0.2**2 + 0.25**2 + 0.5**2) / 4
    found = likelihood.mean_squared_error(images, odds)
    torch.testing.assert_close(found, torch.tensor([squared]))


def test_cross_entropy_and_its_slope_stay_finite_far_out() -> None:
    odds = torch.tensor([[-200.0, 200.0, 200.0, -200.0]], requires_grad=True)
    loss = Bernoulli(2).negative_log(torch.tensor([[0.0, 1.0, 0.0, 1.0]]), odds)
    loss.sum().backward()
    assert float(loss.detach()) == pytest.approx(400.0)
    assert odds.grad is not None
    assert odds.grad.tolist() == [[0.0, 0.0, 1.0, -1.0]]


def test_summed_objective_is_the_batchs_sum() -> None:
    """The mean that the trainer takes is the sum of the authors' loss; parts stay per image."""
    batch = small_digits(COUNT, SIDE).batch(torch.arange(COUNT))
    posterior, generative = encoder(), model()
    terms = SummedElbo()(batch, posterior, generative, torch.Generator().manual_seed(3))
    q = posterior(batch, generative)
    z = q.rsample(torch.Generator().manual_seed(3))
    grey = torch.sigmoid(generative.decoder.slices(z, None))
    entropy = torch.nn.functional.binary_cross_entropy(grey, batch.images, reduction="sum")
    divergence = -0.5 * (1 + q.log_var - q.loc**2 - q.log_var.exp()).sum()
    torch.testing.assert_close(terms.total.mean(), entropy + divergence)
    torch.testing.assert_close(terms.reconstruction.sum(), entropy)
    torch.testing.assert_close(terms.kl.sum(), divergence)


def test_picture_is_a_volume_of_one_section() -> None:
    decoder, z = PixelDecoder(SIDE, Z_DIM, width=8), torch.randn(3, Z_DIM)
    pictures = decoder.volume(z)
    assert pictures.shape == (3, 1, SIDE, SIDE)
    torch.testing.assert_close(torch.logit(pictures.flatten(1)), decoder.slices(z, None))
    assert torch.equal(
        decoder.slices_at(z, None, torch.tensor([4])), decoder.slices(z, None)[:, [4]]
    )


def test_saved_and_loaded_decoder_is_the_same(tmp_path: Path) -> None:
    first, second = PixelDecoder(SIDE, Z_DIM, width=8), PixelDecoder(SIDE, Z_DIM, width=8)
    save_file(first.state_dict(), tmp_path / "d.safetensors")
    second.load_state_dict(load_file(tmp_path / "d.safetensors"))
    z = torch.randn(2, Z_DIM)
    assert torch.equal(first.volume(z), second.volume(z))
