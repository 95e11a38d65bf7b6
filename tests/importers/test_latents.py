"""Latents from tables of any program."""

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from builders import small_stack
from cryolatent.analysis import analyze, export, local_volumes
from cryolatent.cli.main import run as cli
from cryolatent.data import ParticleStack, open_star
from cryolatent.errors import InputError
from cryolatent.importers.latents import import_latents, rows_of
from cryolatent.io import read_volume, write_volume
from cryolatent.notebook import open_run
from cryolatent.report import render
from cryolatent.runs.run import Run
from cryolatent.simulate.truth import Truth

PARTICLES = 40


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    small_stack(folder, particles=PARTICLES)
    return folder


@pytest.fixture(scope="module")
def z(data: Path) -> np.ndarray:
    """Latents that know the states."""
    state = Truth.load(data / "truth").state
    rng = np.random.default_rng(0)
    return np.eye(4)[state][:, :3] * 5 + 0.1 * rng.normal(size=(PARTICLES, 3))


def written(folder: Path, kind: str, z: np.ndarray) -> Path:
    path = folder / f"table.{kind}"
    frame = pd.DataFrame({f"z_{axis}": column for axis, column in enumerate(z.T)})
    match kind:
        case "csv":
            frame.to_csv(path, index=False)
        case "parquet":
            frame.to_parquet(path)
        case "npy":
            np.save(path, z)
        case "npz":
            np.savez(path, z=z, umap_distance=z[:, 0])
        case "pkl":
            with path.open("wb") as stream:
                pickle.dump(z.astype(np.float32), stream)
                pickle.dump(np.full_like(z, -2.0), stream)
        case "cs":
            names = [f"components_mode_{axis}/value" for axis in range(z.shape[1])]
            fields = [("uid", "u8"), *((name, "f4") for name in names)]
            records = np.zeros(len(z), fields)
            for name, column in zip(names, z.T, strict=True):
                records[name] = column
            with path.open("wb") as stream:
                np.save(stream, records)
    return path


@pytest.mark.parametrize("kind", ["csv", "parquet", "npy", "npz", "pkl", "cs"])
def test_every_kind_of_table_is_read(kind: str, z: np.ndarray, tmp_path: Path) -> None:
    run = import_latents(written(tmp_path, kind, z), tmp_path / "run")
    q = run.latents().distribution
    torch.testing.assert_close(q.mean, torch.from_numpy(z).float())
    assert q.is_bound == (kind == "pkl")
    assert run.latents().elbo is None
    assert run.latents().log_joint is None


def test_rows_with_names_come_in_any_order(data: Path, z: np.ndarray, tmp_path: Path) -> None:
    star = data / "particles.star"
    ids = import_latents(written(tmp_path, "npy", z), tmp_path / "a", star).latents().ids
    order = np.random.default_rng(1).permutation(PARTICLES)
    frame = pd.DataFrame({"id": ids, "pc1": z[:, 0], "pc2": z[:, 1]}).iloc[order]
    frame.to_csv(tmp_path / "shuffled.csv", index=False)
    run = import_latents(tmp_path / "shuffled.csv", tmp_path / "b", star, ["pc2"])
    assert run.latents().ids.tolist() == ids.tolist()
    torch.testing.assert_close(run.latents().distribution.mean[:, 0].double().numpy(), z[:, 1])


def test_rows_of_cryosparc_are_found_by_uid(data: Path, z: np.ndarray, tmp_path: Path) -> None:
    stack = open_star(data / "particles.star").select(torch.tensor([5, 2, 7]))
    records = np.zeros(PARTICLES, [("uid", "u8")])
    records["uid"] = np.random.default_rng(3).permutation(1000)[:PARTICLES]
    with (tmp_path / "particles.cs").open("wb") as stream:
        np.save(stream, records)
    order = np.random.default_rng(4).permutation(PARTICLES)
    table = {"uid": records["uid"][order], "z_0": z[order, 0]}
    rows = rows_of(tmp_path / "t.cs", table, replace(stack, source=tmp_path / "particles.cs"))
    assert table["z_0"][rows].tolist() == z[[5, 2, 7], 0].tolist()


