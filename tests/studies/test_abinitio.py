"""From a particle file without poses to a run, as `cryolatent abinitio` goes."""

from pathlib import Path

import pytest
import roma
import torch

from builders import small_stack
from cryolatent.analysis.pose_alignment import align_poses
from cryolatent.cli.main import run
from cryolatent.data import open_particles
from cryolatent.io import read_star, read_volume, write_star
from cryolatent.runs.run import Run
from cryolatent.simulate.truth import Truth
from cryolatent.train.abinitio import search
from cryolatent.train.abinitio.search import Halt, Plan

SHORT = Plan(
    (Halt(4, 30.0, 8), Halt(6, 20.0, 5)), (Halt(7, 20.0, 1),), (Halt(8, 15.0, 1), Halt(11, 15.0, 2))
)
POSES = ["rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi", "rlnOriginXAngst", "rlnOriginYAngst"]
SMALL = {"particles": 300, "box": 32, "pixel_size": 9.0, "snr": 0.5, "shift_spread": 0.5}


@pytest.fixture(scope="module")
def star(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A particle file as it is before any refinement."""
    stack = small_stack(tmp_path_factory.mktemp("poses") / "data", only=("mature",), **SMALL)
    table = read_star(stack.source)
    path = stack.source.with_name("extracted.star")
    write_star(path, table.particles.drop(columns=POSES), table.optics)
    return path


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "PLAN", SHORT)


def command(star: Path, output: Path, *more: str) -> int:
    starts = () if "--random-starts" in more else ("--random-starts", "2")
    return run(["abinitio", str(star), "-o", str(output), *starts, *more])


def test_particles_without_poses_become_a_run(
    star: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "found"
    assert command(star, output, "--map-only") == 0
    said = capsys.readouterr().out
    assert "300 particles" in said
    assert "hand cannot be known" in said
    written = output / "particles.star"
    assert "300 particles are few" in said
    assert f"map.mrc and {written}\n" in said
    assert read_volume(output / "map.mrc")[0].shape == (32, 32, 32)
    posed = open_particles(written)
    truth = Truth.load(star.parent / "truth")
    assert align_poses(posed.poses, truth.poses).degrees.median() < 5
    # what was found is kept, and trained on
    before = written.read_bytes()
    quick = ["--z-dim", "1", "--search-shells", "8", "--starts", "1", "--shells", "11"]
    assert command(star, output, *quick) == 0
    assert written.read_bytes() == before
    said = capsys.readouterr().out
    trained = Run.open(output / "run")
    assert trained.manifest.status == "finished"
    assert trained.z_dim == 0
    assert "no heterogeneity that these particles can show" in said
    assert f"cryolatent analyze {output / 'run'}" in said
    beliefs = trained.latents().beliefs
    assert beliefs is not None
    refined = beliefs.refined(posed.poses, posed.pixel_size_angstrom)
    aligned = align_poses(refined, truth.poses)
    assert aligned.degrees.median() < 3
    # the images count once: a width of the prior that they taught would make poses look sure
    off = roma.rotmat_to_rotvec(aligned.poses.rotations @ truth.poses.rotations.mT)
    width = beliefs.covariance.diagonal(dim1=1, dim2=2)[:, :3].sqrt()
    assert ((off / width).abs() < 1.96).float().mean() > 0.85
    assert "orientations are taken as off by 5.0° per axis" in said
    # other options are another search
    assert command(star, output, "--seed", "3") == 2
    assert "poses of other particles or options" in capsys.readouterr().err


def test_what_needs_known_poses_is_refused(
    star: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for more, words in (
        (["--symmetry", "C2"], "--symmetry"),
        (["--poses", "poses.pkl"], "--poses"),
        (["--random-starts", "0"], "--random-starts"),
    ):
        assert command(star, tmp_path / "found", *more) == 2
        assert words in capsys.readouterr().err
    assert command(star.with_suffix(".mrcs"), tmp_path / "found") == 2
    assert "a .star or .cs file" in capsys.readouterr().err
    assert not (tmp_path / "found").exists()


def test_recorded_poses_are_not_looked_at(star: Path, tmp_path: Path) -> None:
    recorded = star.with_name("particles.star")
    found = []
    for name, file in (("with", recorded), ("without", star)):
        assert command(file, tmp_path / name, "--map-only", "--random-starts", "1") == 0
        found.append(open_particles(tmp_path / name / "particles.star", datadir=star.parent).poses)
    assert torch.allclose(found[0].rotations, found[1].rotations, atol=1e-4)
    kept = read_star(tmp_path / "with" / "particles.star")
    assert "cryolatentRecordedAngleRot" in kept
