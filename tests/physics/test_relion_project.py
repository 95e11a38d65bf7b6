"""The image model against RELION's own projector."""

import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from cryolatent.io import read_images, write_star, write_volume
from cryolatent.physics import (
    CTF,
    FourierDisc,
    Poses,
    images_to_disc,
    shift_phases,
    slice_volume,
    volume_to_fourier,
)

pytestmark = pytest.mark.relion

BOX, PIXEL, COUNT = 48, 3.0, 8
DISC = FourierDisc(BOX, BOX // 2 - 1)


def blobs(rng: np.random.Generator) -> np.ndarray:
    axis = np.arange(BOX) - BOX // 2
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    volume = np.zeros((BOX,) * 3)
    for cx, cy, cz, sigma, weight in rng.uniform(
        [-9] * 3 + [1.3, 0.5], [9] * 3 + [2.5, 2], (12, 5)
    ):
        squared = (x - cx) ** 2 + (y - cy) ** 2 + (z - cz) ** 2
        volume += weight * np.exp(-squared / (2 * sigma**2))
    return volume


def random_metadata(rng: np.random.Generator) -> pd.DataFrame:
    defocus = rng.uniform(12_000, 20_000, COUNT)
    return pd.DataFrame(
        {
            "rlnImageName": [f"{row + 1}@images.mrcs" for row in range(COUNT)],
            "rlnAngleRot": rng.uniform(-180, 180, COUNT),
            "rlnAngleTilt": rng.uniform(0, 180, COUNT),
            "rlnAnglePsi": rng.uniform(-180, 180, COUNT),
            "rlnOriginXAngst": rng.uniform(-15, 15, COUNT),
            "rlnOriginYAngst": rng.uniform(-15, 15, COUNT),
            "rlnDefocusU": defocus,
            "rlnDefocusV": defocus - rng.uniform(200, 2_000, COUNT),
            "rlnDefocusAngle": rng.uniform(0, 180, COUNT),
            "rlnPhaseShift": rng.uniform(0, 90, COUNT),
            "rlnOpticsGroup": 1 + np.arange(COUNT) % 2,
        }
    )


OPTICS = pd.DataFrame(
    {
        "rlnOpticsGroup": [1, 2],
        "rlnOpticsGroupName": ["first", "second"],
        "rlnVoltage": [300.0, 200.0],
        "rlnSphericalAberration": [2.7, 2.0],
        "rlnAmplitudeContrast": [0.1, 0.07],
        "rlnImagePixelSize": [PIXEL, PIXEL],
        "rlnImageSize": [BOX, BOX],
        "rlnImageDimensionality": [2, 2],
    }
)


def predict(volume: np.ndarray, particles: pd.DataFrame, *, with_ctf: bool) -> torch.Tensor:
    def columns(*names: str) -> torch.Tensor:
        rows = particles.merge(OPTICS, on="rlnOpticsGroup")
        return torch.from_numpy(rows[list(names)].to_numpy(dtype=np.float32).copy())

    poses = Poses.from_relion(
        columns("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi"),
        columns("rlnOriginXAngst", "rlnOriginYAngst"),
    )
    transform = volume_to_fourier(torch.from_numpy(volume).float())
    slices = slice_volume(transform, poses.rotations, DISC)
    slices = slices * shift_phases(DISC, poses.shifts_angstrom / PIXEL)
    if not with_ctf:
        return slices
    parameters = columns(
        "rlnDefocusU",
        "rlnDefocusV",
        "rlnDefocusAngle",
        "rlnVoltage",
        "rlnSphericalAberration",
        "rlnAmplitudeContrast",
        "rlnPhaseShift",
        "rlnImagePixelSize",
    )
    return slices * CTF(*parameters.T).evaluate(DISC.cycles_per_pixel)


@pytest.mark.parametrize("with_ctf", [False, True], ids=["projection", "with CTF"])
def test_images_are_those_of_relion(tmp_path: Path, with_ctf: bool):
    rng = np.random.default_rng(0)
    volume, particles = blobs(rng), random_metadata(rng)
    write_volume(tmp_path / "map.mrc", volume, PIXEL)
    write_star(tmp_path / "in.star", particles, OPTICS)
    command = ["relion_project", "--i", "map.mrc", "--o", "out", "--ang", "in.star"]
    subprocess.run([*command, *["--ctf"] * with_ctf], cwd=tmp_path, check=True, capture_output=True)
    images = read_images(tmp_path / "out.mrcs", np.arange(COUNT))
    theirs = images_to_disc(torch.from_numpy(images), DISC)
    ours = predict(volume, particles, with_ctf=with_ctf)
    cross = (ours * theirs.conj()).real.sum(-1)
    assert (cross / (ours.norm(dim=-1) * theirs.norm(dim=-1)) > 0.9999).all()
    assert (cross / ours.norm(dim=-1).square()).tolist() == pytest.approx([1.0] * COUNT, abs=1e-3)
