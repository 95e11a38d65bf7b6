"""Particles written back as the file they came from."""

import subprocess
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import roma
import torch

from builders import small_config, small_stack
from cryolatent.analysis import export
from cryolatent.data import ParticleStack, Tables, open_particles
from cryolatent.errors import InputError
from cryolatent.io import (
    column_text,
    read_cs,
    read_star,
    read_star_text,
    read_volume,
    write_cs,
    write_star,
)
from cryolatent.models import DiagonalNormal, Distribution, OneOf
from cryolatent.models.beliefs import Beliefs
from cryolatent.models.latents import Latents
from cryolatent.physics import Poses, fourier_shell_correlation
from cryolatent.runs.latents import read_latents, write_latents
from cryolatent.runs.manifest import Manifest
from cryolatent.runs.run import Run
from cryolatent.simulate.truth import Truth
from cryolatent.train.recorder import Checkpoint

COUNT = 40


def finished(
    folder: Path,
    stack: ParticleStack,
    believed: Distribution,
    beliefs: Beliefs | None = None,
    **data,
) -> Run:
    """A run that was never trained, with given latents."""
    config = small_config("table", **data)
    manifest = Manifest.of(stack, seed=0, threads=1)
    run = Run.create(folder, config, manifest, Checkpoint({}, {"epoch": 0}))
    run.write_latents(
        Latents(
            stack.ids,
            believed,
            torch.arange(float(len(stack))),
            torch.ones(len(stack)),
            beliefs=beliefs,
        )
    )
    return Run.open(folder)


def normal(count: int) -> DiagonalNormal:
    means = torch.stack([torch.linspace(-1, 1, count), torch.randn(count)], dim=-1)
    return DiagonalNormal(means, torch.zeros(count, 2))


def analysed(run: Run, labels: np.ndarray) -> Run:
    folder = run.path / "analysis"
    folder.mkdir()
    table = pa.table({"id": run.latents().ids.tolist(), "cluster": labels})
    pq.write_table(table, folder / "embedding.parquet")
    (folder / "summary.json").write_text("{}")
    return run


@pytest.fixture
def stack(tmp_path: Path) -> ParticleStack:
    return small_stack(tmp_path / "data", particles=COUNT)


@pytest.fixture
def run(tmp_path: Path, stack: ParticleStack) -> Run:
    return analysed(finished(tmp_path / "run", stack, normal(COUNT)), np.arange(COUNT) % 3)


def cells(path: Path, columns: int) -> list[list[str]]:
    text = read_star_text(path)
    return [text.tokens(row)[:columns] for row in text.particles.rows.tolist()]


def test_rows_of_a_star_file_come_back_as_text(run: Run, tmp_path: Path) -> None:
    original = run.manifest.input
    columns = len(read_star_text(original).particles.columns)
    done = export(run, tmp_path / "data" / "out.star", ["cluster=0,2", "z0>0"])
    labels, z0 = np.arange(COUNT) % 3, np.linspace(-1, 1, COUNT)
    wanted = np.flatnonzero((labels != 1) & (z0 > 0))
    assert done.rows.tolist() == wanted.tolist()
    before = cells(original, columns)
    assert cells(done.path, columns) == [before[row] for row in wanted]
    made, source = read_star(done.path), read_star(original)
    assert made.optics.equals(source.optics)
    assert made.particles["cryolatentCluster"].tolist() == labels[wanted].tolist()
    latents = run.latents()
    mean = made.particles["cryolatentMean1"].to_numpy(np.float32)
    assert (mean == latents.distribution.mean[wanted, 1].numpy()).all()
    assert made.particles["cryolatentElbo"].tolist() == (-wanted - 1).tolist()


