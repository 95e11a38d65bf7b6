"""A small valid stack of files, for tests to read as it is or to break."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cryolatent.io import new_stack, write_star

COUNT, BOX = 4, 8


@dataclass
class Files:
    folder: Path
    particles: pd.DataFrame
    optics: pd.DataFrame | None
    stacks: dict[str, np.ndarray]

    @property
    def star(self) -> Path:
        return self.folder / "particles.star"

    def write(self) -> Path:
        for name, images in self.stacks.items():
            with new_stack(self.folder / name, images.shape, 1.0) as stack:
                stack[:] = images
        write_star(self.star, self.particles, self.optics)
        return self.star


@pytest.fixture
def files(tmp_path: Path) -> Files:
    rng = np.random.default_rng(0)
    particles = pd.DataFrame(
        {
            "rlnImageName": [f"{row + 1}@images.mrcs" for row in range(COUNT)],
            "rlnAngleRot": rng.uniform(-180, 180, COUNT),
            "rlnAngleTilt": rng.uniform(0, 180, COUNT),
            "rlnAnglePsi": rng.uniform(-180, 180, COUNT),
            "rlnOriginXAngst": rng.uniform(-5, 5, COUNT),
            "rlnOriginYAngst": rng.uniform(-5, 5, COUNT),
            "rlnDefocusU": rng.uniform(15_000, 20_000, COUNT),
            "rlnDefocusV": rng.uniform(10_000, 15_000, COUNT),
            "rlnDefocusAngle": rng.uniform(0, 180, COUNT),
            "rlnOpticsGroup": [1, 2, 1, 2],
        }
    )
    optics = pd.DataFrame(
        {
            "rlnOpticsGroup": [1, 2],
            "rlnVoltage": [300.0, 200.0],
            "rlnSphericalAberration": [2.7, 2.0],
            "rlnAmplitudeContrast": [0.1, 0.07],
            "rlnImagePixelSize": [2.5, 2.5],
        }
    )
    images = rng.normal(size=(COUNT, BOX, BOX)).astype(np.float32)
    return Files(tmp_path, particles, optics, {"images.mrcs": images})
