"""What every posterior and every decoder must do, whatever it is."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from safetensors.torch import load_file, save_file

from builders import DISC, FLAT, random_batch
from cryolatent.models import (
    Categorical,
    Decoder,
    Delta,
    DiagonalNormal,
    Encoder,
    ExactGaussian,
    Fitted,
    FourierFeatures,
    FourierGaussian,
    GenerativeModel,
    HartleyDecoder,
    LookupTable,
    MlpDecoder,
    NegativeElbo,
    PointTable,
    Posterior,
    SemiAmortized,
    SubspaceDecoder,
)
from cryolatent.models.contrast import Contrast
from cryolatent.models.cryodrgn import CryodrgnDecoder, CryodrgnEncoder
from cryolatent.models.decoders.coefficients import (
    CoefficientMap,
    Fourier,
    Linear,
    Network,
    Polynomial,
    Shares,
)
from cryolatent.models.decoders.encodings import Coordinates, GaussianEncoding
from cryolatent.models.distributions import from_columns
from cryolatent.models.layers import PlainMlp
from cryolatent.models.nuisances import Nuisances
from cryolatent.models.posteriors.imported import Imported
from cryolatent.physics import Interpolation

Z_DIM, PARTICLES = 3, 4


def subspace(
    coefficients: CoefficientMap, interpolation: Interpolation = Interpolation.TRILINEAR
) -> Decoder:
    return SubspaceDecoder(DISC, coefficients, FLAT.power, interpolation=interpolation)


def points(sparse: bool) -> Posterior:
    """Away from zero, where a latent's weights have no gradient."""
    table = PointTable(PARTICLES, Z_DIM, sparse=sparse)
    with torch.no_grad():
        table.loc.normal_()
    return table


def imported(widths: bool) -> Posterior:
    rows = Imported(PARTICLES, Z_DIM, widths=widths)
    rows.loc.normal_()
    return rows


def encoder(frame: Literal["raw", "aligned"]) -> Encoder:
    return Encoder(FourierFeatures(DISC, FLAT.power, frame), Z_DIM, width=8, layers=2)


def mlp(**options: Any) -> Decoder:
    return MlpDecoder(DISC, Z_DIM, FLAT.power, width=8, layers=2, **options)


POSTERIORS: dict[str, Callable[[], Posterior]] = {
    "encoder": lambda: encoder("raw"),
    "encoder, aligned": lambda: encoder("aligned"),
    "semi-amortised": lambda: SemiAmortized(encoder("raw"), steps=2),
    "table": lambda: LookupTable(PARTICLES, Z_DIM),
    "table with contrast": lambda: LookupTable(PARTICLES, Z_DIM),
    "dense table": lambda: LookupTable(PARTICLES, Z_DIM, sparse=False),
    "point table": lambda: points(sparse=True),
    "dense point table": lambda: points(sparse=False),
    "imported": lambda: imported(widths=True),
    "imported points": lambda: imported(widths=False),
    "cryodrgn": lambda: CryodrgnEncoder(DISC, Z_DIM, width=8, layers=2),
    "fitted": lambda: Fitted(DiagonalNormal, Z_DIM, starts=2, steps=3),
    "fitted points": lambda: Fitted(Delta, Z_DIM, starts=2, steps=3),
    "exact": lambda: ExactGaussian(Z_DIM),
    "exact with contrast": lambda: ExactGaussian(Z_DIM),
    "categorical": lambda: Categorical(Z_DIM),
    "categorical with contrast": lambda: Categorical(Z_DIM),
}
DECODERS: dict[str, Callable[[], Decoder]] = {
    "mlp": lambda: MlpDecoder(DISC, Z_DIM, FLAT.power, width=8, layers=2),
    "mlp, gaussian": lambda: mlp(encoding=GaussianEncoding(DISC.box, 0)),
    "mlp, coordinates": lambda: mlp(encoding=Coordinates(DISC.box)),
    "mlp, plain": lambda: mlp(hidden=PlainMlp),
    "hartley": lambda: HartleyDecoder(DISC, Z_DIM, FLAT.power, width=8, layers=2),
    "cryodrgn": lambda: CryodrgnDecoder(DISC, Z_DIM, width=8, layers=2),
    "cryodrgn, hartley": lambda: CryodrgnDecoder(
        DISC, Z_DIM, encoding="geom_lowf", frequencies=5, width=8, layers=2, outputs=1
    ),
    "linear": lambda: subspace(Linear(Z_DIM)),
    "linear, nearest": lambda: subspace(Linear(Z_DIM), Interpolation.NEAREST),
    "polynomial": lambda: subspace(Polynomial(Z_DIM)),
    "fourier": lambda: subspace(Fourier(Z_DIM)),
    "network": lambda: subspace(Network(Z_DIM, outputs=4, width=8)),
    "shares": lambda: subspace(Shares(Z_DIM)),
}
NEEDS = {"exact": ("linear", "linear, nearest"), "categorical": ("shares",)}
"""Decoders that a posterior's first word allows, where not all."""


