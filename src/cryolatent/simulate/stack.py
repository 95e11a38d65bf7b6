"""Simulate a particle stack of known truth: STAR, MRCS and truth folder."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from jaxtyping import Complex, Float
from torch import Tensor

from cryolatent.errors import InputError
from cryolatent.io import new_stack, write_star
from cryolatent.physics import (
    CTF,
    FourierDisc,
    Poses,
    disc_to_images,
    shift_phases,
    slice_volume,
    soft_disc,
    volume_to_fourier,
)
from cryolatent.simulate.config import SimulateConfig
from cryolatent.simulate.density import density_map
from cryolatent.simulate.molecule import Molecule, load_molecule
from cryolatent.simulate.observation import draw_observations, perturb, read_observations
from cryolatent.simulate.truth import JUNK, Truth

CHUNK = 256
JUNK_SHAPES = 8


def simulate(
    config: SimulateConfig,
    folder: str | Path,
    progress: Callable[[int], None] = lambda done: None,
) -> Truth:
    """Write a simulated stack: ``particles.star``, ``particles.mrcs`` and ``truth/``.

    Args:
        config: What to simulate.
        folder: Where to write; it must not hold a stack already.
        progress: Called with the number of particles written after each chunk.

    Returns:
        The truth, which is also written.

    Raises:
        InputError: If an input is wrong or the folder is taken.
    """
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        found = "other files" if folder.is_dir() else "a file"
        raise InputError(folder, found, "a new or empty folder", "Choose another -o.")
    molecule = load_molecule(config.model, config.states)
    side = config.box * config.pixel_size
    if molecule.diameter_angstrom >= side:
        raise InputError(
            "--box",
            f"a side of {side:.0f} Å",
            f"more than the molecule's {molecule.diameter_angstrom:.0f} Å",
            "Enlarge --box or --pixel-size.",
        )
    rng = np.random.default_rng(config.seed)
    if config.metadata is None:
        poses, ctf = draw_observations(config, rng)
    else:
        poses, ctf = read_observations(config.metadata, config, rng)
    state = rng.integers(len(molecule.states), size=config.particles)
    state[rng.random(config.particles) < config.junk] = JUNK
    contrast = 1 + config.contrast_spread * rng.normal(size=config.particles)
    recorded = perturb(poses, config, rng)
    scene = Scene.build(config, molecule, poses, ctf, state, contrast)
    folder.mkdir(parents=True, exist_ok=True)
    _write_images(folder / "particles.mrcs", scene, config, progress)
    names = [f"{row + 1:06d}@particles.mrcs" for row in range(config.particles)]
    _write_star(folder / "particles.star", names, recorded, ctf, config)
    truth = Truth(
        ids=np.array(names),
        state=state,
        state_names=tuple(molecule.states),
        contrast=contrast,
        poses=poses,
        noise_spectrum=noise_variance(torch.arange(config.box // 2).float(), config),
        volumes=scene.volumes,
        pixel_size_angstrom=config.pixel_size,
        snr=config.snr,
        diameter_to_box=molecule.diameter_angstrom / (config.box * config.pixel_size),
    )
    truth.save(folder / "truth")
    return truth


@dataclass(frozen=True)
class Scene:
    """Everything that the clean images depend on, scaled so that the noise has variance one."""

    disc: FourierDisc
    volumes: Float[Tensor, "states z y x"]
    transforms: Complex[Tensor, "shapes kz ky kx"]
    shape: np.ndarray
    poses: Poses
    ctf: CTF
    contrast: Float[Tensor, " n"]

    @staticmethod
    def build(
        config: SimulateConfig,
        molecule: Molecule,
        poses: Poses,
        ctf: CTF,
        state: np.ndarray,
        contrast: np.ndarray,
    ) -> "Scene":
        """Render the states and the junk, and scale them to the signal-to-noise ratio."""
        volumes = torch.from_numpy(
            np.stack([_state_map(molecule, s, config) for s in molecule.states])
        )
        volumes = volumes.float()
        rng = np.random.default_rng([config.seed, 1])
        shapes = volumes
        if (state == JUNK).any():
            shapes = torch.cat([volumes, _junk_maps(volumes.mean(0), rng)])
        kind = np.where(
            state == JUNK, len(volumes) + rng.integers(JUNK_SHAPES, size=len(state)), state
        )
        scene = Scene(
            FourierDisc(config.box, config.box // 2 - 1),
            volumes,
            volume_to_fourier(shapes),
            kind,
            poses,
            ctf,
            torch.from_numpy(contrast).float(),
        )
        scale = (config.snr / scene.signal_variance()) ** 0.5
        return Scene(
            scene.disc, scale * volumes, scale * scene.transforms, kind, poses, ctf, scene.contrast
        )

    def images(self, rows: Tensor) -> Float[Tensor, "n y x"]:
        """Clean, CTF-filtered images of some particles."""
        poses, ctf = self.poses[rows], self.ctf[rows]
        slices = torch.zeros(len(rows), self.disc.size, dtype=self.transforms.dtype)
        kinds = self.shape[rows.numpy()]
        for kind in np.unique(kinds):
            here = torch.from_numpy(np.flatnonzero(kinds == kind))
            slices[here] = slice_volume(self.transforms[kind], poses.rotations[here], self.disc)
        slices = slices * shift_phases(
            self.disc, poses.shifts_angstrom / ctf.pixel_size_angstrom[:, None]
        )
        slices = slices * ctf.evaluate(self.disc.cycles_per_pixel)
        return disc_to_images(slices * self.contrast[rows, None], self.disc)

    def signal_variance(self) -> float:
        """Mean variance of the clean images of up to 512 particles over the whole box."""
        rows = torch.arange(min(512, len(self.poses)))
        return float(self.images(rows).flatten(1).var(dim=1).mean())


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


def _state_map(molecule: Molecule, state: str, config: SimulateConfig) -> np.ndarray:
    present = molecule.states[state]
    return density_map(
        molecule.positions_angstrom[present],
        molecule.electrons[present],
        box=config.box,
        pixel_size_angstrom=config.pixel_size,
        sigma_angstrom=molecule.blob_sigma_angstrom,
    )


def _junk_maps(consensus: Tensor, rng: np.random.Generator) -> Tensor:
    """Maps with the consensus's Fourier amplitudes and the phases of a blurred random blob."""
    box = consensus.shape[-1]
    envelope = soft_disc(box, box / 4, box / 6)
    ball = torch.minimum(torch.minimum(envelope[:, :, None], envelope[:, None]), envelope[None])
    noise = torch.from_numpy(rng.normal(size=(JUNK_SHAPES, box, box, box))).float() * ball
    phases = torch.fft.rfftn(noise, dim=(-3, -2, -1))
    amplitudes = torch.fft.rfftn(consensus).abs()
    maps = phases / phases.abs().clamp(min=1e-6) * amplitudes
    return torch.fft.irfftn(maps, s=(box,) * 3, dim=(-3, -2, -1)) * ball


def _write_images(
    path: Path, scene: Scene, config: SimulateConfig, progress: Callable[[int], None]
) -> None:
    shape = (config.particles, config.box, config.box)
    gain = noise_variance(_radius(config.box), config).sqrt()
    with new_stack(path, shape, config.pixel_size) as stack:
        for start in range(0, config.particles, CHUNK):
            rows = torch.arange(start, min(start + CHUNK, config.particles))
            rng = np.random.default_rng([config.seed, 2, start])
            noise = torch.from_numpy(rng.normal(size=(len(rows), *shape[1:])))
            noise = torch.fft.ifft2(torch.fft.fft2(noise) * gain).real
            stack[start : start + len(rows)] = (scene.images(rows) + noise).numpy()
            progress(int(rows[-1]) + 1)


def _write_star(
    path: Path, names: list[str], poses: Poses, ctf: CTF, config: SimulateConfig
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
            "rlnRandomSubset": 1 + np.arange(len(names)) % 2,
            "rlnOpticsGroup": 1,
        }
    )
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
