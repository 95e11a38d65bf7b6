"""Images drawn from a model: noise, contrast and errors of poses are those that it believes in."""

from dataclasses import replace

import pytest
import torch

from builders import DISC, random_batch, subspace_model
from cryolatent.models import GenerativeModel
from cryolatent.models.contrast import Contrast
from cryolatent.models.decoders.coefficients import Linear
from cryolatent.models.drawn import drawn
from cryolatent.models.likelihood import Bernoulli
from cryolatent.models.nuisances import Nuisances, PoseErrors
from cryolatent.physics import shift_phases


@pytest.fixture
def model() -> GenerativeModel:
    torch.manual_seed(0)
    return subspace_model(Linear(2), size=4.0).requires_grad_(False)


def test_noise_is_the_models(model: GenerativeModel) -> None:
    batch, z = random_batch(400), torch.randn(400, 2)
    made = drawn(model, batch, z, torch.Generator().manual_seed(1))
    power = (made.images - model.predict(z, batch)).abs().square()
    for shell, variance in enumerate(model.likelihood.noise_by_shell()[1:], 1):
        found = float(power[:, DISC.shells == shell].mean())
        assert found == pytest.approx(float(variance), rel=0.06)
    assert made.evidence.images is made.images
    assert made.poses is batch.poses


def test_contrast_is_one_of_the_particle(model: GenerativeModel) -> None:
    model.likelihood.nuisances = Nuisances(contrast=Contrast(0.3))
    model.likelihood.noise_spectrum *= 1e-6
    batch, z = random_batch(300, per_particle=2), torch.zeros(300, 2)
    made = drawn(model, batch, z, torch.Generator().manual_seed(1))
    gram, inner = model.likelihood.inner_products(made.images, model.predict(z, batch))
    first, second = (inner / gram).reshape(300, 2).unbind(1)
    torch.testing.assert_close(first, second, atol=1e-3, rtol=0)
    assert float(first.mean()) == pytest.approx(1, abs=0.06)
    assert float(first.std()) == pytest.approx(0.3, rel=0.12)


def test_poses_are_wrong_by_as_much_as_is_believed(model: GenerativeModel) -> None:
    model.likelihood.nuisances = Nuisances(PoseErrors(shift=0.1))
    model.likelihood.noise_spectrum *= 1e-6
    batch, z = random_batch(300), torch.zeros(300, 2)
    made, still = drawn(model, batch, z, torch.Generator().manual_seed(1)), model.predict(z, batch)
    # of a small shift along x the phase turns by -2 pi kx x / box
    step = shift_phases(DISC, torch.tensor([[1e-3, 0.0], [0.0, 1e-3]]))
    slopes = (still[:, None] * (step - 1) / 1e-3).flatten(2)
    rows = torch.view_as_real(slopes).flatten(2).mT
    off = torch.view_as_real(made.images - still).flatten(1)
    shifts = torch.linalg.lstsq(rows, off[..., None]).solution[..., 0]
    assert shifts.std(0).tolist() == pytest.approx([0.1, 0.1], rel=0.12)


def test_what_lies_beyond_the_disc_is_white_noise(model: GenerativeModel) -> None:
    batch = random_batch(40)
    blank = torch.zeros(40, DISC.box, DISC.box)
    batch = replace(batch, evidence=replace(batch.evidence, beyond=blank))
    made = drawn(model, batch, torch.zeros(40, 2), torch.Generator().manual_seed(1))
    assert made.evidence.beyond is not None
    outside = 1 - (2 * DISC.size + 1) / DISC.box**2
    expected = float(model.likelihood.noise_by_shell()[-1]) * outside
    assert float(made.evidence.beyond.square().mean()) == pytest.approx(expected, rel=0.05)


def test_other_densities_draw_nothing() -> None:
    model = GenerativeModel(subspace_model(Linear(2)).decoder, Bernoulli(16))
    with pytest.raises(TypeError, match="draws no images"):
        drawn(model, random_batch(2), torch.zeros(2, 2), torch.Generator())
