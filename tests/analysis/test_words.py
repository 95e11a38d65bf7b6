"""What a training says that it found."""

from pathlib import Path

import pytest
import torch

from builders import exact_config, small_stack
from cryolatent.analysis.words import capped, found, named_bound
from cryolatent.models import FullNormal
from cryolatent.models.contrast import Contrast
from cryolatent.models.latents import Latents
from cryolatent.models.nuisances import TRUSTED, Nuisances, PoseErrors
from cryolatent.runs.manifest import Manifest
from cryolatent.runs.run import Run
from cryolatent.train.choice import Candidate, Choice
from cryolatent.train.recorder import Checkpoint


def choice(name: str, chosen: int, most: int) -> Choice:
    numbers = range(most + 1)
    rows = [Candidate(number=n, behind=abs(n - chosen) / 10, error=0.01) for n in numbers]
    return Choice(name=name, candidates=tuple(rows), chosen=chosen)


def run_with(folder: Path, dimensions: int, nuisances: Nuisances) -> Run:
    stack = small_stack(folder / "data", particles=6)
    manifest = Manifest.of(stack, seed=0, threads=1)
    tensors = {f"model.likelihood.{n}": t for n, t in nuisances.to_tensors(7).items()}
    start = Checkpoint(tensors, {"epoch": 0}, dimensions)
    run = Run.create(folder / "run", exact_config("exact"), manifest, start)
    q = FullNormal(torch.zeros(6, dimensions), torch.eye(dimensions).expand(6, -1, -1))
    run.write_latents(Latents(stack.ids, q, torch.zeros(6), torch.zeros(6)))
    return Run.open(folder / "run")


def test_nothing_found_is_said_in_words(tmp_path: Path) -> None:
    spectrum = torch.ones(8)
    nuisances = Nuisances(PoseErrors(0.05, 0.05, 0.5), Contrast(0.15), (0.95, 0.03, 0.02), spectrum)
    said = found(run_with(tmp_path, 0, nuisances))
    assert "no heterogeneity that these particles can show" in said
    assert "orientations look off by 2.9° per axis (5.0° in all)" in said
    assert "shifts look off by 0.50 px" in said
    assert "contrast varies by 15 %" in said
    assert "5.0 % of the images show no particle" in said


@pytest.mark.parametrize(("chosen", "expected"), [(4, True), (3, False)])
def test_no_cap_is_reached_in_silence(tmp_path: Path, chosen: int, expected: bool) -> None:
    run = run_with(tmp_path, chosen, TRUSTED)
    run.write_choices([choice("dimensions", chosen, 4), choice("states", 2, 5)])
    assert bool(capped(run)) == expected
    assert ("give a larger --z-dim" in found(run)) == expected
    assert "trusted as recorded: rotations, shifts, contrast, particles" in found(run)


def test_only_what_is_met_is_called_evidence(tmp_path: Path) -> None:
    network, exact = (run_with(tmp_path / name, 2, TRUSTED) for name in ("network", "exact"))
    q = FullNormal(torch.zeros(6, 2), torch.eye(2).expand(6, -1, -1))
    zero = torch.zeros(6)
    exact.write_latents(Latents(exact.latents().ids, q, zero, zero, evidence=zero))
    assert named_bound([network]) == "Evidence lower bound (ELBO)"
    assert named_bound([exact]) == "Evidence"
    assert named_bound([exact, network]) == "Evidence or its lower bound (ELBO)"
