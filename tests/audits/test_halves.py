"""Audits by models of the other half: predictions against dense normals, and known answers."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from builders import subspace_model
from cryolatent.audits.activity import Activity
from cryolatent.audits.halves import Agreement, Reality, neighbours
from cryolatent.audits.trust import trust
from cryolatent.cli.main import run as command
from cryolatent.data import FilteredImages
from cryolatent.models import ExactGaussian
from cryolatent.models.decoders.coefficients import Linear
from cryolatent.models.prediction import Division, Foretelling
from cryolatent.models.system import System
from cryolatent.physics import FourierDisc, FourierLattice
from cryolatent.physics.normal import nearest
from cryolatent.runs.finding import Estimate, Finding
from subjects import Known, halves

DISC = FourierDisc(16, 6)


def test_parts_do_not_touch() -> None:
    disc = FourierDisc(32, 15)
    parts = Division.of(disc)
    assert not (parts.first & parts.second).any()
    apart = torch.cdist(disc.coordinates[parts.first], disc.coordinates[parts.second])
    # and not with what stands for the other half of the plane
    across = torch.cdist(disc.coordinates[parts.first], -disc.coordinates[parts.second])
    assert min(float(apart.min()), float(across.min())) > 1.2
    for part in (parts.first, parts.second):
        assert 0.2 < part.float().mean() < 0.5


def log_normal(x: Tensor, mean: Tensor, covariance: Tensor) -> float:
    return float(torch.distributions.MultivariateNormal(mean, covariance).log_prob(x))


@torch.no_grad()
def test_predictions_are_those_of_dense_normals() -> None:
    """``log p(A, B) - (log p(A) + log p(B)) / 2`` of real and imaginary parts side by side."""
    model = subspace_model(Linear(2), size=3.0, disc=DISC)
    system = System(model, ExactGaussian(2))
    rotations = torch.linalg.qr(torch.randn(4, 3, 3)).Q
    rotations = rotations * torch.linalg.det(rotations)[:, None, None]
    transfer, noise = torch.rand(4, DISC.size), model.likelihood.noise_spectrum[DISC.shells]
    lattice = FourierLattice(DISC)
    slices = nearest(model.decoder.at_voxels(), rotations, lattice) * transfer[..., None]
    ones = torch.ones(4, 1)
    latent = torch.cat([ones, torch.randn(4, 2)], dim=1).to(slices.dtype)
    clean = (slices @ latent[..., None])[..., 0]
    images = clean + (noise / 2).sqrt() * torch.complex(*torch.randn(2, 4, DISC.size))
    index = torch.arange(4)
    power = torch.zeros(4, DISC.radius)
    part = FilteredImages(
        index, index, images * transfer, transfer.square(), power, rotations, index
    )
    found = Foretelling(system).score(part)
    parts = Division.of(DISC)
    for n in range(4):

        def gain(seen: Tensor, n: int = n) -> float:
            def real(values: Tensor) -> Tensor:
                return torch.view_as_real(values[seen]).flatten(0, 1).double()

            x, mean = real(images[n]), real(slices[n, :, 0])
            basis = torch.stack([real(slices[n, :, j]) for j in (1, 2)], dim=1)
            white = (noise[seen] / 2).double().repeat_interleave(2).diag()
            empty = log_normal(x, torch.zeros_like(x), white)
            return log_normal(x, mean, basis @ basis.T + white) - empty

        both = gain(parts.first | parts.second)
        expected = both - 0.5 * (gain(parts.first) + gain(parts.second))
        assert float(found[n]) == pytest.approx(expected, abs=2e-2)


def test_neighbours_are_others() -> None:
    z = np.random.default_rng(0).normal(size=(50, 2))
    found = neighbours(z, 5)
    assert not (found == np.arange(50)[:, None]).any()
    distance = np.linalg.norm(z[:, None] - z, axis=2)
    np.fill_diagonal(distance, np.inf)
    assert (np.sort(found, 1) == np.sort(np.argsort(distance, 1)[:, :5], 1)).all()


def test_agreement_knows_bent_and_turned_latents_from_foreign_ones() -> None:
    rng = np.random.default_rng(1)
    latents = rng.normal(size=(600, 2))
    read = halves(latents, np.ones(600))
    turned = latents @ np.linalg.qr(rng.normal(size=(2, 2)))[0]
    same = Agreement(read=read).ask(Known(turned + 0.3 * turned**3))
    assert same.verdict == "pass"
    assert same.statistic is not None and same.statistic.value > 0.8
    others = Agreement(read=read).ask(Known(turned[rng.permutation(600)]))
    assert others.verdict == "fail"
    assert others.null is not None and abs(others.null.value) < 0.1
    nothing = Agreement(read=halves(np.zeros((600, 0)), np.zeros(600))).ask(Known(latents))
    assert nothing.verdict == "inconclusive"


@pytest.mark.parametrize(
    ("gain", "verdict"),
    [(0.5, "pass"), (0.0, "inconclusive"), (-0.5, "inconclusive"), (0.03, "inconclusive")],
)
def test_reality_is_a_gain_beyond_the_margin(gain: float, verdict: str) -> None:
    rng = np.random.default_rng(2)
    noise = 0.0 if gain <= 0 else rng.normal(size=1000)
    read = halves(rng.normal(size=(1000, 1)), gain + noise * np.ones(1000))
    assert Reality(read=read).ask(Known(rng.normal(size=(1000, 2)))).verdict == verdict
    # a run that announces nothing is contradicted by what is there alone
    silent = Reality(read=read).ask(Known(np.zeros((1000, 0)))).verdict
    assert silent == ("fail" if verdict == "pass" else "not applicable")


def test_a_collapsed_posterior_is_seen() -> None:
    z = np.random.default_rng(3).normal(size=(200, 2))
    assert Activity().ask(Known(z)).verdict == "pass"
    assert Activity().ask(Known(0.01 * z)).verdict == "fail"
    assert Activity().ask(Known(z[:, :0])).verdict == "not applicable"


def finding(name: str, verdict: Any) -> Finding:
    one = Estimate(value=1.0, low=1.0, high=1.0)
    return Finding(
        name=name, question="", particles=1, statistic=one, null=None, threshold=0, verdict=verdict
    )


@pytest.mark.parametrize(
    ("verdicts", "together"),
    [
        ({"reality": "pass", "agreement": "pass"}, "pass"),
        ({"reality": "pass", "agreement": "fail"}, "fail"),
        ({"reality": "pass", "shift-consistent": "inconclusive"}, "pass"),
        ({"reality": "inconclusive", "agreement": "pass"}, "inconclusive"),
        ({"activity": "pass", "shift-consistent": "pass"}, "inconclusive"),
        ({"reality": "not applicable"}, "inconclusive"),
    ],
)
def test_verdicts_together(verdicts: dict[str, str], together: str) -> None:
    found = trust("run", [finding(*pair) for pair in verdicts.items()])
    assert found.verdict == together
    if together == "fail":
        assert "agreement" in found.sentence


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four states under wrong poses, in a run that the audit has seen."""
    folder = tmp_path_factory.mktemp("audit")
    size = "--particles 900 --box 32 --pixel-size 9 --snr 0.3 --angle-error 3 --seed 5"
    assert command(["simulate", "-o", str(folder / "data"), *size.split()]) == 0
    star, run = str(folder / "data/particles.star"), str(folder / "run")
    assert command(["train", star, "-o", run, "--threads", "1"]) == 0
    return folder


