"""What a simulation knows and a reconstruction does not."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from cryolatent.errors import InputError
from cryolatent.io import read_arrays, read_volume, write_volume
from cryolatent.physics import Poses

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


@dataclass(frozen=True)
class Truth:
    """Ground truth of a simulated stack.

    Args:
        ids: Particle names as in the STAR file.
        state: State of each particle, -1 for junk.
        state_names: Names of the states.
        contrast: Contrast of each particle.
        poses: True poses.
        noise_spectrum: Noise variance per complex coefficient, shells 0 to ``box / 2 - 1``.
        volumes: One map per state, in the scale of the images.
        pixel_size_angstrom: Pixel size, in Å.
        snr: Signal-to-noise ratio.
        diameter_to_box: Diameter of the molecule over the side of the box.
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

    def match(self, ids: np.ndarray, source: Path) -> Int[np.ndarray, " m"]:
        """Find particles by name.

        Args:
            ids: Particle names.
            source: Where they come from, for the message.

        Returns:
            Position of each in this truth.

        Raises:
            InputError: If a particle is not known.
        """
        position = {name: row for row, name in enumerate(self.ids.tolist())}
        missing = [name for name in ids.tolist() if name not in position]
        if missing:
            raise InputError(
                source,
                f"particle {missing[0]}",
                "a particle of this truth",
                "Give the truth folder of the simulation that wrote the particles.",
            )
        return np.array([position[name] for name in ids.tolist()], dtype=np.int64)

    def save(self, folder: Path) -> None:
        """Write ``truth.npz`` and one ``state_*.mrc`` per state.

        Args:
            folder: Where to write; made if missing.
        """
        folder.mkdir(parents=True, exist_ok=True)
        for number, volume in enumerate(self.volumes):
            write_volume(folder / f"state_{number}.mrc", volume.numpy(), self.pixel_size_angstrom)
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
            raise InputError(folder, "no truth", "truth.npz of a simulation", "Check --truth.")
        columns = read_arrays(path, COLUMNS)
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
        )