def decoders_for(posterior: str) -> tuple[str, ...]:
    return NEEDS.get(posterior.split(maxsplit=1)[0], tuple(DECODERS))


PAIRS = [(posterior, decoder) for posterior in POSTERIORS for decoder in decoders_for(posterior)]


def model_with(decoder: Decoder, posterior: str = "") -> GenerativeModel:
    contrast = Contrast(0.2 if "contrast" in posterior else 0.0)
    return GenerativeModel(
        decoder, FourierGaussian(DISC, FLAT.background, FLAT.power, Nuisances(contrast=contrast))
    )


@pytest.fixture(params=POSTERIORS)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def posterior(name: str) -> Posterior:
    return POSTERIORS[name]()


@pytest.fixture
def model(name: str) -> GenerativeModel:
    return model_with(DECODERS[decoders_for(name)[0]](), name)


@pytest.fixture(params=DECODERS)
def decoder(request: pytest.FixtureRequest) -> Decoder:
    return DECODERS[request.param]()


@pytest.mark.parametrize("per_particle", [1, 3])
def test_posterior_has_one_row_per_particle(
    posterior: Posterior, model: GenerativeModel, per_particle: int
) -> None:
    q = posterior(random_batch(PARTICLES, per_particle), model)
    assert q.mean.shape == q.rsample().shape == (PARTICLES, Z_DIM)
    assert q.kl().shape == (PARTICLES,)
    assert (q.kl() >= 0).all()
    assert q.is_bound == posterior.is_bound


@pytest.mark.parametrize(("posterior_name", "decoder_name"), PAIRS)
def test_gradient_reaches_every_parameter(posterior_name: str, decoder_name: str) -> None:
    posterior, decoder = POSTERIORS[posterior_name](), DECODERS[decoder_name]()
    model = model_with(decoder, posterior_name)
    NegativeElbo()(random_batch(PARTICLES), posterior, model).total.sum().backward()
    for name, parameter in [*posterior.named_parameters(), *decoder.named_parameters()]:
        assert parameter.grad is not None, name
        assert parameter.grad.to_dense().abs().sum() > 0, name


def test_saved_and_loaded_posterior_is_the_same(
    posterior: Posterior, model: GenerativeModel, tmp_path: Path
) -> None:
    batch = random_batch(PARTICLES)
    before = posterior(batch, model).mean
    save_file(posterior.state_dict(), tmp_path / "p.safetensors")
    with torch.no_grad():
        for tensor in posterior.state_dict().values():
            tensor.add_(torch.randn_like(tensor))
    posterior.load_state_dict(load_file(tmp_path / "p.safetensors"))
    assert torch.equal(posterior(batch, model).mean, before)


def test_samples_repeat_with_their_generator(posterior: Posterior, model: GenerativeModel) -> None:
    q = posterior(random_batch(PARTICLES), model)
    first, again, other = (q.rsample(torch.Generator().manual_seed(s)) for s in (1, 1, 2))
    assert torch.equal(first, again)
    assert torch.equal(first, other) == isinstance(q, Delta)


def test_distribution_survives_its_columns(posterior: Posterior, model: GenerativeModel) -> None:
    q = posterior(random_batch(PARTICLES), model)
    again = from_columns(q.to_columns() | {"kl": q.kl()})
    assert type(again) is type(q)
    assert torch.equal(again.mean, q.mean)
    assert torch.equal(again.kl(), q.kl())


def test_decoder_renders_slices_and_volumes(decoder: Decoder) -> None:
    batch, z = random_batch(PARTICLES), torch.randn(PARTICLES, Z_DIM)
    assert decoder.slices(z, batch.poses).shape == (PARTICLES, DISC.size)
    assert decoder.volume(z).shape == (PARTICLES, 16, 16, 16)


@pytest.mark.parametrize("index", [slice(None), torch.tensor([2, 7, 30])])
def test_chosen_coefficients_are_those_of_the_slices(
    decoder: Decoder, index: torch.Tensor | slice
) -> None:
    batch, z = random_batch(PARTICLES), torch.randn(PARTICLES, Z_DIM)
    chosen = decoder.slices_at(z, batch.poses, index)
    torch.testing.assert_close(chosen, decoder.slices(z, batch.poses)[:, index])


def test_saved_and_loaded_decoder_is_the_same(decoder: Decoder, tmp_path: Path) -> None:
    z = torch.randn(1, Z_DIM)
    before = decoder.volume(z)
    save_file(decoder.state_dict(), tmp_path / "d.safetensors")
    with torch.no_grad():
        for parameter in decoder.parameters():
            parameter.add_(1.0)
    decoder.load_state_dict(load_file(tmp_path / "d.safetensors"))
    assert torch.equal(decoder.volume(z), before)


def test_decoder_without_poses_says_so(decoder: Decoder) -> None:
    with pytest.raises(ValueError, match="poses"):
        decoder.slices(torch.zeros(1, Z_DIM), None)
