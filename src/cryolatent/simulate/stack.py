"""Simulate a particle stack of known truth: STAR, MRCS and truth folder."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from jaxtyping import Int
from torch import Tensor

from cryolatent.errors import InputError
from cryolatent.io import new_stack, write_star
from cryolatent.io.files import new_folder
from cryolatent.physics import CTF, Poses
from cryolatent.progress import Advance, unwatched
from cryolatent.simulate.background import Background
from cryolatent.simulate.config import SimulateConfig
from cryolatent.simulate.molecule import Molecule, load_molecule
from cryolatent.simulate.observation import (
    draw_observations,
    perturb,
    read_observations,
    unrecorded,
)
from cryolatent.simulate.scene import Particles, Scene
from cryolatent.simulate.truth import JUNK, Truth

CHUNK = 256


def simulate(
    config: SimulateConfig,
    folder: str | Path,
    progress: Advance = unwatched,
) -> Truth:
    """Write a simulated stack: ``particles.star``, ``particles.mrcs`` and ``truth/``.

    Args:
        config: What to simulate.
        folder: Where to write, all or nothing; it must not hold anything already.
        progress: Called with the number of images written after each chunk.

    Returns:
        The truth, which is also written.

    Raises:
        InputError: If an input is wrong or the folder is taken.
    """
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        found = "other files" if folder.is_dir() else "a file"
        raise InputError(folder, found, "a new or empty folder", "Choose another.")
    molecule = load_molecule(config.model, config.states).only(config.only)
    _check_motion(molecule, config)
    _check_size(molecule, config)
    rng = np.random.default_rng(config.seed)
    if config.metadata is None:
        poses, ctf = draw_observations(config, rng)
    else:
        poses, ctf = read_observations(config.metadata, config, rng)
    state = _draw_states(config, len(molecule.states), rng)
    state[rng.random(config.particles) < config.junk] = JUNK
    contrast = 1 + config.contrast_spread * rng.normal(size=config.particles)
    recorded = perturb(poses, ctf, config, rng)
    angle = np.random.default_rng([config.seed, 3]).uniform(-0.5, 0.5, config.particles)
    owner = np.repeat(np.arange(config.particles), config.observations)
    truly = unrecorded(ctf, config)
    particles = Particles(poses, truly, owner, state, contrast, config.motion * angle)
    scene = Scene.build(config, molecule, particles)
    background = Background.draw(config, molecule.diameter_angstrom / config.pixel_size)
    names = [f"{row + 1:06d}@particles.mrcs" for row in range(config.images)]
    ids = np.array(names)
    if config.observations > 1:
        ids = np.array([f"simulated/{number + 1}" for number in range(config.particles)])
    truth = Truth(
        ids=ids,
        state=state,
        state_names=tuple(molecule.states),
        contrast=contrast,
        poses=poses,
        noise_spectrum=noise_variance(torch.arange(config.box // 2).float(), config),
        volumes=scene.volumes,
        pixel_size_angstrom=config.pixel_size,
        snr=config.snr,
        diameter_to_box=molecule.diameter_angstrom / (config.box * config.pixel_size),
        motion=scene.motion,
        noise_level=background.noise_level,
    )
    with new_folder(folder) as partial:
        _write_images(partial / "particles.mrcs", scene, background, progress)
        micrographs = background.micrograph if config.micrographs else None
        star = partial / "particles.star"
        _write_star(star, names, ids[owner], recorded, ctf, config, micrographs)
        truth.save(partial / "truth")
    return truth


def _check_motion(molecule: Molecule, config: SimulateConfig) -> None:
    if config.motion == 0:
        return
    if molecule.hinge is None:
        raise InputError(
            "`motion`",
            f"{config.motion:g} degrees, but nothing in {config.model} that turns",
            "a model with a motion",
            'Add "motion": {"parts": [...]} to the file of `states`.',
        )
    if not any((molecule.hinge.moving & present).any() for present in molecule.states.values()):
        raise InputError(
            "`motion`",
            f"{config.motion:g} degrees, but states without the part that turns",
            "at least one state with it",
            "Choose other states with `only`.",
        )


def _check_size(molecule: Molecule, config: SimulateConfig) -> None:
    """The molecule must fit into the box, at both ends of its motion too."""
    diameter = molecule.diameter_angstrom
    if config.motion > 0 and molecule.hinge is not None:
        for degrees in (-config.motion / 2, config.motion / 2):
            positions = molecule.hinge.turned(molecule.positions_angstrom, degrees)
            turned = replace(molecule, positions_angstrom=positions)
            diameter = max(diameter, turned.diameter_angstrom)
    side = config.box * config.pixel_size
    if diameter >= side:
        raise InputError(
            "`box`",
            f"a side of {side:.0f} Å",
            f"more than the molecule's {diameter:.0f} Å",
            "Enlarge `box` or `pixel_size`.",
        )


def noise_variance(shell: Tensor, config: SimulateConfig) -> Tensor:
    """Noise variance of a Fourier coefficient, normalised to one per pixel on average.

    Args:
        shell: Distance from the origin in cycles per box.
        config: `noise_colour` c; the spectrum is ``1 + c / (1 + (8 k / box)^2)``.

    Returns:
        Variance, in the shape of `shell`.
    """

    def spectrum(radius: Tensor) -> Tensor:
        return 1 + config.noise_colour / (1 + (8 * radius / config.box) ** 2)

    return spectrum(shell) / spectrum(_radius(config.box)).mean()


def _radius(box: int) -> Tensor:
    frequency = torch.fft.fftfreq(box, 1 / box)
    return torch.hypot(frequency[:, None], frequency)


def _write_images(path: Path, scene: Scene, background: Background, progress: Advance) -> None:
    config = background.config
    shape = (config.images, config.box, config.box)
    gain = noise_variance(_radius(config.box), config).sqrt()[:, : config.box // 2 + 1]
    with new_stack(path, shape, config.pixel_size) as stack:
        for start in range(0, config.images, CHUNK):
            rows = torch.arange(start, min(start + CHUNK, config.images))
            recorded = background.add(scene.images(rows), rows, scene, gain)
            stack[start : start + len(rows)] = recorded.numpy()
            progress(int(rows[-1]) + 1)


def _draw_states(
    config: SimulateConfig, states: int, rng: np.random.Generator
) -> Int[np.ndarray, " n"]:
    if not config.populations:
        return rng.integers(states, size=config.particles)
    if len(config.populations) != states:
        raise InputError(
            "`populations`",
            f"{len(config.populations)} numbers",
            f"{states}, one for each state",
            "Choose the states with `only`.",
        )
    share = np.array(config.populations) / sum(config.populations)
    return rng.choice(states, size=config.particles, p=share)


def _write_star(
    path: Path,
    names: list[str],
    particle: np.ndarray,
    poses: Poses,
    ctf: CTF,
    config: SimulateConfig,
    micrographs: Int[np.ndarray, " images"] | None,
) -> None:
    angles, origins = poses.to_relion()
    particles = pd.DataFrame(
        {
            "rlnImageName": names,
            "rlnAngleRot": angles[:, 0].numpy(),
            "rlnAngleTilt": angles[:, 1].numpy(),
            "rlnAnglePsi": angles[:, 2].numpy(),
            "rlnOriginXAngst": origins[:, 0].numpy(),
            "rlnOriginYAngst": origins[:, 1].numpy(),
            "rlnDefocusU": ctf.defocus_u_angstrom.numpy(),
            "rlnDefocusV": ctf.defocus_v_angstrom.numpy(),
            "rlnDefocusAngle": ctf.defocus_angle_degrees.numpy(),
            "rlnPhaseShift": ctf.phase_shift_degrees.numpy(),
            "rlnRandomSubset": 1 + np.arange(len(names)) // config.observations % 2,
            "rlnOpticsGroup": 1,
        }
    )
    if micrographs is not None:
        particles["rlnMicrographName"] = [f"micrograph{at + 1:05d}.mrc" for at in micrographs]
    if config.observations > 1:
        particles.insert(1, "rlnTomoParticleName", particle)
    optics = pd.DataFrame(
        {
            "rlnOpticsGroup": [1],
            "rlnOpticsGroupName": ["opticsGroup1"],
            "rlnVoltage": [float(ctf.voltage_kv[0])],
            "rlnSphericalAberration": [float(ctf.spherical_aberration_mm[0])],
            "rlnAmplitudeContrast": [float(ctf.amplitude_contrast[0])],
            "rlnImagePixelSize": [config.pixel_size],
            "rlnImageSize": [config.box],
            "rlnImageDimensionality": [2],
        }
    )
    write_star(path, particles, optics)
