"""A whole pass and a whole training step on PyTorch's ``meta`` device.

There a tensor of another device, or a number read from the device, raises: what passes here needs
no processor on its way.
"""

import pytest
import torch

from builders import DISC, FLAT, random_batch, small_digits
from cryolatent.config.training import TrainConfig
from cryolatent.data import FilteredImages
from cryolatent.data.source import Geometry
from cryolatent.models import Categorical, ExactGaussian, GenerativeModel
from cryolatent.models.contrast import Contrast
from cryolatent.models.hypothesis import Hypothesis
from cryolatent.models.nuisances import Nuisances, PoseErrors
from cryolatent.models.posteriors.exact import ClosedForm
from cryolatent.models.registry import DECODERS, LIKELIHOODS, OBJECTIVES, POSTERIORS
from cryolatent.models.setting import Setting
from cryolatent.models.system import System
from cryolatent.physics import FourierLattice
from cryolatent.physics.devices import on_device
from cryolatent.train.em.corrections import Corrections, PassDraws
from cryolatent.train.em.step import sweep
from cryolatent.train.em.volumes import MaskedVolumes
from cryolatent.train.optimisers import build_optimisers

META = torch.device("meta")
PARTICLES = 6


def parts(particles: int) -> FilteredImages:
    n, k = 2 * particles, DISC.size
    whole = FilteredImages(
        torch.arange(particles),
        torch.arange(particles).repeat_interleave(2),
        torch.randn(n, k, dtype=torch.complex64),
        torch.rand(n, k),
        torch.rand(n, DISC.radius),
        torch.eye(3).expand(n, 3, 3).contiguous(),
        torch.arange(n),
    )
    return on_device(whole, META)


def doubting(particles: int) -> tuple[Nuisances, PassDraws]:
    """Everything is wrong, and images are inserted at draws of their poses."""
    spectrum = torch.ones(DISC.radius + 1, device=META)
    nuisances = Nuisances(PoseErrors(0.1, 0.1, 0.5), Contrast(0.1), (0.9, 0.05, 0.05), spectrum)
    n = 2 * particles
    known = Corrections(
        *(torch.randn(n, *shape, device=META) for shape in ((5,), (5, 5))),
        *(torch.ones(particles, *shape, device=META) for shape in ((2,), ())),
    )
    normal = torch.randn(particles, 32, device=META), torch.randn(n, 5, device=META)
    return nuisances, PassDraws(known, *normal)


@pytest.mark.parametrize("doubts", [False, True])
@pytest.mark.parametrize("spread", [0.0, 0.1])
@pytest.mark.parametrize("kind", ["exact", "states"])
def test_a_pass_of_expectation_maximisation(kind: str, spread: float, doubts: bool) -> None:
    posterior: ClosedForm = ExactGaussian(2) if kind == "exact" else Categorical(3)
    posterior = posterior.to(META)
    lattice = FourierLattice(DISC).to(META)
    side, components = lattice.side, 3
    space = MaskedVolumes(
        lattice,
        torch.ones(1, side, side, side, device=META),
        torch.ones(DISC.radius + 1, components, device=META),
        torch.eye(components, device=META),
    )
    fields = torch.randn(components, side, side, side, device=META)
    noise = torch.ones(DISC.radius + 1, device=META)
    nuisances, draws = Nuisances(contrast=Contrast(spread)), None
    if doubts:
        nuisances, draws = doubting(4)
    hypothesis = Hypothesis(lattice, space.values(fields), noise, posterior, nuisances)
    found = sweep([parts(4), parts(3)], hypothesis, draws, refit_noise=True)
    assert found.evidence.device == found.matrix.device == META
    assert (found + found).vector.device == META
    assert space.improve(fields, found.matrix, found.vector, 3).device == META


SYSTEMS = [
    {"posterior": "encoder", "decoder": "mlp"},
    {"posterior": "encoder", "decoder": "mlp", "decoder_output": "hartley"},
    {"posterior": "encoder", "decoder": "mlp", "decoder_encoding": "gaussian"},
    {"posterior": "encoder", "decoder": "mlp", "precision": "bfloat16"},
    {"posterior": "encoder", "decoder": "subspace"},
    {"posterior": "encoder", "decoder": "subspace", "coefficients": "polynomial"},
    {"posterior": "encoder", "decoder": "subspace", "coefficients": "fourier"},
    {"posterior": "encoder", "decoder": "subspace", "coefficients": "network"},
    {"posterior": "encoder", "decoder": "subspace", "contrast_spread": 0.1},
    {"posterior": "encoder", "decoder": "mlp", "objective": "report"},
    {"posterior": "table", "decoder": "mlp", "table_optimiser": "adam"},
    {"posterior": "point-table", "decoder": "subspace", "table_optimiser": "adam"},
    {"posterior": "semi-amortized", "decoder": "mlp"},
]


@pytest.mark.parametrize("options", SYSTEMS, ids=lambda o: " ".join(map(str, o.values())))
def test_a_step_of_a_training(options: dict) -> None:
    config = TrainConfig.of({"z_dim": 2} | options).resolved()
    setting = Setting(Geometry(DISC.box, DISC.radius), PARTICLES, 2, statistics=FLAT)
    model = GenerativeModel(
        DECODERS.build(config.decoder, setting), LIKELIHOODS.build(config.likelihood, setting)
    )
    system = System(model, POSTERIORS.build(config.posterior, setting)).to(META)
    assert config.objective is not None
    loss_of = OBJECTIVES.part(config.objective.kind)(config.objective.beta)
    batch = on_device(random_batch(PARTICLES, 2), META)
    terms = loss_of(batch, system.posterior, system.model, torch.Generator())
    assert terms.total.device == META
    optimisers = build_optimisers(system, 1e-3)
    terms.total.mean().backward()
    for optimiser in optimisers:
        optimiser.step()
    for parameter in [*system.model.parameters(), *system.posterior.parameters()]:
        assert parameter.grad is None or parameter.grad.device == META


def test_a_step_of_a_training_on_pictures() -> None:
    config = TrainConfig.of(posterior="encoder", decoder="pixel", z_dim=2).resolved()
    setting = Setting(Geometry(6), PARTICLES, 2)
    model = GenerativeModel(
        DECODERS.build(config.decoder, setting), LIKELIHOODS.build(config.likelihood, setting)
    )
    system = System(model, POSTERIORS.build(config.posterior, setting)).to(META)
    batch = on_device(small_digits(PARTICLES).batch(torch.arange(PARTICLES)), META)
    terms = OBJECTIVES.part("elbo")(1.0)(batch, system.posterior, system.model, torch.Generator())
    optimisers = build_optimisers(system, 1e-3)
    terms.total.mean().backward()
    for optimiser in optimisers:
        optimiser.step()
    assert terms.total.device == META


def test_a_processor_tensor_on_the_way_is_found() -> None:
    """What the tests above rely on."""
    here, there = torch.ones(3), torch.ones(3, device=META)
    with pytest.raises(RuntimeError):
        torch.stack([here, there])
    with pytest.raises((RuntimeError, NotImplementedError)):
        there.sum().item()
