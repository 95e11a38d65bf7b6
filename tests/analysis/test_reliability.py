"""One number per particle: by hand, and of images half of which are noise."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from builders import random_batch, subspace_model
from cryolatent.analysis.reliability import reliability
from cryolatent.analysis.selection import reliability_of
from cryolatent.models import Categorical, Delta, ExactGaussian
from cryolatent.models.decoders.coefficients import Linear, Shares
from cryolatent.models.drawn import drawn
from cryolatent.models.latents import Latents
from cryolatent.models.nuisances import Nuisances


def test_by_hand() -> None:
    shares = np.array([[1.0, 0.0], [0.5, 0.5], [0.9, 0.1]])
    sure = reliability(shares=shares)
    # 1 - H / log 2 with H(0.9, 0.1) = 0.325 nats
    assert sure == pytest.approx([1, 0, 0.531], abs=1e-3)
    probability = np.array([0.5, 1.0, 0.1])
    assert reliability(probability, shares) == pytest.approx(probability * sure)
    certainty = np.array([0.2, 0.4, 0.6])
    assert reliability(probability, None, certainty) == pytest.approx([0.1, 0.4, 0.06])
    assert reliability(probability, np.ones((3, 1))) == pytest.approx(probability)
    # states are what such a run is read by
    assert reliability(None, shares, certainty) == pytest.approx(sure)
    assert reliability() is None


@pytest.mark.parametrize("discrete", [False, True])
def test_noise_is_not_relied_on(discrete: bool) -> None:
    torch.manual_seed(3)
    model = subspace_model(Shares(2) if discrete else Linear(2), size=6.0).requires_grad_(False)
    posterior = Categorical(2) if discrete else ExactGaussian(2)
    generator = torch.Generator().manual_seed(1)
    batch = random_batch(200)
    made = drawn(model, batch, posterior.prior_sample(200, generator), generator)
    noise = model.likelihood.noise_by_shell()
    shells = model.likelihood.disc.shells
    images = made.images.clone()
    images[100:] = torch.randn_like(images[100:]) * noise[shells].sqrt()
    batch = replace(made, images=images, evidence=replace(made.evidence, images=images))
    model.likelihood.nuisances = Nuisances(shares=(0.5, 0.25, 0.25), junk_spectrum=0.1 * noise)
    read = posterior.read(batch, model, generator)
    ids = np.arange(200).astype(str)
    latents = Latents(ids, read.posterior, read.reconstruction, read.kl, None, read.beliefs)
    shares = read.posterior.mean.numpy() if discrete else None
    found = reliability_of(latents, shares)
    assert found is not None and (found >= 0).all() and (found <= 1).all()
    assert np.median(found[:100]) > 0.7
    assert np.median(found[100:]) < 0.1
    # of pairs of a particle and noise the particle is the more reliable
    assert (found[:100, None] > found[None, 100:]).mean() > 0.95


def test_points_claim_nothing() -> None:
    q = Delta(torch.zeros(3, 2))
    latents = Latents(np.arange(3).astype(str), q, torch.zeros(3), q.kl())
    assert reliability_of(latents, None) is None
