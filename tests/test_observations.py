"""Several images of one particle: every command on such a set, and what would be wrong of each."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from cryolatent.analysis import oracle
from cryolatent.cli.main import run as cryolatent
from cryolatent.data import FilteredImages, ParticleStack, Tables, open_particles
from cryolatent.data.moves import shift_image
from cryolatent.io import read_star
from cryolatent.models import Categorical, SubspaceDecoder
from cryolatent.models.hypothesis import Hypothesis
from cryolatent.models.nuisances import TRUSTED
from cryolatent.physics import FourierLattice
from cryolatent.runs.run import Run
from cryolatent.sessions.systems import restore
from cryolatent.simulate.truth import Truth
from cryolatent.train import infer

PARTICLES, EACH = 60, 2
SMALL = {
    "encoder": ["--epochs", "2", "--encoder-width", "8", "--decoder", "subspace"],
    "table": ["--epochs", "2", "--decoder-width", "8", "--decoder-layers", "1"],
    "exact": ["--search-shells", "5", "--starts", "1"],
    "categorical": ["--search-shells", "5", "--starts", "1", "--states", "2"],
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pairs") / "data"
    simulated = ["simulate", "-o", str(folder), "--particles", str(PARTICLES), "--snr", "1"]
    sizes = ["--box", "16", "--pixel-size", "18", "--observations", str(EACH), "--junk", "0.1"]
    assert cryolatent([*simulated, *sizes]) == 0
    return folder


@pytest.fixture(scope="module")
def stack(data: Path) -> ParticleStack:
    return open_particles(data / "particles.star")


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Run]:
    def train(posterior: str) -> Run:
        out = tmp_path_factory.mktemp("runs") / posterior
        options = ["--posterior", posterior, "--z-dim", "2", "--threads", "1", *SMALL[posterior]]
        assert cryolatent(["train", str(data / "particles.star"), "-o", str(out), *options]) == 0
        return Run.open(out)

    return cache(train)


def test_simulated_particles_have_images_of_their_own(data: Path, stack: ParticleStack) -> None:
    assert (len(stack), len(stack.images)) == (PARTICLES, PARTICLES * EACH)
    truth = Truth.load(data / "truth")
    assert truth.ids.tolist() == stack.ids.tolist()
    assert len(truth.state) == PARTICLES
    assert len(truth.poses) == PARTICLES * EACH
    torch.testing.assert_close(stack.poses.rotations, truth.poses.rotations, rtol=0, atol=1e-5)
    pairs = stack.poses.rotations.unflatten(0, (PARTICLES, EACH))
    assert (pairs[:, 0] - pairs[:, 1]).abs().amax((1, 2)).min() > 0.01
    assert stack.half_set.tolist() == [1 + p % 2 for p in range(PARTICLES)]


def test_rows_of_a_particle_need_not_follow_each_other(data: Path, stack: ParticleStack) -> None:
    order = torch.arange(PARTICLES * EACH).flip(0)
    names = np.repeat(stack.ids, EACH)
    rows = ParticleStack(
        images=stack.images.select(order.numpy()),
        poses=stack.poses[order],
        ctf=stack.ctf[order],
        ids=order.numpy().astype(str),
        offsets=torch.arange(PARTICLES * EACH + 1),
        source=stack.source,
        source_rows=order.numpy(),
        half_set=np.zeros(PARTICLES * EACH, dtype=int),
    ).grouped(names[order.numpy()])
    assert rows.ids.tolist() == stack.ids[::-1].tolist()
    ours, theirs = rows.batch(torch.tensor([3])), stack.batch(torch.tensor([PARTICLES - 4]))
    torch.testing.assert_close(ours.images.flip(0), theirs.images)


def test_a_particle_without_images_is_certain_of_nothing(stack: ParticleStack) -> None:
    part = FilteredImages.read(stack, torch.arange(2), stack.disc)
    both = replace(part, owner=torch.zeros(len(part.images), dtype=torch.long))
    lattice = FourierLattice(stack.disc)
    values = torch.randn(lattice.size, 2, dtype=torch.complex64)
    noise = torch.ones(stack.disc.radius + 1)
    hypothesis = Hypothesis(lattice, values, noise, Categorical(2))
    found = hypothesis.explain(both)
    assert found.compared.empty[1] == 0
    assert (found.terms.gram[1] == 0).all()
    assert (found.terms.inner[1] == 0).all()
    alone = hypothesis.explain(part)
    torch.testing.assert_close(found.terms.gram[0], alone.terms.gram.sum(0))
    torch.testing.assert_close(found.compared.empty[0], alone.compared.empty.sum())


def test_oracle_adds_the_observations(data: Path, stack: ParticleStack) -> None:
    truth = Truth.load(data / "truth")
    good = np.flatnonzero(truth.state >= 0)
    both = oracle(stack, truth, np.arange(PARTICLES))
    assert len(both.state) == PARTICLES
    right = (both.state == truth.state)[good].mean()
    first = stack.offsets[:-1]
    one = ParticleStack(
        images=stack.images.select(first.numpy()),
        poses=stack.poses[first],
        ctf=stack.ctf[first],
        ids=stack.ids,
        offsets=torch.arange(PARTICLES + 1),
        source=stack.source,
        source_rows=first.numpy(),
        half_set=stack.half_set,
    )
    alone = (oracle(one, truth, np.arange(PARTICLES)).state == truth.state)[good].mean()
    assert right >= alone
    assert right > 0.95


@pytest.mark.parametrize("posterior", SMALL)
def test_runs_have_a_row_per_particle(
    data: Path, stack: ParticleStack, trained: Callable[[str], Run], posterior: str, tmp_path: Path
) -> None:
    run = trained(posterior)
    latents = run.latents()
    assert latents.ids.tolist() == stack.ids.tolist()
    found = tmp_path / "z.parquet"
    star = str(data / "particles.star")
    fits = ["--steps", "3", "--starts", "1"]
    assert cryolatent(["infer", str(run.path), star, "-o", str(found), *fits]) == 0
    if posterior in ("exact", "categorical"):
        from cryolatent.runs.latents import read_latents

        again = read_latents(found)
        torch.testing.assert_close(again.evidence, latents.evidence, rtol=1e-6, atol=0)


def test_evidence_is_that_of_all_images_of_a_particle(
    stack: ParticleStack, trained: Callable[[str], Run]
) -> None:
    """Brute force over the states: the log-likelihoods of a particle's images add."""
    run = trained("categorical")
    system, batch = restore(run), stack.batch(torch.arange(8))
    assert isinstance(system.model.decoder, SubspaceDecoder)
    system.model.likelihood.nuisances = TRUSTED
    states = torch.eye(system.posterior.z_dim)
    with torch.no_grad():
        scores = [-system.model.misfit(batch)(z.expand(8, -1)) for z in states]
    expected = (torch.stack(scores, -1) + system.posterior.log_weights).logsumexp(-1)
    found = infer(system, stack, 0).evidence
    torch.testing.assert_close(found[:8], expected, rtol=1e-5, atol=1e-2)


