"""What a folder of cryoDRGN holds, read without running anything."""

import re
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import Tensor

from cryolatent.data import ParticleStack, Tables, open_particles
from cryolatent.data.door import particle_file
from cryolatent.data.source import Geometry
from cryolatent.errors import InputError
from cryolatent.io.pickles import read_pickles, read_weights
from cryolatent.io.settings import read_settings


@dataclass(frozen=True)
class Project:
    """A folder that cryoDRGN wrote.

    Args:
        folder: The folder.
        epoch: Which epoch; the last if None.
    """

    folder: Path
    epoch: int | None = None

    @cached_property
    def settings(self) -> dict[str, Any]:
        """Its configuration: ``config.yaml``, or ``config.pkl`` of versions before 2.

        Raises:
            InputError: If it is not there or is none of a heterogeneous reconstruction.
        """
        files = [self.folder / name for name in ("config.yaml", "config.pkl")]
        file = next((file for file in files if file.is_file()), None)
        if file is None:
            raise InputError(
                self.folder,
                "no config.yaml or config.pkl",
                "a folder that cryodrgn train_vae, train_dec or abinit wrote",
                "Give its -o; of other programs see cryolatent import latents.",
            )
        settings = read_settings(file)
        sections = ("dataset_args", "lattice_args", "model_args")
        if not all(isinstance(settings.get(name), dict) for name in sections):
            expected = f"sections {', '.join(sections)}"
            raise InputError(file, f"sections {', '.join(settings)}", expected, "Check the folder.")
        if settings["model_args"].get("encode_mode") == "tilt":
            raise InputError(
                file, "a run on tilt series", "one on single particles", "Import z.pkl by itself."
            )
        return settings

    @property
    def model(self) -> dict[str, Any]:
        """What its networks are."""
        return self.settings["model_args"]

    @property
    def dataset(self) -> dict[str, Any]:
        """What it was trained on."""
        return self.settings["dataset_args"]

    @property
    def box(self) -> int:
        """Side of its images: its lattice has one point more."""
        return int(self.settings["lattice_args"]["D"]) - 1

    @property
    def scale(self) -> float:
        """The divisor of the images' transforms."""
        norm = self.dataset.get("norm") or [0, self.settings.get("data_norm_std")]
        return float(norm[1])

    def file(self, kind: str) -> Path | None:
        """A file of the epoch.

        Args:
            kind: ``z``, ``weights`` or ``pose``.

        Returns:
            Where it is; None if there is none.
        """
        numbered = {
            int(match[1]): path
            for path in self.folder.glob(f"{kind}.*.pkl")
            if (match := re.fullmatch(rf"{kind}\.(\d+)\.pkl", path.name))
        }
        final = self.folder / f"{kind}.pkl"
        if self.epoch is None and final.is_file():
            return final
        epoch = max(numbered, default=-1) if self.epoch is None else self.epoch
        return numbered.get(epoch)

    def needed(self, kind: str) -> Path:
        """A file of the epoch that must be there.

        Args:
            kind: ``z`` or ``weights``.

        Returns:
            Where it is.

        Raises:
            InputError: If there is none.
        """
        file = self.file(kind)
        if file is None:
            known = sorted(path.name for path in self.folder.glob(f"{kind}.*pkl"))
            of = "the last epoch" if self.epoch is None else f"epoch {self.epoch}"
            found = ", ".join(known) or f"no {kind}.pkl"
            raise InputError(self.folder, found, f"{kind} of {of}", "Choose another `epoch`.")
        return file

    @cached_property
    def weights(self) -> dict[str, Any]:
        """The content of its weights, read without running anything."""
        return read_weights(self.needed("weights"))

    @property
    def state(self) -> dict[str, Tensor]:
        """The tensors of its networks, those of ``abinit`` by the others' names."""
        found = self.weights.get("hypervolume_state_dict")
        if found is None:
            return self.weights.get("model_state_dict", self.weights)
        return {name.replace("mlp.main.", "decoder.main."): found[name] for name in found}

    @property
    def region(self) -> str:
        """Where in Fourier space its volumes are drawn."""
        if "hypervolume_state_dict" in self.weights:
            return "planes"
        return "cube" if self.model.get("domain", "fourier") == "hartley" else "ball"

    def geometry(self, tables: Tables | None) -> Geometry:
        """Size of its volumes.

        Args:
            tables: Files given in place of its own.

        Returns:
            Box and pixel size: that of the first transfer function, or 1 Å if there is none.
        """
        given = (tables and tables.ctf) or self.dataset.get("ctf")
        pixel = 1.0
        if given is not None and Path(given).is_file():
            side, angstrom = read_pickles(given, "ctf.pkl")[0][0, :2]
            pixel = float(side * angstrom / self.box)
        return Geometry(self.box, self.box // 2 - 1, pixel)

    def reading(self, tables: Tables, datadir: Path | None) -> dict[str, Any]:
        """How its particles are read.

        Args:
            tables: Files given in place of its own.
            datadir: Folder given in place of its own.

        Returns:
            Keyword arguments of `open_particles` but for the particle file.

        Raises:
            InputError: If a file is not where the configuration says; the message names the option.
        """
        if tables.poses is None and "poses" not in self.dataset:
            raise InputError(
                self.file("pose") or self.folder,
                "displacements in pixels, as abinit writes them",
                "fractions of the box",
                "Divide them by the box and give the file as `poses`, or `without_particles`.",
            )
        found = {
            "poses": tables.poses or self.place("poses"),
            "ctf": tables.ctf or self.place("ctf"),
            "ind": tables.ind or (self.place("ind") if self.dataset.get("ind") else None),
        }
        own = self.dataset.get("datadir")
        folder = datadir or (Path(own) if own and Path(own).is_dir() else None)
        return {
            "tables": replace(tables, **found),
            "datadir": folder,
            "noise_groups": "none",
        }

    def place(self, name: str) -> Path:
        """A file that the configuration names.

        Args:
            name: The setting, which is also the option that replaces it.

        Returns:
            Where it is.

        Raises:
            InputError: If it is not there.
        """
        said = self.dataset.get(name)
        if said is None or not Path(said).is_file():
            raise InputError(
                self.folder,
                f"{name}: {said or 'none'}" + (", which is not there" if said else ""),
                f"the {name} that it was trained with",
                f"Give `{name}`, or `without_particles`.",
            )
        return Path(said)

    def stack(self, particles: Path | None, reading: dict[str, Any]) -> ParticleStack:
        """Open its particles, bright.

        Args:
            particles: Particle file in place of its own.
            reading: As `reading` gives it; gets the images' sign.

        Returns:
            The particles.

        Raises:
            InputError: If they cannot be read or are of another box.
        """
        path = particles or self.place("particles")
        inverted = not self.dataset.get("invert_data", True)
        if path.suffix == ".cs":
            # cryoDRGN takes no notice of the sign that a .cs file gives its images
            file = particle_file(path, reading["datadir"], reading["tables"])
            inverted ^= file.sign < 0
        reading["invert_contrast"] = inverted
        stack = open_particles(path, **reading)
        if stack.disc.box != self.box:
            found, expected = f"images of box {stack.disc.box}", f"box {self.box}"
            raise InputError(path, found, expected, "Give the stack it was trained on.")
        return stack
