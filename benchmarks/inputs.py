"""How long it takes to open a large particle file, and to print the help.

python -m benchmarks.inputs OUT

Writes a RELION 3.1 file of 131,899 particles in 2,000 stacks (sparse files, no pixels) and a
cryoSPARC file of the same to OUT, opens each five times in fresh processes with one thread, and
writes medians to benchmarks/results/inputs.json. Where others use the machine, wall time says more
of them than of the program; the CPU time beside it does not.
"""

import datetime
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
from cyclopts import App
from scipy.spatial.transform import Rotation

from benchmarks.peers.records import describe_machine
from cryolatent.io import new_stack, write_star

RESULTS = Path(__file__).parent / "results"
PARTICLES, STACKS, BOX, REPEATS = 131_899, 2_000, 256, 5
OPEN = (
    "import sys, time; from cryolatent.data import open_particles;"
    "wall, cpu = time.perf_counter(), time.process_time(); open_particles(sys.argv[1]);"
    "print(time.perf_counter() - wall, time.process_time() - cpu)"
)
HELP = "from cryolatent.cli import main; main(['--help'])"
app = App(help=__doc__)


@app.default
def main(out: Path) -> None:
    """Write the files, measure, and write the medians."""
    files = write_files(out)
    commands = {name: [sys.executable, "-c", OPEN, path] for name, path in files.items()}
    commands["help"] = [sys.executable, "-c", HELP]
    record = {
        "date": datetime.date.today().isoformat(),
        "machine": describe_machine(),
        "particles": PARTICLES,
        "stacks": STACKS,
        "load": round(os.getloadavg()[0], 2),
        "seconds": {name: median(command) for name, command in commands.items()},
    }
    (RESULTS / "inputs.json").write_text(json.dumps(record, indent=2) + "\n")
    print(json.dumps(record, indent=2))


def median(command: list) -> dict[str, float]:
    """Median seconds of a command, by the clocks that it prints or from its start to its end."""
    clocks = []
    for _ in range(REPEATS):
        wall, cpu = time.perf_counter(), cpu_of_children()
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        own = done.stdout.split() if OPEN in command else ()
        clocks.append(own or (time.perf_counter() - wall, cpu_of_children() - cpu))
    wall, cpu = np.median(np.array(clocks, dtype=float), axis=0)
    return {"wall": round(float(wall), 3), "cpu": round(float(cpu), 3)}


def cpu_of_children() -> float:
    """CPU seconds of the programs that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def write_files(out: Path) -> dict[str, Path]:
    """A STAR and a .cs file of the same particles, with their stacks."""
    out.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    stack = np.arange(PARTICLES) * STACKS // PARTICLES
    image = np.arange(PARTICLES) - np.searchsorted(stack, stack)
    with new_stack(out / "first.mrcs", (int(image.max()) + 1, BOX, BOX), 1.6):
        pass
    size = (out / "first.mrcs").stat().st_size
    header = (out / "first.mrcs").open("rb").read(1024)
    (out / "first.mrcs").unlink()
    names = [f"stack_{number:05d}.mrcs" for number in range(STACKS)]
    for name in names:
        with (out / name).open("wb") as stream:
            stream.write(header)
            stream.truncate(size)
    rotations = Rotation.random(PARTICLES, rng=rng)
    angles = rotations.as_euler("ZYZ", degrees=True)
    defocus = rng.uniform(8_000, 25_000, PARTICLES)
    origins = rng.normal(0, 5, (PARTICLES, 2))
    write_relion(out / "particles.star", names, (stack, image), (angles, origins, defocus))
    write_cryosparc(
        out / "particles.cs", names, (stack, image), (rotations.as_rotvec(), origins, defocus)
    )
    return {"relion": out / "particles.star", "cryosparc": out / "particles.cs"}


def write_relion(path: Path, names: list[str], where: tuple, geometry: tuple) -> None:
    """Write the STAR file, with the columns of a finished refinement."""
    (stack, image), (angles, origins, defocus) = where, geometry
    particles = pd.DataFrame(
        {
            "rlnImageName": [f"{i + 1:06d}@{names[s]}" for s, i in zip(stack, image, strict=True)],
            "rlnMicrographName": [f"MotionCorr/job003/{names[s]}" for s in stack],
            "rlnCoordinateX": 1234.5,
            "rlnCoordinateY": 2345.6,
            "rlnDefocusU": defocus,
            "rlnDefocusV": defocus - 200,
            "rlnDefocusAngle": 45.0,
            "rlnPhaseShift": 0.0,
            "rlnAngleRot": angles[:, 0],
            "rlnAngleTilt": angles[:, 1],
            "rlnAnglePsi": angles[:, 2],
            "rlnOriginXAngst": origins[:, 0],
            "rlnOriginYAngst": origins[:, 1],
            "rlnRandomSubset": 1 + np.arange(PARTICLES) % 2,
            "rlnOpticsGroup": 1,
            "rlnClassNumber": 1,
            "rlnNormCorrection": 0.95,
            "rlnLogLikeliContribution": 123456.7,
            "rlnMaxValueProbDistribution": 0.85,
            "rlnNrOfSignificantSamples": 3,
        }
    )
    optics = pd.DataFrame(
        {
            "rlnOpticsGroup": [1],
            "rlnVoltage": [300.0],
            "rlnSphericalAberration": [2.7],
            "rlnAmplitudeContrast": [0.1],
            "rlnImagePixelSize": [1.6],
            "rlnImageSize": [BOX],
        }
    )
    write_star(path, particles, optics)


def write_cryosparc(path: Path, names: list[str], where: tuple, geometry: tuple) -> None:
    """Write the .cs file."""
    (stack, image), (vectors, shifts, defocus) = where, geometry
    columns = {
        "uid": np.arange(PARTICLES, dtype="<u8"),
        "blob/path": np.array(names, dtype="S40")[stack],
        "blob/idx": image.astype("<u4"),
        "blob/psize_A": np.full(PARTICLES, 1.6, "<f4"),
        "ctf/df1_A": defocus.astype("<f4"),
        "ctf/df2_A": (defocus - 200).astype("<f4"),
        "ctf/df_angle_rad": np.full(PARTICLES, 0.5, "<f4"),
        "ctf/accel_kv": np.full(PARTICLES, 300, "<f4"),
        "ctf/cs_mm": np.full(PARTICLES, 2.7, "<f4"),
        "ctf/amp_contrast": np.full(PARTICLES, 0.1, "<f4"),
        "alignments3D/pose": vectors.astype("<f4"),
        "alignments3D/shift": shifts.astype("<f4"),
    }
    records = np.zeros(PARTICLES, [(n, c.dtype, c.shape[1:]) for n, c in columns.items()])
    for name, values in columns.items():
        records[name] = values
    with path.open("wb") as stream:
        np.save(stream, records)


if __name__ == "__main__":
    app()
