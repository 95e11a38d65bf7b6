"""Analysed runs made of drawn numbers, without a training."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from cryolatent.analysis.summary import (
    Cluster,
    Estimate,
    MeasuredMap,
    Summary,
    TruthComparison,
    read_summary,
    write_summary,
)
from cryolatent.config.training import TrainConfig
from cryolatent.io import write_volume
from cryolatent.models import Delta, DiagonalNormal, OneOf
from cryolatent.models.latents import Latents, penalty_name
from cryolatent.runs.manifest import Manifest
from cryolatent.runs.run import Run

PARTICLES, BOX, SHELLS, CLUSTERS = 60, 16, 6, 3
STATES = ("closed", "open <b>", "half & half")
MakeRun = Callable[..., Run]


def estimate(value: float, half: float = 0.02) -> Estimate:
    return Estimate(value=value, low=value - half, high=value + half)


def measured_of(folder: Path, number: int) -> MeasuredMap:
    """The map of a state's own particles, of which the last state's shows nothing."""
    volume = np.random.default_rng(number).normal(size=(BOX, BOX, BOX)).astype(np.float32)
    write_volume(folder / f"state_{number}.mrc", volume, 4.0)
    nothing = number == CLUSTERS - 1
    return MeasuredMap(
        file=f"analysis/maps/state_{number}.mrc",
        effective_particles=18.0,
        others=0.031,
        independent=False,
        resolution_angstrom=None if nothing else 11.5,
        fsc=tuple((0.1 if nothing else 1) * np.linspace(1, 0, BOX // 2)),
        masked=True,
    )


def make_states(run: Run) -> Run:
    """Give a run states in place of clusters, with maps of their own."""
    latents, summary = run.latents(), read_summary(run)
    labels = torch.arange(PARTICLES) % CLUSTERS
    shares = 0.9 * torch.nn.functional.one_hot(labels, CLUSTERS).float() + 0.1 / CLUSTERS
    states = OneOf(shares, torch.zeros(PARTICLES, CLUSTERS))
    run.write_latents(replace(latents, distribution=states))
    folder = run.analysis / "maps"
    folder.mkdir()
    found = tuple(
        cluster.model_copy(
            update={
                "measured": measured_of(folder, cluster.number),
                "population": estimate(1 / 3),
                "certainty": estimate(0.9333),
            }
        )
        for cluster in summary.clusters
    )
    update = {"clusters": found, "are_states": True, "z_dim": CLUSTERS, "junk": 4}
    write_summary(run, summary.model_copy(update=update))
    return run


def config_of(posterior: str, z_dim: int, objective: str, seed: int) -> TrainConfig:
    options = {"posterior": posterior, "z_dim": z_dim, "seed": seed}
    if TrainConfig.of(posterior=posterior).objective is not None:
        options |= {"objective": objective, "epochs": 6, "learning_rate": 2e-3}
    return TrainConfig.of(options)


def clusters_of(ids: list[str], labels: np.ndarray, truth: bool) -> tuple[Cluster, ...]:
    known = {
        "purity": 0.75,
        "fsc": tuple(np.linspace(1, 0, BOX // 2).tolist()),
        "resolution_angstrom": 21.5,
    }
    return tuple(
        Cluster(
            number=number,
            size=int((labels == number).sum()),
            medoid=ids[int(np.flatnonzero(labels == number)[0])],
            volume=f"analysis/volumes/cluster_{number}.mrc",
            **(known | {"nearest_state": STATES[number % 2]} if truth else {}),
        )
        for number in range(CLUSTERS)
    )


def truth_of() -> TruthComparison:
    return TruthComparison(
        state_names=STATES,
        junk=2,
        snr=0.1,
        diameter_to_box=0.6,
        ari=estimate(0.4321),
        oracle_ari=estimate(0.8771),
        fsc_area=estimate(0.3111, 0.003),
        fsc_area_ceiling=0.375,
        fsc_particles=50,
    )


def fake_run(
    path: Path,
    posterior: str = "encoder",
    *,
    truth: bool = True,
    z_dim: int = 3,
    objective: str = "elbo",
    seed: int = 0,
    shells: int = SHELLS,
    prefix: str = "",
) -> Run:
    rng = np.random.default_rng([seed, posterior == "table"])
    points = posterior == "point-table"
    ids = [f"{prefix}{row:03d}@stack.mrcs" for row in range(PARTICLES)]
    labels = np.arange(PARTICLES) % CLUSTERS
    z = rng.normal(size=(PARTICLES, z_dim)) + labels[:, None]
    path.mkdir(parents=True)
    manifest = Manifest(
        cryolatent_version="0.1.0",
        torch_version="2.6.0",
        seed=seed,
        threads=2,
        input=path.parent / "particles.star",
        input_sha256="ab" * 32,
        particles=PARTICLES,
        box=BOX,
        shells=shells,
        pixel_size_angstrom=4.0,
        status="finished",
    )
    run = Run(path, config_of(posterior, z_dim, objective, seed), manifest)
    (path / "config.toml").write_text(run.config.to_toml())
    (path / "manifest.json").write_text(manifest.model_dump_json())
    for epoch in range(6):
        spectrum = np.linspace(2, 1, SHELLS + 1).tolist() if objective == "elbo" else []
        entry = {"epoch": epoch, "step": epoch, "reconstruction": 500.0 - epoch}
        entry |= {penalty_name(not points): 5.0 + epoch}
        times = {"seconds": 95.0, "cpu_seconds": 180.0}
        run.log(entry | {"noise_spectrum": spectrum} | times)
    mean, numbers = torch.from_numpy(z).float(), torch.from_numpy(rng.normal(size=(2, PARTICLES)))
    latents = Delta(mean) if points else DiagonalNormal(mean, torch.full_like(mean, -2.0))
    run.write_latents(Latents(np.array(ids), latents, 500 + numbers[0].float(), numbers[1].float()))
    columns = {"id": ids, "pca_0": z[:, 0]}
    columns |= {"umap_0": z[:, 0], "umap_1": z[:, -1]} if z_dim > 2 else {}
    columns |= {"pca_1": z[:, 1]} if z_dim > 1 else {}
    columns |= {"state": np.where(labels == 2, -1, labels)} if truth else {}
    folder = path / "analysis" / "volumes"
    folder.mkdir(parents=True)
    pq.write_table(pa.table(columns | {"cluster": labels}), folder.parent / "embedding.parquet")
    for number in range(CLUSTERS):
        volume = rng.normal(size=(BOX, BOX, BOX)).astype(np.float32)
        write_volume(folder / f"cluster_{number}.mrc", volume, 4.0)
    summary = Summary(
        run=run.name,
        posterior=posterior,
        particles=PARTICLES,
        z_dim=z_dim,
        elbo=None if points else estimate(-1234.5, 0.8),
        kl=None if points else estimate(6.543, 0.2),
        log_joint=estimate(-1357.9, 0.8) if points else None,
        pca_explained=tuple([0.6, 0.3, 0.1][:z_dim]),
        clusters=clusters_of(ids, labels, truth),
        clusters_asked=CLUSTERS,
        seed=0,
        truth=truth_of() if truth else None,
    )
    write_summary(run, summary)
    return Run.open(path)


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """Make a run in a folder of the test, by name."""
    return lambda name, *args, **options: fake_run(tmp_path / name, *args, **options)


@pytest.fixture(scope="session")
def two_runs(tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    """An encoder and a table on the same particles."""
    folder = tmp_path_factory.mktemp("runs")
    return [fake_run(folder / "amortised"), fake_run(folder / "tabulated", "table")]


@pytest.fixture(scope="session")
def page(two_runs: list[Run], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both runs on one page."""
    from cryolatent.report import render

    return render(two_runs, tmp_path_factory.mktemp("page") / "report.html")