def test_an_exact_run_is_trusted_and_its_latents_of_other_particles_are_not(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, out = trained / "run", trained / "trust"
    assert audited(run, out) == 0
    assert "run: pass." in capsys.readouterr().out
    found = json.loads((out / "audit.json").read_text())
    assert {f["name"]: f["verdict"] for f in found["findings"]}["reality"] == "pass"
    assert "Trust sheet" in (out / "audit.html").read_text()
    from cryolatent.runs.run import Run

    z = Run.open(run).latents().distribution.mean.numpy()
    np.save(trained / "z.npy", z[np.random.default_rng(0).permutation(len(z))])
    star = str(trained / "data/particles.star")
    table = ["import", "latents", str(trained / "z.npy"), "--particles", star]
    assert command([*table, "-o", str(trained / "permuted")]) == 0
    # the halves are those of the particles, whatever run is asked about
    assert audited(trained / "permuted", out) == 1
    assert "not to be trusted: confirmation, agreement" in capsys.readouterr().out


def test_halves_of_other_particles_are_refused(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    size = ["--particles", "60", "--box", "32", "--pixel-size", "9", "--snr", "0.3", "--seed", "6"]
    assert command(["simulate", "-o", str(trained / "others"), *size]) == 0
    star, kept = str(trained / "others/particles.star"), trained / "trust/halves/half1"
    table = trained / "few.npy"
    np.save(table, np.random.default_rng(0).normal(size=(60, 2)))
    few = str(trained / "few")
    assert command(["import", "latents", str(table), "--particles", star, "-o", few]) == 0
    if not kept.exists():
        assert audited(trained / "run", trained / "trust") == 0
    capsys.readouterr()
    assert audited(trained / "few", trained / "trust") == 2
    assert "another content than when the run" in capsys.readouterr().err


def audited(run: Path, out: Path) -> int:
    return command(["audit", str(run), "-o", str(out), "--with-controls", "--replicas", "2"])