def test_what_needs_no_decoder_works(data: Path, z: np.ndarray, tmp_path: Path) -> None:
    table = written(tmp_path, "pkl", z)
    run = import_latents(table, tmp_path / "run", data / "particles.star")
    summary = analyze(run, clusters=4, truth=data / "truth")
    assert summary.truth is not None
    assert summary.truth.ari is not None
    assert summary.truth.ari.value > 0.9
    assert summary.truth.fsc_area is None
    assert all(cluster.volume is None and cluster.purity for cluster in summary.clusters)
    page = render([run], tmp_path / "page.html").read_text()
    assert "imported from" in page
    assert "there is no decoder" in page
    done = export(run, tmp_path / "some.star", ["cluster=0"])
    assert 0 < len(done.rows) < PARTICLES
    made = local_volumes(run, tmp_path / "volumes", clusters=2, effective=20)
    assert len(made.volumes) == 2
    finding = open_run(run.path).audit("shift-raw")
    assert finding.verdict == "not applicable"
    assert finding.note == "run has no system. It was imported from table.pkl."
    with pytest.raises(InputError, match="cryolatent volumes"):
        open_run(run.path).volume([0.0] * 3)


def test_without_particles_there_are_maps(z: np.ndarray, tmp_path: Path) -> None:
    run = import_latents(written(tmp_path, "csv", z), tmp_path / "run")
    analyze(run, clusters=4)
    render([run], tmp_path / "page.html")
    assert open_run(run.path).audit("shift-raw").verdict == "not applicable"
    for ask in (lambda: export(run, tmp_path / "x.npy"), run.open_stack):
        with pytest.raises(InputError, match="without its particles"):
            ask()


def test_volumes_of_a_linear_method_are_drawn(z: np.ndarray, tmp_path: Path) -> None:
    parts = np.random.default_rng(2).normal(size=(4, 16, 16, 16)).astype(np.float32)
    files = [tmp_path / f"{number}.mrc" for number in range(4)]
    for file, voxels in zip(files, parts, strict=True):
        write_volume(file, voxels, 3.0)
    table = written(tmp_path, "cs", z)
    run = import_latents(table, tmp_path / "run", mean=files[0], components=files[1:])
    expected = parts[0] + np.tensordot([1.0, -2.0, 0.5], parts[1:], 1)
    np.testing.assert_allclose(open_run(run.path).volume([1.0, -2.0, 0.5]), expected, atol=1e-5)
    cluster = analyze(run, clusters=2).clusters[0]
    assert read_volume(run.path / str(cluster.volume))[1] == pytest.approx(3.0)
    with pytest.raises(InputError, match="found 2 volumes; expected 3"):
        import_latents(table, tmp_path / "b", mean=files[0], components=files[1:3])
    with pytest.raises(InputError, match="found no `mean`"):
        import_latents(table, tmp_path / "b", components=files[1:])
    write_volume(files[3], parts[3, :8, :8, :8], 3.0)
    with pytest.raises(InputError, match=r"3\.mrc: found a volume of 8 x 8 x 8 voxels"):
        import_latents(table, tmp_path / "b", mean=files[0], components=files[1:])


WRONG = {
    "no such file": (lambda z: None, {}, "no such file"),
    "fewer rows": (lambda z: np.save("t.npy", z[1:]), {"particles": "particles.star"}, "39 rows"),
    "no latents": (
        lambda z: pd.DataFrame({"pc": z[:, 0]}).to_csv("t.csv"),
        {},
        "no columns with the names of latents (Unnamed: 0, pc)",
    ),
    "text": (
        lambda z: pd.DataFrame({"a": ["x"] * PARTICLES}).to_csv("t.csv"),
        {"columns": "a"},
        "text in column a",
    ),
    "not finite": (lambda z: np.save("t.npy", np.where(z > 4, np.nan, z)), {}, "nan"),
    "code": (lambda z: Path("t.pkl").write_bytes(pickle.dumps(print)), {}, "builtins.print"),
    "ending": (lambda z: Path("t.txt").write_text("1 2"), {}, "ends in '.txt'"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_said_in_one_line(
    case: str,
    data: Path,
    z: np.ndarray,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    make, options, expected = WRONG[case]
    for file in ("particles.star", "particles.mrcs"):
        (tmp_path / file).symlink_to(data / file)
    monkeypatch.chdir(tmp_path)
    make(z)
    table = next((p.name for p in tmp_path.glob("t.*")), "t.npy")
    words = [word for name, value in options.items() for word in (f"--{name}", value)]
    assert cli(["import", "latents", table, "-o", "run", *words]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert expected in error
    assert not (tmp_path / "run").exists()


def test_an_imported_run_is_not_trained_on(
    data: Path, z: np.ndarray, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = import_latents(written(tmp_path, "npy", z), tmp_path / "run", data / "particles.star")
    assert cli(["train", "--resume", "-o", str(run.path)]) == 2
    assert "a run of another program" in capsys.readouterr().err
    again = ["train", str(data / "particles.star"), "-o", str(tmp_path / "again")]
    assert cli([*again, "--config", str(run.path / "config.toml")]) == 2
    assert not (tmp_path / "again").exists()
    assert Run.open(run.path).manifest.status == "finished"
    assert isinstance(run.open_stack(), ParticleStack)
