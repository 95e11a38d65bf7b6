"""What a simulation knows and a reconstruction does not."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from cryolatent.data import original_names
from cryolatent.errors import InputError
from cryolatent.io import read_arrays, read_volume, write_volume
from cryolatent.physics import Poses
from cryolatent.simulate.motion import Motion

JUNK = -1
COLUMNS = (
    "ids",
    "state",
    "state_names",
    "contrast",
    "rotations",
    "shifts_angstrom",
    "noise_spectrum",
    "scalars",
)
MOTION_COLUMNS = ("angle_degrees", "range_degrees", "axis", "centre_angstrom", "moving_states")


@dataclass(frozen=True)
class Truth:
    """Ground truth of a simulated stack.

    Args:
        ids: Particle names as in the STAR file.
        state: State of each particle, -1 for junk.
        state_names: Names of the states.
        contrast: Contrast of each particle.
        poses: True poses of the images, particle by particle.
        noise_spectrum: Noise variance per complex coefficient, shells 0 to ``box / 2 - 1``.
        volumes: One map per state, in the scale of the images; moving parts are at angle zero.
        pixel_size_angstrom: Pixel size, in Å.
        snr: Signal-to-noise ratio.
        diameter_to_box: Diameter of the molecule over the side of the box.
        motion: What moves continuously, if anything does.
        noise_level: Noise power of each image relative to `noise_spectrum`, particle by particle;
            1 if left out.
    """

    ids: np.ndarray
    state: Int[np.ndarray, " n"]
    state_names: tuple[str, ...]
    contrast: Float[np.ndarray, " n"]
    poses: Poses
    noise_spectrum: Float[Tensor, " shells"]
    volumes: Float[Tensor, "states z y x"]
    pixel_size_angstrom: float
    snr: float
    diameter_to_box: float
    motion: Motion | None = None
    noise_level: Float[np.ndarray, " images"] | None = None

    @property
    def moves(self) -> Bool[np.ndarray, " n"]:
        """Which particles have a part that moves, and hence a meaningful angle."""
        moving = () if self.motion is None else tuple(self.motion.parts)
        return np.isin(self.state, moving)

    def volume(self, row: int) -> Float[Tensor, "z y x"]:
        """The true volume of one particle, its moving part turned by its own angle.

        Args:
            row: A particle that is no junk.

        Returns:
            Its map.

        Raises:
            ValueError: If the particle is junk, which has no true volume.
        """
        state = int(self.state[row])
        if state == JUNK:
            raise ValueError(f"particle {self.ids[row]} is junk: it has no true volume")
        degrees = 0.0 if self.motion is None else float(self.motion.angle_degrees[row])
        return self.volume_at(state, degrees)

    def volume_at(self, state: int, degrees: float) -> Float[Tensor, "z y x"]:
        """The volume of a state with its moving part turned.

        Args:
            state: A state.
            degrees: Angle of the moving part; without meaning in a state that has none.

        Returns:
            The map.
        """
        if self.motion is None or state not in self.motion.parts:
            return self.volumes[state]
        rest = self.volumes[state] - self.motion.parts[state]
        return rest + self.motion.turned(state, degrees)

    def match(self, ids: np.ndarray, source: Path) -> Int[np.ndarray, " m"]:
        """Find particles by name; symmetric copies are found by the name of their particle.

        Args:
            ids: Particle names.
            source: Where they come from, for the message.

        Returns:
            Position of each in this truth.

        Raises:
            InputError: If a particle is not known.
        """
        position = {name: row for row, name in enumerate(self.ids.tolist())}
        names = [
            name if name in position else original
            for name, original in zip(ids.tolist(), original_names(ids), strict=True)
        ]
        missing = [name for name in names if name not in position]
        if missing:
            raise InputError(
                source,
                f"particle {missing[0]}",
                "a particle of this truth",
                "Give the truth folder of the simulation that wrote the particles.",
            )
        return np.array([position[name] for name in names], dtype=np.int64)

    def save(self, folder: Path) -> None:
        """Write ``truth.npz``, one ``state_*.mrc`` per state and ``moving_*.mrc`` of what moves.

        Args:
            folder: Where to write; made if missing.
        """
        folder.mkdir(parents=True, exist_ok=True)
        for number, volume in enumerate(self.volumes):
            write_volume(folder / f"state_{number}.mrc", volume.numpy(), self.pixel_size_angstrom)
        optional = {} if self.motion is None else _save_motion(self.motion, folder)
        if self.noise_level is not None:
            optional["noise_level"] = self.noise_level
        np.savez_compressed(
            folder / "truth.npz",
            ids=self.ids,
            state=self.state,
            state_names=np.array(self.state_names),
            contrast=self.contrast,
            rotations=self.poses.rotations.numpy(),
            shifts_angstrom=self.poses.shifts_angstrom.numpy(),
            noise_spectrum=self.noise_spectrum.numpy(),
            scalars=np.array([self.pixel_size_angstrom, self.snr, self.diameter_to_box]),
            **optional,
        )

    @staticmethod
    def load(folder: Path) -> "Truth":
        """Read what `save` wrote.

        Args:
            folder: A folder with ``truth.npz``.

        Returns:
            The truth.

        Raises:
            InputError: If the folder holds no truth.
        """
        path = Path(folder) / "truth.npz"
        if not path.is_file():
            raise InputError(folder, "no truth", "truth.npz of a simulation", "Check `truth`.")
        columns = read_arrays(path, COLUMNS, MOTION_COLUMNS, ("noise_level",))
        names = tuple(columns["state_names"].tolist())
        volumes = [read_volume(path.with_name(f"state_{n}.mrc"))[0] for n in range(len(names))]
        pixel_size, snr, diameter_to_box = columns["scalars"].tolist()
        return Truth(
            ids=columns["ids"],
            state=columns["state"],
            state_names=names,
            contrast=columns["contrast"],
            poses=Poses(
                torch.from_numpy(columns["rotations"]),
                torch.from_numpy(columns["shifts_angstrom"]),
            ),
            noise_spectrum=torch.from_numpy(columns["noise_spectrum"]),
            volumes=torch.from_numpy(np.stack(volumes)),
            pixel_size_angstrom=pixel_size,
            snr=snr,
            diameter_to_box=diameter_to_box,
            motion=_load_motion(columns, path, pixel_size) if "axis" in columns else None,
            noise_level=columns.get("noise_level"),
        )


def _save_motion(motion: Motion, folder: Path) -> dict[str, Any]:
    for state, part in motion.parts.items():
        write_volume(folder / f"moving_{state}.mrc", part.numpy(), motion.pixel_size_angstrom)
    return {
        "angle_degrees": motion.angle_degrees,
        "range_degrees": np.array(motion.range_degrees),
        "axis": motion.axis,
        "centre_angstrom": motion.centre_angstrom,
        "moving_states": np.array(list(motion.parts)),
    }


def _load_motion(columns: dict[str, np.ndarray], path: Path, pixel_size: float) -> Motion:
    parts = {
        state: torch.from_numpy(read_volume(path.with_name(f"moving_{state}.mrc"))[0])
        for state in columns["moving_states"].tolist()
    }
    return Motion(
        float(columns["range_degrees"]),
        columns["axis"],
        columns["centre_angstrom"],
        columns["angle_degrees"],
        parts,
        pixel_size,
    )
