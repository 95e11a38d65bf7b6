"""Packed folders: what is in them, how they are read, and how interrupted work continues."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from builders import small_config, small_stack
from cryolatent.analysis import export
from cryolatent.data import Tables, open_particles
from cryolatent.data.stack import ParticleStack
from cryolatent.errors import InputError
from cryolatent.io import read_star
from cryolatent.prepare import journal, work
from cryolatent.prepare.opening import open_mixed
from cryolatent.prepare.packing import Packed, Packing, pack
from cryolatent.runs.manifest import input_digest
from cryolatent.runs.run import Run
from cryolatent.sessions.training import begin, train
from cryolatent.train import Watch

AS_IT_IS = Packing(normalise="none")


@pytest.fixture
def stack(tmp_path: Path) -> ParticleStack:
    return small_stack(tmp_path / "data")


def packed(stack: ParticleStack, folder: Path, packing: Packing | None = None, **options) -> Packed:
    return pack(open_mixed(stack.source), folder, packing, **options)


def assert_same(first: ParticleStack, second: ParticleStack, atol: float = 0.0) -> None:
    assert first.ids.tolist() == second.ids.tolist()
    assert first.half_set.tolist() == second.half_set.tolist()
    assert torch.equal(first.poses.rotations, second.poses.rotations)
    assert torch.equal(first.poses.shifts_angstrom, second.poses.shifts_angstrom)
    for name, value in vars(first.ctf).items():
        other = getattr(second.ctf, name)
        assert (other is None) if value is None else torch.equal(value, other)
    rows = np.arange(len(first))
    np.testing.assert_allclose(first.images.read(rows), second.images.read(rows), atol=atol)


def test_a_packed_stack_is_the_stack(stack, tmp_path) -> None:
    done = packed(stack, tmp_path / "packed", AS_IT_IS)
    assert done.manifest.particles == 40
    assert_same(open_particles(tmp_path / "packed"), stack)
    half = packed(stack, tmp_path / "half", Packing(dtype="float16"))
    full = packed(stack, tmp_path / "full", Packing())
    assert_same(open_particles(half.folder), open_particles(full.folder), atol=5e-3)
    assert np.load(half.folder / "images.npy", mmap_mode="r").dtype == np.float16
    inverted = open_particles(done.folder, invert_contrast=True)
    np.testing.assert_array_equal(
        inverted.images.read(np.arange(4)), -stack.images.read(np.arange(4))
    )


@pytest.mark.parametrize("posterior", ["table", "encoder"])
def test_training_does_not_see_the_packing(stack, tmp_path, posterior) -> None:
    packed(stack, tmp_path / "packed", AS_IT_IS)
    latents = []
    for name, source in (("a", stack.source), ("b", tmp_path / "packed")):
        opened = open_particles(source)
        run = begin(tmp_path / name, small_config(posterior), opened, Watch())
        train(run, opened)
        latents.append(Run.open(tmp_path / name).latents().distribution.mean)
    assert torch.equal(*latents)


def test_training_on_half_precision_is_close(stack, tmp_path) -> None:
    latents = []
    for dtype in ("float32", "float16"):
        folder = packed(stack, tmp_path / dtype, Packing(dtype=dtype)).folder
        opened = open_particles(folder)
        run = begin(tmp_path / f"run_{dtype}", small_config("table"), opened, Watch())
        train(run, opened)
        latents.append(Run.open(run.path).latents().distribution.mean)
    assert not torch.equal(*latents)
    assert (latents[0] - latents[1]).abs().max() < 0.02 * latents[0].abs().max()


def test_cropped_particles_keep_their_low_frequencies(stack, tmp_path) -> None:
    done = packed(stack, tmp_path / "packed", replace(AS_IT_IS, box=8))
    assert done.manifest.pixel_size_angstrom == 36.0
    index = torch.arange(40)
    low = replace(open_particles(done.folder), shells=3)
    # of the same shells; the transform is unitary, so values go with the box
    whole = replace(stack, shells=3).batch(index).images
    torch.testing.assert_close(2 * low.batch(index).images, whole, atol=1e-4, rtol=1e-4)
    ours = low.ctf.evaluate(low.disc.cycles_per_pixel)
    theirs = stack.ctf.evaluate(replace(stack, shells=3).disc.cycles_per_pixel)
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)
    assert packed(stack, tmp_path / "again", replace(AS_IT_IS, downsample=2.0)).manifest.box == 8


def test_boxes_and_pixel_sizes_are_brought_to_one(files) -> None:
    images = files.stacks["images.mrcs"]
    files.stacks["other.mrcs"] = np.repeat(np.repeat(images, 2, axis=1), 2, axis=2)
    files.particles["rlnImageName"] = [
        "1@images.mrcs",
        "1@other.mrcs",
        "2@images.mrcs",
        "2@other.mrcs",
    ]
    files.optics["rlnImagePixelSize"] = [2.5, 1.25]
    files.optics["rlnImageSize"] = [8, 16]
    star = files.write()
    with pytest.raises(InputError, match="cryolatent prepare"):
        open_particles(star)
    done = pack(open_mixed(star), files.folder / "packed", replace(AS_IT_IS, contrast_known=True))
    stack = open_particles(done.folder)
    assert (stack.images.box, stack.pixel_size_angstrom) == (8, 2.5)
    assert (stack.ctf.pixel_size_angstrom == 2.5).all()
    assert stack.ctf.voltage_kv.tolist() == [300, 200, 300, 200]
    np.testing.assert_array_equal(stack.images.read(np.array([0, 2])), images[:2])
    assert stack.images.read(np.array([1])).std() > 0


def test_bad_particles_stop_or_are_left_out(stack, tmp_path) -> None:
    pixels = np.memmap(stack.source.parent / "particles.mrcs", "<f4", "r+", 1024, (40, 16, 16))
    pixels[[3, 17], 2, 2] = np.nan
    pixels.flush()
    shown = []
    with pytest.raises(InputError, match="2 of 40"):
        packed(stack, tmp_path / "packed", show=shown.append)
    assert [finding.row for finding in shown[0]] == [3, 17]
    assert not (tmp_path / "packed").exists()
    done = packed(stack, tmp_path / "packed", Packing(on_bad="drop"))
    assert (done.manifest.particles, done.manifest.dropped) == (38, 2)
    left = np.delete(stack.ids, [3, 17])
    assert open_particles(done.folder).ids.tolist() == left.tolist()
    assert len(json.loads((done.folder / "findings.json").read_text())) == 2


def test_dark_particles_stop_unless_the_sign_was_given(stack, tmp_path) -> None:
    dark = open_mixed(stack.source, invert_contrast=True)
    with pytest.raises(InputError, match="`invert_contrast=True`; or `invert_contrast=False`"):
        pack(dark, tmp_path / "packed")
    assert not (tmp_path / "packed").exists()
    done = pack(dark, tmp_path / "packed", Packing(contrast_known=True))
    assert done.manifest.contrast_score < -8


def test_interrupted_packing_continues(stack, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(work, "CHUNK_BYTES", 4 * 4 * 16 * 16)  # ten chunks of four images
    packed(stack, tmp_path / "whole")
    folder, digest, done = tmp_path / "packed", journal._digest, []

    def stop(content) -> str:
        done.append(1)
        if len(done) > 6:
            raise KeyboardInterrupt
        return digest(content)

    monkeypatch.setattr(journal, "_digest", stop)
    with pytest.raises(KeyboardInterrupt):
        packed(stack, folder, workers=1)
    monkeypatch.setattr(journal, "_digest", digest)
    with pytest.raises(InputError, match=r"unfinished packing.*Give the same"):
        open_particles(folder)
    with pytest.raises(InputError, match="box None in place of 8"):
        packed(stack, folder, Packing(box=8))
    lines = (folder / "journal.jsonl").read_text().splitlines()
    assert len(lines) == 6
    # a chunk that was changed or cut short since is made again, as is one without its line
    images = np.load(folder / "images.npy", mmap_mode="r+")
    images[1] = 0
    images.flush()
    (folder / "journal.jsonl").write_text("\n".join(lines)[:-3])
    read = []
    source = type(open_mixed(stack.source).parts[0].images)
    original = source.read
    monkeypatch.setattr(source, "read", lambda self, p: (read.append(len(p)), original(self, p))[1])
    again = packed(stack, folder, workers=1)
    assert again.fresh
    assert again.findings is None  # the images were not checked again
    looked_at = read.pop(0)  # some images, for the unit of all
    assert looked_at < 10
    assert sum(read) == 40 - 4 * 4
    whole = tmp_path / "whole"
    for name in ("images.npy", "manifest.json", "particles.parquet"):
        assert (folder / name).read_bytes() == (whole / name).read_bytes()
    assert sorted(f.name for f in folder.iterdir()) == sorted(f.name for f in whole.iterdir())


@pytest.mark.parametrize("tail", [b'[0, "ab', b"null\n[3", b"\xff\xfe"])
def test_packing_continues_after_a_stop_at_any_byte(stack, tmp_path, monkeypatch, tail) -> None:
    whole = packed(stack, tmp_path / "whole").folder
    folder = tmp_path / "packed"
    with monkeypatch.context() as patch:
        patch.setattr(journal, "_digest", lambda content: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            packed(stack, folder, workers=1)
    for _ in range(2):
        (folder / "images.npy").write_bytes(b"")
        with (folder / "journal.jsonl").open("ab") as stream:
            stream.write(tail)
        with monkeypatch.context() as patch:
            # stopped again, behind the line that the next attempt reads
            patch.setattr(journal.os, "fsync", lambda _: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                packed(stack, folder, workers=1)
    packed(stack, folder, workers=1)
    assert (folder / "images.npy").read_bytes() == (whole / "images.npy").read_bytes()


def test_flat_background_is_found_before_anything_is_written(stack, tmp_path) -> None:
    pixels = np.memmap(stack.source.parent / "particles.mrcs", "<f4", "r+", 1024, (40, 16, 16))
    inside = pixels[7, 6:10, 6:10].copy()
    pixels[7] = 0.25
    pixels[7, 6:10, 6:10] = inside * pixels[8].std() / inside.std() * 3
    pixels.flush()
    folder = tmp_path / "packed"
    with pytest.raises(InputError, match=r"row 8 .*found a background without noise.*`on_bad="):
        packed(stack, folder)
    assert not folder.exists()
    done = packed(stack, folder, Packing(on_bad="drop"))
    assert done.manifest.dropped == 1
    assert [(f.row, f.check) for f in done.findings or ()] == [(7, "flat background")]
    assert packed(stack, tmp_path / "as_it_is", AS_IT_IS).manifest.dropped == 0
    # the radius is that of the normalisation: at a smaller one there is noise beyond it
    radius = Packing(particle_radius=18.0 * 2)
    assert packed(stack, tmp_path / "small", radius).manifest.dropped == 0


def test_a_finished_folder_is_kept(stack, tmp_path) -> None:
    folder = tmp_path / "packed"
    packed(stack, folder)
    before = (folder / "images.npy").stat().st_mtime_ns
    assert not packed(stack, folder).fresh
    assert (folder / "images.npy").stat().st_mtime_ns == before
    with pytest.raises(InputError, match="float32 in place of float16"):
        packed(stack, folder, Packing(dtype="float16"))
    stack.source.write_text(stack.source.read_text().replace("300", "200", 1))
    with pytest.raises(InputError, match="changed input"):
        packed(stack, folder)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.txt").touch()
    with pytest.raises(InputError, match="other files"):
        packed(stack, tmp_path / "other")


@pytest.mark.parametrize(
    ("packing", "words"),
    [
        (Packing(box=18), "an even number from 4 to 16"),
        (Packing(box=7), "an even number from 4 to 16"),
        (Packing(downsample=9.0), "`downsample`: found a box of 0"),
        (Packing(downsample=2.0, box=8), "one of them"),
        (Packing(particle_radius=144.0), "Give the radius"),
        (Packing(dtype="float16", normalise="none"), '`normalise="image"`'),
    ],
)
def test_options_that_do_not_fit(stack, tmp_path, packing, words) -> None:
    with pytest.raises(InputError, match="found") as caught:
        packed(stack, tmp_path / "packed", packing)
    assert words in str(caught.value)
    assert not (tmp_path / "packed").exists()


def test_poses_that_are_no_rotations_can_be_dropped(stack, tmp_path) -> None:
    opened = open_mixed(stack.source)
    rotations = opened.poses.rotations.clone()
    rotations[5, 0] *= 2
    opened = replace(opened, poses=replace(opened.poses, rotations=rotations))
    with pytest.raises(InputError, match="no rotation"):
        pack(opened, tmp_path / "packed")
    assert pack(opened, tmp_path / "packed", Packing(on_bad="drop")).manifest.dropped == 1


def test_the_door_selects_expands_and_refuses(stack, tmp_path) -> None:
    folder = packed(stack, tmp_path / "packed").folder
    np.save(tmp_path / "ind.npy", np.array([9, 2]))
    few = open_particles(folder, tables=Tables(ind=tmp_path / "ind.npy"), symmetry="C2")
    assert few.ids.tolist() == [f"{stack.ids[row]}#{k}" for row in (9, 2) for k in (1, 2)]
    assert tmp_path / "ind.npy" in few.tables
    with pytest.raises(InputError, match="Give it to prepare"):
        open_particles(folder, tables=Tables(poses=tmp_path / "poses.pkl"))
    with pytest.raises(InputError, match="1 to 7"):
        open_particles(folder, shells=8)
    with pytest.raises(InputError, match=r"without manifest\.json"):
        open_particles(tmp_path / "data")
    with pytest.raises(InputError, match="a particle file"):
        open_mixed(folder)


def test_a_damaged_folder_is_refused(stack, tmp_path) -> None:
    folder = packed(stack, tmp_path / "packed").folder
    digest = input_digest(open_particles(folder))
    content = (folder / "images.npy").read_bytes()
    (folder / "images.npy").write_bytes(content[:5000])
    with pytest.raises(InputError, match="unreadable files"):
        open_particles(folder)
    (folder / "images.npy").write_bytes(b"")
    with pytest.raises(InputError, match="unreadable files"):
        open_particles(folder)
    with pytest.raises(InputError, match=r"unreadable files.*Remove the folder"):
        packed(stack, folder)
    (folder / "images.npy").write_bytes(content)
    assert input_digest(open_particles(folder)) == digest
    index = (folder / "particles.parquet").read_bytes()
    table = pq.read_table(folder / "particles.parquet")
    for other in (table.drop_columns(["shift_x_angstrom"]), table.slice(0, 39)):
        pq.write_table(other, folder / "particles.parquet")
        with pytest.raises(InputError, match=r"another particles\.parquet"):
            open_particles(folder)
    (folder / "particles.parquet").write_bytes(index)
    (folder / "manifest.json").write_text("{}")
    with pytest.raises(InputError, match="something else"):
        open_particles(folder)


def test_a_run_on_packed_particles_is_exported_as_the_original(stack, tmp_path) -> None:
    pixels = np.memmap(stack.source.parent / "particles.mrcs", "<f4", "r+", 1024, (40, 16, 16))
    pixels[3] = 0
    pixels.flush()
    folder = packed(stack, tmp_path / "packed", Packing(on_bad="drop")).folder
    opened = open_particles(folder)
    run = begin(tmp_path / "run", small_config("table", epochs=1), opened, Watch())
    train(run, opened)
    done = export(Run.open(run.path), tmp_path / "out.star")
    assert done.rows.tolist() == [row for row in range(40) if row != 3]
    table = read_star(done.path).particles
    # the file lies elsewhere, and finds the images all the same
    names = [f"{n[:7]}{Path(n[7:]).name}" for n in table["rlnImageName"]]
    assert names == np.delete(stack.ids, 3).tolist()
    assert (open_particles(done.path).pixels(np.arange(3)) == stack.pixels(np.arange(3))).all()
    latents = Run.open(run.path).latents().distribution.mean[:, 0]
    limit = float(latents.median())
    rows = export(Run.open(run.path), tmp_path / "rows.npy", [f"z0>{limit}"])
    assert rows.source == folder
    picked = open_particles(folder, tables=Tables(ind=rows.path))
    assert picked.ids.tolist() == opened.ids[(latents > limit).numpy()].tolist()
    stack.source.write_text(stack.source.read_text() + "\n")
    with pytest.raises(InputError, match="when the particles were packed"):
        export(Run.open(run.path), tmp_path / "again.star")


def test_groups_of_noise_are_packed(tmp_path: Path) -> None:
    stack = small_stack(tmp_path / "data", micrographs=3)
    done = packed(stack, tmp_path / "packed", AS_IT_IS)
    again = open_particles(done.folder)
    assert stack.noise_groups is not None and again.noise_groups is not None
    assert len(set(stack.noise_groups)) == 3
    assert again.noise_groups.tolist() == stack.noise_groups.tolist()
    assert open_particles(done.folder, noise_groups="none").noise_groups is None
    with pytest.raises(InputError, match="auto or none of packed particles"):
        open_particles(done.folder, noise_groups="rlnGroupName")
