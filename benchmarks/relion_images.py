"""Images of a simulation projected anew by RELION: what another program makes of the same truth."""

import subprocess
from pathlib import Path

import numpy as np


def project_again(data: Path, seed: int, snr: float) -> None:
    """Replace the images of a simulation of one state, junk excepted, by RELION's projections.

    Poses, contrasts, transfer functions and noise levels are those of the simulation; the noise is
    white and drawn anew.

    Args:
        data: What ``cryolatent simulate`` wrote.
        seed: Of the noise.
        snr: Variance of the projections, transfer functions applied, over that of the noise.

    Raises:
        RuntimeError: If RELION fails.
    """
    from cryolatent.io import new_stack, read_images, read_star, write_star
    from cryolatent.simulate.truth import JUNK, Truth

    truth, star = Truth.load(data / "truth"), read_star(data / "particles.star")
    angles, origins = truth.poses.to_relion()
    particles = star.particles.copy()
    for column, values in zip(("Rot", "Tilt", "Psi"), angles.T.numpy(), strict=True):
        particles[f"rlnAngle{column}"] = values
    for axis, values in zip("XY", origins.T.numpy(), strict=True):
        particles[f"rlnOrigin{axis}Angst"] = values
    write_star(data / "true.star", particles, star.optics)
    command = ["relion_project", "--i", data / "truth" / "state_0.mrc", "--ang", data / "true.star"]
    command += ["--o", data / "clean", "--ctf", "--angpix", str(truth.pixel_size_angstrom)]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr)
    rows, rng = np.arange(len(particles)), np.random.default_rng([seed, 7])
    clean = read_images(data / "clean.mrcs", rows)
    junk = truth.state == JUNK
    clean *= (snr / clean[~junk].var(axis=(1, 2)).mean()) ** 0.5
    level = np.ones(len(rows)) if truth.noise_level is None else truth.noise_level
    noise = rng.normal(size=clean.shape) * level[:, None, None] ** 0.5
    images = truth.contrast[:, None, None] * clean + noise
    images[junk] = read_images(data / "particles.mrcs", rows[junk])
    (data / "particles.mrcs").unlink()
    with new_stack(data / "particles.mrcs", images.shape, truth.pixel_size_angstrom) as stack:
        stack[:] = images
