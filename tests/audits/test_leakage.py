"""Latents that tell how a particle was recorded, and latents that do not."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from builders import small_stack, subspace_model, tilt_series
from cryolatent.audits.leakage import Leakage, recorded, residuals
from cryolatent.data import Batch, ParticleStack
from cryolatent.models import Distribution, ExactGaussian, FullNormal, GenerativeModel
from cryolatent.models.decoders.coefficients import Linear
from cryolatent.models.system import System
from subjects import Known, Shown

STACK = tilt_series([1] * 800)
RNG = np.random.default_rng(0)


class Recorded(Known):
    """Latents, widths of 0.14, and particles."""

    def particles(self) -> ParticleStack:
        return STACK


def values(name: str) -> np.ndarray:
    known, _ = recorded(STACK, torch.arange(len(STACK)))
    return next(c.values for c in known if c.name == name)


def test_latents_of_nothing_recorded_pass() -> None:
    found = Leakage().ask(Recorded(RNG.normal(size=(800, 2))))
    assert found.verdict == "pass"
    assert found.statistic is not None and found.null is not None
    # a mean of 20 of a sample's others explains less than nothing
    assert found.null.value == pytest.approx(-1 / 20, abs=0.02)
    assert set(found.numbers) == {"view", "in-plane angle", "shift", "defocus"}


@pytest.mark.parametrize("name", ["defocus", "shift", "in-plane angle"])
def test_what_is_recorded_is_found_in_latents(name: str) -> None:
    z = np.concatenate([values(name)[:, :1], RNG.normal(size=(800, 1))], axis=1)
    found = Leakage().ask(Recorded(z))
    assert found.verdict == "fail"
    assert found.note == f"Latents tell the {name}."
    assert found.statistic == found.numbers[name]


def test_views_may_be_told() -> None:
    """A latent that depends on the view alone knows of defocus what the view does: nothing."""
    found = Leakage().ask(Recorded(values("view")[:, :2] + 0.1 * RNG.normal(size=(800, 2))))
    assert found.verdict == "inconclusive"
    assert "view, which can be real" in found.note
    assert found.numbers["view"].value > 0.5


def test_states_are_asked_too() -> None:
    side = (values("defocus")[:, 0] > 0).astype(float)
    told = Leakage().ask(Recorded(np.stack([side, 1 - side], axis=1)))
    assert told.verdict == "fail"
    others = RNG.permutation(side)
    assert Leakage().ask(Recorded(np.stack([others, 1 - others], axis=1))).verdict == "pass"


def test_neighbours_of_the_own_micrograph_predict_nothing() -> None:
    """Latents and defocus that are those of the micrograph, whatever the particle."""
    group = np.arange(800) // 40
    level = RNG.normal(size=20)[group]
    defocus = RNG.normal(size=20)[group][:, None]
    z = level[:, None] + 0.01 * RNG.normal(size=(800, 1))
    left, total = residuals(z, defocus, group)
    assert 1 - left.sum() / total.sum() < 0.05
    left, total = residuals(z, defocus, np.arange(800))
    assert 1 - left.sum() / total.sum() > 0.5


def test_simulated_particles_say_where_a_leak_comes_from(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """A posterior whose means hold the defocus shows it of particles that have none of it."""
    stack = small_stack(tmp_path_factory.mktemp("leakage"), particles=300)
    ctf = replace(stack.ctf, defocus_u_angstrom=1e4 + 1e4 * torch.rand(300))
    stack = replace(stack, ctf=replace(ctf, defocus_v_angstrom=ctf.defocus_u_angstrom))

    class Telling(ExactGaussian):
        def forward(self, batch: Batch, model: GenerativeModel) -> Distribution:
            q = super().forward(batch, model)
            assert batch.ctf is not None and q.covariance_or_none is not None
            told = (batch.ctf.defocus_u_angstrom - 1.5e4) / 1e3
            return FullNormal(q.mean + told[:, None], q.covariance_or_none)

    model = subspace_model(Linear(2), size=4.0, disc=stack.disc)
    index = torch.arange(300)
    for posterior, verdict in ((Telling(2), "fail"), (ExactGaussian(2), "pass")):
        subject = Shown(stack, System(model, posterior))
        with torch.no_grad():
            subject.z = posterior(stack.batch(index), model).mean
        found = Leakage(threshold=0.15).ask(subject)
        assert found.verdict == verdict
        if verdict == "fail":
            assert "it is the inference that leaks" in found.note
        assert (found.numbers["defocus_simulated"].low > 0.15) == (verdict == "fail")
