"""Deposited particles, as every program describes them, fit the golden map as measured."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from cryolatent.data import ParticleStack, Tables, open_particles
from cryolatent.physics import (
    FourierDisc,
    shift_phases,
    slice_volume,
    volume_to_fourier,
)

pytestmark = pytest.mark.shared_data
MEASURED = [0.262, 0.169, 0.139, 0.299, 0.260, 0.370, 0.293]
FULL_BOX, BOX = 320, 64


@pytest.fixture
def golden(shared_data: Path) -> dict[str, np.ndarray]:
    with np.load(shared_data / "empiar10076_real7_64.npz") as data:
        return dict(data)


def correlations(stack: ParticleStack, golden: dict[str, np.ndarray]) -> list[float]:
    """Images against CTF-filtered slices of the map, 18 to 250 Å, at the full box."""
    observed, disc = stack.batch(torch.arange(7)).images, FourierDisc(BOX, BOX // 2 - 1)
    pixel_size = float(golden["apix"])
    volume = volume_to_fourier(torch.from_numpy(golden["ref_map"]))
    slices = slice_volume(volume, stack.poses.rotations, disc)
    slices = slices * shift_phases(disc, stack.poses.shifts_angstrom / pixel_size)
    expected = slices * stack.ctf.evaluate(stack.disc.cycles_per_pixel)
    radius = disc.shells / (BOX * pixel_size)
    band = (radius > 1 / 250) & (radius < 1 / 18)
    a, b = observed[:, band], expected[:, band]
    return ((a * b.conj()).real.sum(-1) / (a.norm(dim=-1) * b.norm(dim=-1))).tolist()


def cryodrgn_poses(folder: Path, golden: dict[str, np.ndarray]) -> Path:
    path = folder / "poses.pkl"
    path.write_bytes(pickle.dumps((golden["R"], golden["trans_frac"])))
    return path


def open_seven(path: Path, **options) -> ParticleStack:
    return open_particles(path, shells=BOX // 2 - 1, **options)


def test_relion_30_with_cryodrgn_poses(shared_data: Path, tmp_path: Path, golden):
    """Pixel size from magnification and detector pixel; dark particles inverted on request."""
    tables = Tables(poses=cryodrgn_poses(tmp_path, golden))
    stack = open_seven(shared_data / "empiar_10076_7.star", tables=tables, invert_contrast=True)
    assert stack.pixel_size_angstrom == pytest.approx(5e4 / 38168)
    assert correlations(stack, golden) == pytest.approx(MEASURED, abs=0.02)


def test_cryodrgn_project(shared_data: Path, tmp_path: Path, golden):
    """The golden ctf is that of the downsampled images: box and pixel size are converted."""
    ctf = tmp_path / "ctf.pkl"
    ctf.write_bytes(pickle.dumps(golden["ctf"]))
    tables = Tables(poses=cryodrgn_poses(tmp_path, golden), ctf=ctf)
    images = shared_data / "empiar_10076_7.mrc"
    stack = open_seven(images, tables=tables, invert_contrast=True)
    assert stack.pixel_size_angstrom == pytest.approx(1.31, abs=1e-3)
    assert correlations(stack, golden) == pytest.approx(MEASURED, abs=0.02)


def test_cryosparc(shared_data: Path, tmp_path: Path, golden):
    """The field blob/sign inverts the dark particles; rotation vectors are RELION's matrix."""
    deposited = np.load(shared_data / "empiar_10076_7.cs")
    fields = [("alignments3D/pose", "<f4", (3,)), ("alignments3D/shift", "<f4", (2,))]
    records = np.zeros(7, dtype=deposited.dtype.descr + fields)
    for name in deposited.dtype.names:
        records[name] = deposited[name]
    pose = Rotation.from_matrix(golden["R"].transpose(0, 2, 1)).as_rotvec()
    records["alignments3D/pose"], records["alignments3D/shift"] = (
        pose,
        golden["trans_frac"] * FULL_BOX,
    )
    with (tmp_path / "particles.cs").open("wb") as stream:
        np.save(stream, records)
    stack = open_seven(tmp_path / "particles.cs", datadir=shared_data)
    assert correlations(stack, golden) == pytest.approx(MEASURED, abs=0.02)
