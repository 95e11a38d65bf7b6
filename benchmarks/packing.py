"""How fast particles are packed, and how much memory packing and reading take.

Parts of ``python -m benchmarks.inputs``.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from cryolatent.io import new_stack, write_star

BOX, CROPPED, STACK = 128, 64, 2_000
SPEED_PARTICLES, MEMORY_PARTICLES, EPOCH = 10_000, (2_000, 100_000), 10_000


def noise_stack(path: Path, count: int = STACK, box: int = BOX) -> None:
    """Write a stack of noise with a bright disc, the same 100 images again and again."""
    rng = np.random.default_rng(0)
    axis = np.arange(box) - box // 2
    disc = np.hypot(axis[:, None], axis) < box / 4
    block = rng.normal(size=(100, box, box)).astype(np.float32) + 0.3 * disc
    with new_stack(path, (count, box, box), 1.5) as stack:
        for start in range(0, count, 100):
            stack[start : start + 100] = block[: count - start]


def write_particles(folder: Path, count: int) -> Path:
    """Write a STAR file of particles in stacks that are links to one: they take no room."""
    folder.mkdir(parents=True, exist_ok=True)
    first = folder / "stack_000.mrcs"
    if not first.exists():
        noise_stack(first)
    stacks = -(-count // STACK)
    for number in range(1, stacks):
        path = folder / f"stack_{number:03d}.mrcs"
        if not path.exists():
            os.link(first, path)
    rng = np.random.default_rng(1)
    rows = np.arange(count)
    place = zip(*(part.tolist() for part in reversed(np.divmod(rows, STACK))), strict=True)
    particles = pd.DataFrame(
        {
            "rlnImageName": [f"{image + 1:06d}@stack_{stack:03d}.mrcs" for image, stack in place],
            "rlnAngleRot": rng.uniform(-180, 180, count).round(4),
            "rlnAngleTilt": rng.uniform(0, 180, count).round(4),
            "rlnAnglePsi": rng.uniform(-180, 180, count).round(4),
            "rlnOriginXAngst": 0.0,
            "rlnOriginYAngst": 0.0,
            "rlnDefocusU": rng.uniform(8_000, 25_000, count).round(1),
            "rlnDefocusV": 15_000.0,
            "rlnOpticsGroup": 1,
        }
    )
    optics = {
        "rlnOpticsGroup": [1],
        "rlnVoltage": [300.0],
        "rlnSphericalAberration": [2.7],
        "rlnAmplitudeContrast": [0.1],
        "rlnImagePixelSize": [1.5],
        "rlnImageSize": [BOX],
    }
    write_star(folder / f"particles_{count}.star", particles, pd.DataFrame(optics))
    return folder / f"particles_{count}.star"


def speed(out: Path, particles: int = SPEED_PARTICLES) -> dict:
    """Time packing beside the bare work on the same bytes, three times each in turn."""
    star = write_particles(out / "stacks", particles)
    times: dict[str, list] = {"bare": [], "prepare": []}
    for _ in range(3):
        for what, clocks in times.items():
            clocks.append(_child(what, star, out / "packed"))
    best = {
        name: {key: min(c[key] for c in clocks) for key in ("wall", "cpu")}
        for name, clocks in times.items()
    }
    return {
        "particles": particles,
        "box": BOX,
        "cropped": CROPPED,
        "seconds": best,
        "images_per_second": round(particles / best["prepare"]["wall"]),
        "share_of_bare_speed": {
            key: round(best["bare"][key] / best["prepare"][key], 2) for key in ("wall", "cpu")
        },
    }


def memory(out: Path, counts: tuple[int, ...] = MEMORY_PARTICLES) -> list[dict]:
    """Anonymous memory of packing and of reading batches, in MB, for small and large files."""
    rows = []
    for count in counts:
        star = write_particles(out / "stacks", count)
        for what in ("prepare", "batches"):
            found = _child(what, star, out / "packed")
            rows.append({"what": what, "particles": count, **found})
    return rows


def _child(what: str, star: Path, packed: Path) -> dict:
    command = [sys.executable, "-m", "benchmarks.packing_child", what, star, packed]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])