def test_what_was_exported_is_read_and_exported_again(run: Run, tmp_path: Path) -> None:
    done = export(run, tmp_path / "data" / "out.star", ["z0>=0"])
    stack = open_particles(done.path)
    original = run.open_stack().select(torch.from_numpy(done.rows))
    assert stack.ids.tolist() == original.ids.tolist()
    assert torch.equal(stack.poses.rotations, original.poses.rotations)
    assert "cryolatentMean1" in read_star(done.path).particles
    line = DiagonalNormal(*torch.stack([torch.linspace(-1, 1, len(stack))] * 2)[..., None])
    again = finished(tmp_path / "again", stack, line)
    second = export(again, tmp_path / "data" / "again.star", ["z0>0"])
    table = read_star(second.path).particles
    # one dimension fewer, and no cluster
    own = [f"cryolatent{name}" for name in ("Mean0", "Elbo", "Reliability")]
    assert sorted(name for name in table if "cryolatent" in name) == sorted(own)
    believed = again.latents().distribution.certainty
    assert believed is not None
    wanted = believed.numpy()[second.rows]
    assert table["cryolatentReliability"].to_numpy() == pytest.approx(wanted, abs=1e-5)
    assert table["cryolatentMean0"].min() > 0


def test_shares_names_and_row_numbers(stack: ParticleStack, tmp_path: Path) -> None:
    shares = torch.tensor([[0.9, 0.1], [0.2, 0.8]]).repeat(COUNT // 2, 1)
    run = finished(tmp_path / "run", stack, OneOf(shares, torch.zeros(COUNT, 2)))
    names = tmp_path / "names.txt"
    names.write_text("\n".join(stack.ids[[5, 6, 7]]) + "\n")
    done = export(run, tmp_path / "data" / "out.star", ["share1 > 0.5", f"ids={names}"])
    assert done.rows.tolist() == [5, 7]
    assert "cryolatentShare1" in read_star(done.path).particles
    rows = export(run, tmp_path / "rows.npy", ["share0>0.5"]).path
    picked = open_particles(run.manifest.input, tables=Tables(ind=rows))
    assert picked.ids.tolist() == stack.ids[::2].tolist()


def test_a_selected_and_reordered_run_finds_its_rows(stack: ParticleStack, tmp_path: Path) -> None:
    np.save(tmp_path / "ind.npy", np.array([7, 3, 11]))
    tables = Tables(ind=tmp_path / "ind.npy")
    few = open_particles(stack.source, tables=tables)
    run = finished(tmp_path / "run", few, normal(3), ind=tmp_path / "ind.npy")
    done = export(run, tmp_path / "out.star", ["z0>-0.5"])  # the second and third: rows 3 and 11
    assert done.rows.tolist() == [3, 11]
    assert read_star(done.path).particles["cryolatentMean0"].tolist() == [0, 1]
    assert done.particles == 3


def test_a_particle_with_a_chosen_copy_is_written_once(stack, tmp_path: Path) -> None:
    expanded = open_particles(stack.source, symmetry="C2")
    run = finished(tmp_path / "run", expanded, normal(2 * COUNT), symmetry="C2")
    names = tmp_path / "names.txt"
    names.write_text(f"{stack.ids[3]}#2\n{stack.ids[9]}\n")
    done = export(run, tmp_path / "out.star", [f"ids={names}"])
    assert done.rows.tolist() == [3, 9]
    table = read_star(done.path).particles
    assert table["cryolatentCopy"].tolist() == [2, 1]
    assert table["cryolatentCopies"].tolist() == [1, 2]
    mean = run.latents().distribution.mean[[7, 18], 0].tolist()
    assert table["cryolatentMean0"].tolist() == pytest.approx(mean)


def cryosparc_run(stack: ParticleStack, tmp_path: Path, beliefs: Beliefs | None = None) -> Run:
    fields = {
        "uid": ("<u8", np.arange(COUNT) * 17 + 3),
        "blob/path": ("S20", np.array([b">particles.mrcs"] * COUNT)),
        "blob/idx": ("<u4", np.arange(COUNT)),
        "blob/psize_A": ("<f4", np.full(COUNT, 18.0)),
        "ctf/df1_A": ("<f4", np.full(COUNT, 2e4)),
        "ctf/df2_A": ("<f4", np.full(COUNT, 1.9e4)),
        "ctf/df_angle_rad": ("<f4", np.zeros(COUNT)),
        "ctf/accel_kv": ("<f4", np.full(COUNT, 300)),
        "ctf/cs_mm": ("<f4", np.full(COUNT, 2.7)),
        "ctf/amp_contrast": ("<f4", np.full(COUNT, 0.1)),
        "alignments3D/pose": (("<f4", (3,)), np.random.default_rng(0).normal(size=(COUNT, 3))),
        "alignments3D/shift": (("<f4", (2,)), np.zeros((COUNT, 2))),
    }
    records = np.zeros(
        COUNT,
        [
            (name, *np.atleast_1d(np.array(kind, dtype=object)))
            for name, (kind, _) in fields.items()
        ],
    )
    for name, (_, values) in fields.items():
        records[name] = values
    path = stack.source.parent / "particles.cs"
    with path.open("wb") as stream:
        np.save(stream, records)
    return finished(tmp_path / "run", open_particles(path), normal(COUNT), beliefs)


def test_records_of_a_cs_file_come_back_as_bytes(stack: ParticleStack, tmp_path: Path) -> None:
    run = cryosparc_run(stack, tmp_path)
    original = read_cs(run.manifest.input)
    done = export(run, tmp_path / "data" / "out.cs", ["z0>0"])
    made = read_cs(done.path)
    for field in original.dtype.names:
        assert made.dtype[field] == original.dtype[field]
        assert made[field].tobytes() == original[field][done.rows].tobytes()
    assert made["cryolatent/z0"].dtype == np.float32
    assert (made["cryolatent/z0"] > 0).all()
    assert len(open_particles(done.path)) == COUNT // 2
    write_cs(tmp_path / "again.cs", made, {"cryolatent/elbo": made["cryolatent/elbo"]})
    ours = [name for name in read_cs(tmp_path / "again.cs").dtype.names if "cryolatent" in name]
    assert ours == ["cryolatent/elbo"]
    with pytest.raises(InputError, match=r"expected \.cs or \.npy"):
        export(run, tmp_path / "out.star")


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        ("cluster=7", "numbers from 0 to 2"),
        ("cluster=a", "numbers from 0 to 2"),
        ("cluster>1", "cluster=0,2"),
        ("z7>1", "This run has: cluster, ids, z0, z1, reliability, elbo"),
        ("z0>much", "a number after >"),
        ("share0>1", "This run has"),
        ("z0", "comparison"),
        ("z0>99", "no particle that is chosen"),
        ("ids=missing.txt", "no such file"),
    ],
)
def test_conditions_that_cannot_be_met(run: Run, tmp_path: Path, condition, words) -> None:
    with pytest.raises(InputError, match="expected") as caught:
        export(run, tmp_path / "out.star", [condition])
    assert words in str(caught.value)
    assert not (tmp_path / "out.star").exists()


