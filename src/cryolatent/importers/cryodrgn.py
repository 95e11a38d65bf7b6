"""Runs of cryoDRGN: latents, decoder and encoder of ``train_vae``, ``train_dec`` and ``abinit``."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cryolatent.config.training import TrainConfig
from cryolatent.data import ParticleStack, Tables, open_particles
from cryolatent.data.door import particle_file
from cryolatent.data.source import Geometry
from cryolatent.errors import InputError
from cryolatent.importers.directory import Foreign, write_run
from cryolatent.importers.latents import latents_in
from cryolatent.io.pickles import read_pickles, read_weights
from cryolatent.io.settings import read_settings
from cryolatent.models.cryodrgn import CryodrgnDecoder, CryodrgnEncoder, network_tensors
from cryolatent.models.distributions import Distribution
from cryolatent.models.latents import Latents
from cryolatent.models.posteriors.imported import Imported
from cryolatent.models.system import System
from cryolatent.runs.run import Run
from cryolatent.sessions.systems import as_shown, build, flat_setting
from cryolatent.sessions.training import measured
from cryolatent.train import Watch

CHECKED = 16
"""Particles whose latents and images are computed again, to see whether all fits together."""

AGREES = 0.05
"""Largest difference of latents computed again, in standard deviations of all."""

ENCODINGS = ("gaussian", "geom_lowf", "linear_lowf")
TEMPERED = (
    "Its objective weighs the divergence from the prior by beta over the number of pixels, so the "
    "widths of its posteriors are not calibrated: they do not say how sure a latent is."
)
POSES_MOVED = (
    "It refined the poses while it was trained. Those that it began with are used: version 4.3.1 "
    "divides the displacements in its pose files by the side of its lattice at every save."
)


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


def import_cryodrgn(
    workdir: Path,
    output: Path,
    particles: Path | None = None,
    *,
    epoch: int | None = None,
    tables: Tables | None = None,
    datadir: Path | None = None,
    without_particles: bool = False,
    watch: Watch | None = None,
) -> Run:
    """Make a run of a run of cryoDRGN.

    Args:
        workdir: What ``cryodrgn train_vae``, ``train_dec`` or ``abinit`` wrote.
        output: New folder.
        particles: The stack, if it is not where it was.
        epoch: Which epoch; the last if left out.
        tables: Poses, transfer functions and selection, if they are not where they were.
        datadir: Folder that image names are relative to.
        without_particles: Whether to do without the images.
        watch: Told of the progress.

    Returns:
        A finished run.

    Raises:
        InputError: If a file is missing, does not fit or would run code.
    """
    Run.check_free(output)
    project = Project(workdir, epoch)
    table, stack, reading = project.needed("z"), None, {}
    if not without_particles:
        reading = project.reading(tables or Tables(), datadir)
        stack = project.stack(particles, reading)
    distribution, ids = latents_in(table, (), stack)
    options, remarks = parts_of(project, distribution)
    flat = {name: value for name, value in reading.items() if name != "tables"}
    flat |= vars(reading["tables"]) if reading else {}
    config = TrainConfig.of(options, threads=1, **flat)
    system = None
    if config.decoder.renders:
        system, more = assembled(project, config, distribution, stack, watch or Watch())
        remarks += more
    version, number = project.settings.get("version", ""), project.weights.get("epoch")
    words = [f"cryoDRGN {version}".strip(), workdir.resolve().name]
    words += [] if number is None else [f"epoch {number}"]
    geometry = project.geometry(tables)
    latents = Latents(ids, distribution, None, distribution.kl())
    foreign = Foreign(", ".join(words), table, latents, stack, geometry, system, tuple(remarks))
    return write_run(output, config, foreign)


def parts_of(project: Project, distribution: Distribution) -> tuple[dict[str, Any], list[str]]:
    """The options of a project's decoder and posterior, as far as they can be read.

    Args:
        project: The project.
        distribution: Its latents.

    Returns:
        Options for `TrainConfig.of`, and what has to be said.
    """
    state, model, z_dim = project.state, project.model, _z_dim(distribution)
    rows = {"posterior": "imported", "z_dim": z_dim, "widths": distribution.is_bound}
    remarks = [TEMPERED] if distribution.is_bound else []
    remarks += [POSES_MOVED] if project.dataset.get("do_pose_sgd") else []
    encoding, activation = model.get("pe_type", "geom_lowf"), model.get("activation") or "relu"
    try:
        if encoding not in ENCODINGS or activation != "relu":
            raise ValueError(f"encoding {encoding}, activation {activation}")
        sizes = _sizes(network_tensors(state, f"{_prefix(state)}decoder.main."))
    except ValueError as error:
        reason = f"Its decoder is of a kind that is not read ({error}): latents alone are here."
        return rows | {"decoder": "none"}, [*remarks, reason]
    per_axis, outputs = (sizes[0] - z_dim) // 6, sizes[-1]
    decoder = {
        "decoder": "cryodrgn",
        "decoder_encoding": encoding,
        "decoder_frequencies": per_axis,
        "decoder_width": sizes[1],
        "decoder_layers": len(sizes) - 3,
        "decoder_output": "fourier" if outputs == 2 else "hartley",
        "decoder_region": project.region,
    }
    if not any(name.startswith("encoder.") for name in state):
        return rows | decoder, remarks
    try:
        sizes = _sizes(network_tensors(state, "encoder.main."))
        if project.dataset.get("keepreal") or model.get("encode_mode") != "resid":
            raise ValueError(f"encode mode {model.get('encode_mode')}")
        mask = model.get("enc_mask") or project.box // 2
        if mask < 1:
            raise ValueError("without a mask")
    except ValueError as error:
        return rows | decoder, [*remarks, f"Its encoder is of a kind that is not read ({error})."]
    window = project.dataset.get("window_r", 0.85) if project.dataset.get("window", True) else None
    encoder = {
        "posterior": "cryodrgn",
        "z_dim": z_dim,
        "encoder_width": sizes[1],
        "encoder_layers": len(sizes) - 3,
        "encoder_mask": mask,
        "window_radius": window,
    }
    return encoder | decoder, remarks


def assembled(
    project: Project,
    config: TrainConfig,
    distribution: Distribution,
    stack: ParticleStack | None,
    watch: Watch,
) -> tuple[System, list[str]]:
    """A project's networks, and whether they give its latents and images again.

    Args:
        project: The project.
        config: Its parts.
        distribution: Its latents.
        stack: Its particles, if they are at hand.
        watch: Told of the progress.

    Returns:
        The parts, and what has to be said.

    Raises:
        InputError: If the weights are not those of the configuration.
    """
    options = config.resolved()
    if stack is None:
        geometry = Geometry(project.box, project.box // 2 - 1)
        setting = flat_setting(geometry, len(distribution.mean), _z_dim(distribution))
    else:
        setting, _ = measured(options, stack, watch)
    system, state = build(options, setting), project.state
    decoder, posterior = system.model.decoder, system.posterior
    try:
        if isinstance(decoder, CryodrgnDecoder):
            decoder.take(state, _prefix(state), project.scale)
        if isinstance(posterior, CryodrgnEncoder):
            posterior.take(state, project.scale)
        if isinstance(posterior, Imported):
            posterior.take(distribution)
    except (ValueError, RuntimeError) as error:
        raise InputError(
            project.needed("weights"),
            f"weights of other networks ({str(error).splitlines()[-1].strip()})",
            "those of its configuration",
            "Import its z.pkl with cryolatent import latents.",
        ) from None
    return system, [] if stack is None else doubts(system, as_shown(options, stack), distribution)


@torch.no_grad()
def doubts(system: System, stack: ParticleStack, distribution: Distribution) -> list[str]:
    """Compute some latents and images again.

    Args:
        system: The parts.
        stack: The particles, as the posterior is shown them.
        distribution: The latents that were recorded.

    Returns:
        What does not come out as it should.
    """
    index = torch.linspace(0, len(stack) - 1, min(CHECKED, len(stack))).long()
    batch, z, found = stack.batch(index), distribution.mean, []
    again = system.posterior(batch, system.model).mean
    off = (again - z[index]).square().mean().sqrt() / z.std().clamp(min=1e-9)
    if off > AGREES:
        found.append(
            f"Its encoder gives other latents than z.pkl: {off:.2g} of their standard deviation. "
            "Are stack, poses, transfer functions and selection those that it was trained on?"
        )
    predicted = system.model.predict(z[index], batch)
    if (batch.images.conj() * predicted).real.sum() <= 0:
        found.append("Its volumes explain the images better upside down: check the contrast.")
    return found


def _z_dim(distribution: Distribution) -> int:
    return distribution.mean.shape[1]


def _prefix(state: Mapping[str, Tensor]) -> str:
    """What the decoder's names begin with: nothing where there is no encoder."""
    return "decoder." if any(name.startswith("decoder.decoder.") for name in state) else ""


def _sizes(network: Mapping[str, Tensor]) -> list[int]:
    """Numbers of units from input to output."""
    weights = [tensor for name, tensor in network.items() if name.endswith("weight")]
    return [weights[0].shape[1], *(weight.shape[0] for weight in weights)]
