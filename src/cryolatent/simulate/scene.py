"""The clean images of a simulation: what stands before the microscope."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Complex, Float, Int
from torch import Tensor

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
from cryolatent.simulate.molecule import Molecule
from cryolatent.simulate.motion import Motion
from cryolatent.simulate.truth import JUNK

JUNK_SHAPES = 8


@dataclass(frozen=True)
class Particles:
    """What distinguishes the particles of a simulation.

    Args:
        poses: True poses of the images.
        ctf: Transfer functions of the images.
        owner: Particle of each image.
        state: State of each particle, -1 for junk.
        contrast: Contrast of each particle.
        angle_degrees: Angle of each particle's moving part.
    """

    poses: Poses
    ctf: CTF
    owner: Int[np.ndarray, " images"]
    state: Int[np.ndarray, " n"]
    contrast: Float[np.ndarray, " n"]
    angle_degrees: Float[np.ndarray, " n"]


@dataclass(frozen=True)
class Scene:
    """Everything that the clean images depend on, scaled so that the noise has variance one.

    Args:
        disc: The coefficients of the images.
        particles: What distinguishes the particles.
        shape: Which shape each particle has: its state, or one of the shapes of junk after those.
        volumes: One map per state, its moving part at angle zero.
        resting: Transforms of the shapes without their moving parts.
        motion: The moving parts, if there are any.
        moving: Transforms of the moving parts, by state.
    """

    disc: FourierDisc
    particles: Particles
    shape: Int[np.ndarray, " n"]
    volumes: Float[Tensor, "states z y x"]
    resting: Complex[Tensor, "shapes kz ky kx"]
    motion: Motion | None
    moving: dict[int, Complex[Tensor, "kz ky kx"]]

    @staticmethod
    def build(config: SimulateConfig, molecule: Molecule, particles: Particles) -> "Scene":
        """Render the states and the junk, and scale them to the signal-to-noise ratio."""
        present = list(molecule.states.values())
        volumes = torch.stack([_map(molecule, points, config) for points in present])
        rng = np.random.default_rng([config.seed, 1])
        shapes, state = volumes.clone(), particles.state
        if (state == JUNK).any():
            shapes = torch.cat([shapes, _junk_maps(volumes.mean(0), rng)])
        kind = np.where(
            state == JUNK, len(volumes) + rng.integers(JUNK_SHAPES, size=len(state)), state
        )
        motion = _motion(molecule, particles, config)
        parts = {} if motion is None else motion.parts
        for moved, part in parts.items():
            shapes[moved] -= part
        moving = {moved: volume_to_fourier(part) for moved, part in parts.items()}
        disc = FourierDisc(config.box, config.box // 2 - 1)
        first = volume_to_fourier(shapes[0])
        resting = first.new_empty(len(shapes), *first.shape)
        for number, shape in enumerate(shapes):
            resting[number] = volume_to_fourier(shape)
        scene = Scene(disc, particles, kind, volumes, resting, motion, moving)
        return scene.scaled((config.snr / scene.signal_variance()) ** 0.5)

    def scaled(self, factor: float) -> "Scene":
        """The scene with every density multiplied by a factor; the grids at rest in place."""
        motion = self.motion
        if motion is not None:
            parts = {state: factor * part for state, part in motion.parts.items()}
            motion = replace(motion, parts=parts)
        return replace(
            self,
            volumes=factor * self.volumes,
            resting=self.resting.mul_(factor),
            motion=motion,
            moving={state: factor * transform for state, transform in self.moving.items()},
        )

    def images(self, rows: Int[Tensor, " n"]) -> Float[Tensor, "n y x"]:
        """Some of the clean, CTF-filtered images."""
        particles = self.particles
        poses, ctf = particles.poses[rows], particles.ctf[rows]
        owner = particles.owner[rows.numpy()]
        slices = torch.zeros(len(rows), self.disc.size, dtype=self.resting.dtype)
        kinds = self.shape[owner]
        for kind in np.unique(kinds):
            at = np.flatnonzero(kinds == kind)
            here = torch.from_numpy(at)
            rotations = poses.rotations[here]
            slices[here] = slice_volume(self.resting[kind], rotations, self.disc)
            if self.motion is not None and kind in self.moving:
                degrees = particles.angle_degrees[owner[at]]
                slices[here] += self.motion.slices(self.moving[kind], rotations, degrees, self.disc)
        slices = slices * shift_phases(
            self.disc, poses.shifts_angstrom / ctf.pixel_size_angstrom[:, None]
        )
        slices = slices * ctf.evaluate(self.disc.cycles_per_pixel)
        contrast = torch.from_numpy(particles.contrast[owner]).float()
        return disc_to_images(slices * contrast[:, None], self.disc)

    def signal_variance(self) -> float:
        """Mean variance of up to 512 of the clean images over the whole box."""
        rows = torch.arange(min(512, len(self.particles.owner)))
        return float(self.images(rows).flatten(1).var(dim=1).mean())


def _motion(molecule: Molecule, particles: Particles, config: SimulateConfig) -> Motion | None:
    hinge = molecule.hinge
    if config.motion == 0 or hinge is None:
        return None
    parts = {
        state: _map(molecule, present & hinge.moving, config)
        for state, present in enumerate(molecule.states.values())
        if (present & hinge.moving).any()
    }
    return Motion(
        config.motion,
        hinge.axis,
        hinge.centre_angstrom,
        particles.angle_degrees,
        parts,
        config.pixel_size,
    )


def _map(
    molecule: Molecule, points: Bool[np.ndarray, " points"], config: SimulateConfig
) -> Float[Tensor, "z y x"]:
    volume = density_map(
        molecule.positions_angstrom[points],
        molecule.electrons[points],
        box=config.box,
        pixel_size_angstrom=config.pixel_size,
        sigma_angstrom=molecule.blob_sigma_angstrom,
    )
    return torch.from_numpy(volume).float()


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