def test_unknown_names_are_told_by_line(run: Run, tmp_path: Path) -> None:
    names = tmp_path / "names.txt"
    names.write_text(f"{run.latents().ids[0]}\n\nnobody\n")
    with pytest.raises(InputError, match="no particle nobody"):
        export(run, tmp_path / "out.star", [f"ids={names}"])


def test_runs_that_cannot_be_exported(stack: ParticleStack, run: Run, tmp_path: Path) -> None:
    bare = finished(tmp_path / "bare", stack, normal(COUNT))
    with pytest.raises(InputError, match="Run cryolatent analyze"):
        export(bare, tmp_path / "out.star", ["cluster=0"])
    (tmp_path / "there.star").touch()
    with pytest.raises(InputError, match="a new file"):
        export(run, tmp_path / "there.star")
    stack.source.write_text(stack.source.read_text().replace("300", "200", 1))
    with pytest.raises(InputError, match="another content"):
        export(run, tmp_path / "out.star")


def beliefs_of(moved: torch.Tensor, spread: float = 0.02) -> Beliefs:
    count = len(moved)
    covariance = spread**2 * torch.eye(5).expand(count, 5, 5)
    kinds = torch.tensor([0.9, 0.08, 0.02]).expand(count, 3)
    contrast = torch.linspace(0.8, 1.2, count)
    ones = torch.ones(count, dtype=torch.long)
    return Beliefs(kinds, contrast, contrast / 10, ones, moved, covariance)


