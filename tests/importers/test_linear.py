"""Results of linear methods: cryoSPARC's 3D Variability, RECOVAR."""

import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest

from builders import small_stack
from cryolatent.analysis import analyze, export
from cryolatent.cli.main import run as cli
from cryolatent.data import ParticleStack, Tables
from cryolatent.errors import InputError
from cryolatent.importers.cryosparc import import_cryosparc
from cryolatent.importers.recovar import import_recovar
from cryolatent.importers.subspace import SCALE, STRANGERS, UPSIDE_DOWN, resized
from cryolatent.io import write_volume
from cryolatent.notebook import open_run
from cryolatent.report import render
from cryolatent.runs.run import Run
from cryolatent.simulate.truth import Truth
from linear_results import linear_truth, save_records, write_job, write_results

PARTICLES = 200


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> ParticleStack:
    return small_stack(tmp_path_factory.mktemp("data"), particles=PARTICLES)


@pytest.fixture(scope="module")
def truth(stack: ParticleStack) -> tuple[np.ndarray, np.ndarray]:
    known = Truth.load(stack.source.parent / "truth")
    return linear_truth(known.state, known.volumes)


@pytest.fixture(scope="module")
def job(
    stack: ParticleStack,
    truth: tuple[np.ndarray, np.ndarray],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    return write_job(tmp_path_factory.mktemp("project"), stack, *truth)


@pytest.fixture(scope="module")
def variability(job: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return import_cryosparc([job], tmp_path_factory.mktemp("runs") / "run")


def by_image(run: Run, stack: ParticleStack) -> np.ndarray:
    """Latents in the order of the STAR file, whatever the run's."""
    latents = run.latents()
    number = {int(name.split("@")[0]): row for row, name in enumerate(latents.ids.tolist())}
    rows = [number[int(name.split("@")[0])] for name in stack.ids.tolist()]
    return latents.distribution.mean.numpy()[rows]


def test_variability_is_read_in_the_particles_order(
    variability: Run, stack: ParticleStack, truth: tuple[np.ndarray, np.ndarray]
) -> None:
    np.testing.assert_array_equal(by_image(variability, stack), truth[0])
    assert variability.manifest.origin == "cryoSPARC's 3D Variability, J42_particles.cs"
    assert variability.manifest.remarks == (SCALE,)


@pytest.mark.parametrize("old", [False, True])
def test_recovar_is_read_in_the_particles_order(
    old: bool, stack: ParticleStack, truth: tuple[np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    results = write_results(tmp_path / "results", *truth, old=old)
    run = import_recovar(results, tmp_path / "run", stack.source, zdim=3)
    np.testing.assert_array_equal(by_image(run, stack), truth[0])
    version = "RECOVAR" if old else "RECOVAR 0.9"
    assert run.manifest.origin == f"{version}, results, zdim 3"
    assert run.manifest.remarks == (SCALE,)


@pytest.mark.parametrize("program", ["cryosparc", "recovar"])
def test_volumes_are_the_mean_and_weighted_components(
    program: str, job: Path, truth: tuple[np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    z, (mean, *parts) = np.array([1.0, -2.0, 0.5]), truth[1]
    if program == "cryosparc":
        run = import_cryosparc([job], tmp_path / "run", without_particles=True)
    else:
        results = write_results(tmp_path / "results", *truth)
        run = import_recovar(results, tmp_path / "run", zdim=3, without_particles=True)
    expected = mean + np.tensordot(z, parts, 1)
    made = open_run(run.path).volume(list(z))
    np.testing.assert_allclose(made, expected, atol=1e-5 * np.abs(expected).max())
    assert run.manifest.pixel_size_angstrom == pytest.approx(18.0)


def test_commands_work_on_an_imported_job(
    variability: Run, stack: ParticleStack, tmp_path: Path
) -> None:
    summary = analyze(variability, clusters=4, truth=None)
    assert all((variability.path / str(c.volume)).is_file() for c in summary.clusters)
    assert "3D Variability" in render([variability], tmp_path / "page.html").read_text()
    done = export(variability, tmp_path / "some.cs", ["cluster=0"])
    assert 0 < len(done.rows) < PARTICLES
    assert cli(["audit", str(variability.path), "-o", str(tmp_path / "audit")]) == 3
    finding = open_run(variability.path).audit("shift-raw")
    assert finding.note.startswith("This posterior does not read images. It was imported from")


def test_latents_of_other_particles_are_noticed(
    stack: ParticleStack, truth: tuple[np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    """An order that is wrong by one particle, and dark particles."""
    z, volumes = truth
    results = write_results(tmp_path / "results", np.roll(z, 1, axis=0), volumes)
    run = import_recovar(results, tmp_path / "run", stack.source, zdim=3)
    assert STRANGERS in run.manifest.remarks
    dark = {"invert_contrast": True}
    run = import_recovar(results, tmp_path / "dark", stack.source, dark, zdim=3)
    assert UPSIDE_DOWN in run.manifest.remarks


def test_particles_that_recovar_left_out_are_asked_for(
    stack: ParticleStack, truth: tuple[np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    z, volumes = truth[0].copy(), truth[1]
    kept = np.sort(np.random.default_rng(5).permutation(PARTICLES - 20)[:150])
    z[np.setdiff1d(np.arange(PARTICLES), kept)] = np.nan
    results = write_results(tmp_path / "results", z[: kept.max() + 1], volumes)
    with pytest.raises(InputError, match=f"{kept.max() + 1} rows; .*{stack.source}.*`ind`"):
        import_recovar(results, tmp_path / "run", stack.source, zdim=3)
    np.save(tmp_path / "ind.npy", kept)
    reading = {"tables": Tables(ind=tmp_path / "ind.npy")}
    run = import_recovar(results, tmp_path / "run", stack.source, reading, zdim=3)
    np.testing.assert_array_equal(run.latents().distribution.mean.numpy(), z[kept])
    assert run.latents().ids.tolist() == stack.ids[kept].tolist()
    assert run.manifest.remarks == (SCALE,)
    np.save(tmp_path / "ind.npy", np.append(kept, PARTICLES - 1)[1:])
    with pytest.raises(InputError, match=f"latent_coords.npy: found {kept.max() + 1} rows"):
        import_recovar(results, tmp_path / "b", stack.source, reading, zdim=3)
    alone = import_recovar(results, tmp_path / "c", zdim=3, without_particles=True)
    assert alone.latents().ids.tolist() == [str(row + 1) for row in kept]


def test_volumes_of_another_box_are_resampled(
    stack: ParticleStack, truth: tuple[np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    """Padding in Fourier space adds nothing; another field of view is refused."""
    small = resized(truth[1], 12)
    np.testing.assert_allclose(resized(resized(small, 16), 12), small, atol=1e-6)
    results = write_results(tmp_path / "results", truth[0], small, pixel=18.0 * 16 / 12)
    run = import_recovar(results, tmp_path / "run", stack.source, zdim=3)
    assert run.manifest.remarks == (SCALE,)
    made = open_run(run.path).volume([0.0, 0.0, 0.0])
    np.testing.assert_allclose(made, resized(small[:1], 16)[0], atol=1e-4 * np.abs(made).max())
    write_volume(results / "output" / "volumes" / "mean.mrc", small[0], 18.0)
    with pytest.raises(InputError, match=r"mean\.mrc: found a box of 12 voxels of 18 Å, 216"):
        import_recovar(results, tmp_path / "b", stack.source, zdim=3)


def test_without_volumes_there_are_latents(job: Path, tmp_path: Path) -> None:
    shutil.copytree(job, tmp_path / "J42")
    (tmp_path / "J42" / "J42_component_1.mrc").unlink()
    run = import_cryosparc([tmp_path / "J42"], tmp_path / "run", without_particles=True)
    assert "no volumes are drawn" in run.manifest.remarks[0]
    assert not run.config.decoder.renders


def code(folder: Path) -> None:
    (folder / "model" / "embeddings.pkl").write_bytes(pickle.dumps({"zs": print}))


def text(folder: Path) -> None:
    np.save(folder / "model" / "zdim_3" / "latent_coords.npy", np.array([[print]]))


WRONG = {
    "code": (code, True, ["--zdim", "3"], "embeddings.pkl: found no pickle of arrays (a request"),
    "objects": (text, False, ["--zdim", "3"], "latent_coords.npy: found no array of numbers"),
    "several": (None, False, [], "found several among zdim 2, 3"),
    "other": (None, False, ["--zdim", "5"], "found no zdim 5 among zdim 2, 3"),
    "nothing": (lambda f: shutil.rmtree(f / "model"), False, [], "no model/zdim_N/latent_coords"),
    "particles": (None, False, ["--zdim", "3"], "no --particles; expected the file that RECOVAR"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_said_in_one_line(
    case: str,
    truth: tuple[np.ndarray, np.ndarray],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    change, old, options, expected = WRONG[case]
    results = write_results(tmp_path / "results", *truth, old=old)
    if change:
        change(results)
    assert cli(["import", "recovar", str(results), "-o", str(tmp_path / "run"), *options]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert expected in error
    assert not (tmp_path / "run").exists()


def test_files_of_a_job_are_found_by_what_they_are(
    job: Path, stack: ParticleStack, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "downloads"
    folder.mkdir()
    for file in job.iterdir():
        shutil.copy(file, folder / f"cryosparc_P3_{file.name}")
    given = [str(file) for file in sorted(folder.iterdir())]
    command = ["import", "cryosparc", *given, "-o", str(tmp_path / "run")]
    assert cli([*command, "--datadir", str(stack.source.parent)]) == 0
    said = capsys.readouterr().out
    assert "200 particles, 3 latent dimensions, imported from cryoSPARC's" in said
    passed = folder / "cryosparc_P3_J42_passthrough_particles.cs"
    with pytest.raises(InputError, match=r"no \.cs file with fields"):
        import_cryosparc([passed], tmp_path / "b")
    shutil.copy(folder / "cryosparc_P3_J42_particles.cs", folder / "cryosparc_P3_J43_particles.cs")
    with pytest.raises(InputError, match=r"J42_particles.cs and cryosparc_P3_J43_particles.cs"):
        import_cryosparc([folder], tmp_path / "b")


def test_a_wrong_count_names_both_files(job: Path, stack: ParticleStack, tmp_path: Path) -> None:
    """Particles without the job's own uid, fewer than it has values."""
    np.save(tmp_path / "ind.npy", np.arange(50))
    reading = {"tables": Tables(ind=tmp_path / "ind.npy")}
    with pytest.raises(InputError, match=f"J42_particles.cs: found 200 rows; .*{stack.source}"):
        import_cryosparc([job], tmp_path / "run", stack.source, reading)
    few = {"uid": np.arange(3, dtype="<u8"), "components_mode_0/value": np.ones(3, np.float32)}
    save_records(tmp_path / "J1_particles.cs", few, np.arange(3))
    with pytest.raises(InputError, match=f"J1_particles.cs: found 3 rows; .*{stack.source}"):
        import_cryosparc([tmp_path / "J1_particles.cs"], tmp_path / "run", stack.source)