def test_encoder_reads_all_images_of_the_evidence(
    stack: ParticleStack, trained: Callable[[str], Run]
) -> None:
    from dataclasses import replace

    system, batch = restore(trained("encoder")), stack.batch(torch.arange(4))
    shown = batch.evidence
    keep = torch.tensor([0, 2, 3, 4, 6])
    fewer = replace(
        shown,
        images=shown.images[keep],
        poses=shown.poses[keep],
        ctf=shown.ctf[keep],
        owner=shown.owner[keep],
    )
    with torch.no_grad():
        whole = system.posterior(batch, system.model).mean
        part = system.posterior(replace(batch, evidence=fewer), system.model).mean
    torch.testing.assert_close(part[1], whole[1])
    assert not torch.allclose(part[0], whole[0])
    assert shift_image(fewer, stack.disc, torch.ones(2)).owner.tolist() == [0, 1, 1, 2, 3]


def test_analysis_report_volumes_and_export(
    data: Path, trained: Callable[[str], Run], tmp_path: Path
) -> None:
    run = trained("categorical")
    out = str(run.path)
    assert cryolatent(["analyze", out, "--truth", str(data / "truth")]) == 0
    assert cryolatent(["report", out]) == 0
    volumes = ["volumes", out, "-o", str(tmp_path / "v"), "--effective-particles", "30"]
    assert cryolatent(volumes) == 0
    chosen = tmp_path / "chosen.star"
    assert cryolatent(["export", out, "--select", "cluster=0", "-o", str(chosen)]) == 0
    names = read_star(chosen).strings("rlnTomoParticleName").tolist()
    counts = {name: names.count(name) for name in names}
    assert set(counts.values()) == {EACH}
    rows = tmp_path / "rows.npy"
    assert cryolatent(["export", out, "--select", "cluster=0", "-o", str(rows)]) == 0
    picked = open_particles(chosen, datadir=data)
    assert len(np.load(rows)) == len(names) == len(picked.images)
    assert len(picked) == len(counts)


def test_backprojection_uses_every_image(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    star = str(data / "particles.star")
    assert cryolatent(["backproject", star, "-o", str(tmp_path / "map")]) == 0
    assert "images per second" in capsys.readouterr().out


def test_packed_particles_keep_their_images(
    data: Path, stack: ParticleStack, tmp_path: Path
) -> None:
    packed = tmp_path / "packed"
    prepare = ["prepare", str(data / "particles.star"), "-o", str(packed), "--normalise", "none"]
    assert cryolatent([*prepare, "--no-invert-contrast"]) == 0
    again = open_particles(packed)
    assert again.ids.tolist() == stack.ids.tolist()
    assert again.offsets.tolist() == stack.offsets.tolist()
    index = torch.tensor([5, 2])
    torch.testing.assert_close(
        again.batch(index).images, stack.batch(index).images, rtol=1e-4, atol=1e-4
    )
    out = tmp_path / "run"
    small = ["--posterior", "exact", "--z-dim", "1", *SMALL["exact"]]
    assert cryolatent(["train", str(packed), "-o", str(out), *small]) == 0
    assert len(Run.open(out).latents().ids) == PARTICLES
    np.save(tmp_path / "ind.npy", np.array([7, 6, 1]))
    some = open_particles(packed, tables=Tables(ind=tmp_path / "ind.npy"))
    assert (some.ids.tolist(), some.offsets.tolist()) == (stack.ids[[3, 0]].tolist(), [0, 2, 3])
    exported = tmp_path / "all.star"
    assert cryolatent(["export", str(out), "-o", str(exported)]) == 0
    assert len(read_star(exported)) == PARTICLES * EACH


def test_symmetric_copies_keep_the_images_of_their_particle(data: Path) -> None:
    expanded = open_particles(data / "particles.star", symmetry="C2")
    assert len(expanded) == 2 * PARTICLES
    assert expanded.offsets.diff().unique().tolist() == [EACH]