def angles(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    return roma.rotmat_geodesic_distance(first.double(), second.double())


def test_refined_poses_stand_in_place_of_the_recorded(stack: ParticleStack, tmp_path: Path) -> None:
    beliefs = beliefs_of(torch.randn(COUNT, 5) * 0.1)
    run = finished(tmp_path / "run", stack, normal(COUNT), beliefs)
    done = export(run, tmp_path / "data" / "out.star", ["is_particle>0.5", "z0>0"])
    made, before = open_particles(done.path), run.open_stack()
    rows = torch.from_numpy(done.rows)
    expected = beliefs.refined(before.poses, before.pixel_size_angstrom)[rows]
    assert angles(made.poses.rotations, expected.rotations).max() < 1e-5
    torch.testing.assert_close(
        made.poses.shifts_angstrom, expected.shifts_angstrom, rtol=0, atol=1e-4
    )
    assert angles(made.poses.rotations, before.poses.rotations[rows]).min() > 1e-3
    # what was recorded is kept, as text
    table, source = read_star(done.path).particles, read_star_text(run.manifest.input)
    text = read_star_text(done.path)
    for name in ("AngleRot", "AngleTilt", "AnglePsi", "OriginXAngst", "OriginYAngst"):
        own = column_text(text, f"cryolatentRecorded{name}", np.arange(len(rows)))
        assert own == column_text(source, f"rln{name}", done.rows)
    assert table["cryolatentPoseErrorDegrees"].to_numpy() == pytest.approx(np.degrees(0.02))
    assert table["cryolatentIsParticle"].to_numpy() == pytest.approx(0.9)
    kept = export(run, tmp_path / "data" / "kept.star", keep_poses=True)
    same = open_particles(kept.path).poses
    assert torch.equal(same.rotations, before.poses.rotations)


def assert_refined_shifts_come_back(source: Path, folder: Path) -> None:
    stack = open_particles(source)
    beliefs = beliefs_of(torch.randn(COUNT, 5) * 0.1)
    run = finished(folder / "run", stack, normal(COUNT), beliefs)
    done = export(run, folder / "data" / "out.star")
    expected = beliefs.refined(stack.poses, stack.pixel_size_angstrom)
    found = open_particles(done.path).poses
    torch.testing.assert_close(found.shifts_angstrom, expected.shifts_angstrom, rtol=0, atol=1e-3)


def test_refined_poses_in_origins_of_pixels(tmp_path: Path) -> None:
    stack = small_stack(tmp_path / "data", particles=COUNT, shift_spread=0.02)
    old = stack.source.read_text()
    for axis in "XY":
        old = old.replace(f"rlnOrigin{axis}Angst", f"rlnOrigin{axis}")
    stack.source.write_text(old)
    assert_refined_shifts_come_back(stack.source, tmp_path)


def test_refined_poses_of_magnified_images(tmp_path: Path) -> None:
    """Origins of a file are those in its images as they are stored."""
    stack = small_stack(tmp_path / "data", particles=COUNT)
    table = read_star(stack.source)
    assert table.optics is not None
    names = [f"rlnMagMat{at}" for at in ("00", "01", "10", "11")]
    optics = table.optics.assign(**dict(zip(names, (1.05, 0.02, -0.01, 0.97), strict=True)))
    write_star(stack.source, table.particles, optics)
    assert_refined_shifts_come_back(stack.source, tmp_path)


def test_refined_poses_in_a_cs_file(stack: ParticleStack, tmp_path: Path) -> None:
    run = cryosparc_run(stack, tmp_path, beliefs := beliefs_of(torch.randn(COUNT, 5) * 0.1))
    done = export(run, tmp_path / "data" / "out.cs")
    before, made = run.open_stack(), read_cs(done.path)
    expected = beliefs.refined(before.poses, before.pixel_size_angstrom)
    found = Poses.from_cryosparc(
        torch.from_numpy(made["alignments3D/pose"]),
        torch.from_numpy(made["alignments3D/shift"]) * before.pixel_size_angstrom,
    )
    assert angles(found.rotations, expected.rotations).max() < 1e-4
    torch.testing.assert_close(found.shifts_angstrom, expected.shifts_angstrom, rtol=0, atol=1e-3)
    source = read_cs(run.manifest.input)
    assert (made["cryolatent/recorded_pose"] == source["alignments3D/pose"]).all()


def test_beliefs_come_back_from_their_file(stack: ParticleStack, tmp_path: Path) -> None:
    beliefs = beliefs_of(torch.randn(COUNT, 5))
    found = finished(tmp_path / "run", stack, normal(COUNT), beliefs).latents().beliefs
    assert found is not None
    for name, column in vars(beliefs).items():
        torch.testing.assert_close(getattr(found, name), column)
    # particles with several images have lists
    counts = torch.tensor([2, 1, 3])
    many = Beliefs(
        torch.rand(3, 3),
        torch.rand(3),
        torch.rand(3),
        counts,
        torch.randn(6, 5),
        torch.eye(5).expand(6, 5, 5),
    )
    latents = Latents(
        np.array(["a", "b", "c"]), normal(3), torch.zeros(3), torch.zeros(3), beliefs=many
    )
    write_latents(tmp_path / "many.parquet", latents)
    found = read_latents(tmp_path / "many.parquet").beliefs
    assert found is not None
    for name, column in vars(many).items():
        torch.testing.assert_close(getattr(found, name), column)


@pytest.mark.relion
def test_relion_reconstructs_better_at_refined_poses(tmp_path: Path) -> None:
    """The truth's errors as beliefs: angles and origins in RELION's own reading."""
    stack = small_stack(
        tmp_path / "data",
        particles=300,
        box=24,
        pixel_size=12.0,
        snr=1.0,
        only=("mature",),
        angle_error=20.0,
        shift_error=1.5,
    )
    truth = Truth.load(tmp_path / "data" / "truth")
    turn = -roma.rotmat_to_rotvec(truth.poses.rotations @ stack.poses.rotations.mT)
    shift = (truth.poses.shifts_angstrom - stack.poses.shifts_angstrom) / stack.pixel_size_angstrom
    beliefs = beliefs_of(torch.cat([turn, shift], dim=1))
    run = finished(tmp_path / "run", stack, normal(300), beliefs)
    export(run, tmp_path / "data" / "refined.star")
    curves = []
    for star in ("particles", "refined"):
        command = ["relion_reconstruct", "--i", f"{star}.star", "--o", f"{star}.mrc", "--ctf"]
        subprocess.run(command, cwd=tmp_path / "data", check=True, capture_output=True)
        volume = torch.from_numpy(read_volume(tmp_path / "data" / f"{star}.mrc")[0])
        curves.append(fourier_shell_correlation(volume, truth.volumes[0]))
    assert curves[1][1:9].min() > 0.9
    assert curves[0][5:9].mean() < 0.7


@pytest.mark.relion
def test_relion_reads_what_is_written(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    export(run, folder / "all.star")
    for star in ("particles", "all"):
        command = ["relion_reconstruct", "--i", f"{star}.star", "--o", f"{star}.mrc", "--ctf"]
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
    same = [read_volume(folder / f"{star}.mrc")[0] for star in ("particles", "all")]
    assert (same[0] == same[1]).all()
    done = export(run, folder / "few.star", ["z0>0"])
    handler = ["relion_star_handler", "--i", "few.star", "--o", "kept.star", "--select"]
    handler += ["rlnDefocusU", "--minval", "15000"]
    subprocess.run(handler, cwd=folder, check=True, capture_output=True)
    few, kept = (read_star(folder / name).particles for name in ("few.star", "kept.star"))
    inside = few["rlnDefocusU"].to_numpy() >= 15000
    assert 0 < inside.sum() < len(done.rows)
    assert kept["rlnImageName"].tolist() == few["rlnImageName"][inside].tolist()
    # columns that RELION does not know go through it unchanged
    assert kept["cryolatentMean0"].tolist() == few["cryolatentMean0"][inside].tolist()
