"""cryoDRGN: training of a coordinate network, and voxel backprojection."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import starfile
import torch
from jaxtyping import Float
from torch import Tensor

from benchmarks.peers.measure import MILESTONES, Milestone, Usage, read_milestones, run_program
from benchmarks.peers.records import Record, new_record
from benchmarks.peers.score import (
    best_labels,
    chosen_particles,
    point,
    score_labels,
    score_maps,
    settled,
)
from cryolatent.analysis.summary import Estimate
from cryolatent.io import read_volume
from cryolatent.simulate.truth import Truth

# runs in the program's own environment, so that its pickles are read there and nowhere else
CONVERT = """
import pickle, sys
import numpy
numpy.save(sys.argv[2], pickle.load(open(sys.argv[1], "rb")))
"""
PROGRESS = re.compile(r"Backprojected ([\d,]+) images in ([\d.]+)s")


@dataclass(frozen=True)
class Installation:
    """An environment that holds cryoDRGN.

    Args:
        environment: The virtual environment.
    """

    environment: Path

    @property
    def program(self) -> Path:
        """The command ``cryodrgn``."""
        return self._executable("cryodrgn")

    @property
    def python(self) -> Path:
        """The environment's interpreter."""
        return self._executable("python")

    def _executable(self, name: str) -> Path:
        # not resolved: a resolved link would leave the environment
        return self.environment.absolute() / "bin" / name


@dataclass(frozen=True)
class Training:
    """Settings of a training; all others are cryoDRGN's defaults.

    Args:
        command: ``train_vae`` or ``train_dec``.
        width: Units of a hidden layer.
        layers: Hidden layers.
        z_dim: Dimensions of the latent.
        epochs: Passes over the particles.
        z_rate: Learning rate of the latents of ``train_dec``.
        seed: Seed of the start and of the order of the particles.
    """

    command: str = "train_vae"
    width: int = 256
    layers: int = 3
    z_dim: int = 4
    epochs: int = 50
    z_rate: float = 1e-2
    seed: int = 0

    @property
    def method(self) -> str:
        """Name in the records."""
        return f"cryodrgn_{self.command}_{self.layers}x{self.width}"

    def options(self) -> tuple[object, ...]:
        """The command's options.

        Returns:
            Flags and values.
        """
        common = ("--zdim", self.z_dim, "-n", self.epochs, "--seed", self.seed)
        common += ("--no-amp", "--no-analysis")  # no mixed precision without a GPU
        if self.command == "train_dec":
            return (*common, "--layers", self.layers, "--dim", self.width, "--z-lr", self.z_rate)
        encoder = ("--enc-layers", self.layers, "--enc-dim", self.width)
        decoder = ("--dec-layers", self.layers, "--dec-dim", self.width)
        return (*common, *encoder, *decoder, "--max-threads", 1)


def head(data: Path, out: Path, images: int) -> Path:
    """Make a data set of the first images of another.

    Args:
        data: A simulated folder.
        out: New folder.
        images: Number of images.

    Returns:
        The new folder; its stack is a link.
    """
    out.mkdir(parents=True)
    blocks = starfile.read(data / "particles.star", always_dict=True)
    blocks["particles"] = blocks["particles"].iloc[:images]
    starfile.write(blocks, out / "particles.star")
    (out / "particles.mrcs").symlink_to((data / "particles.mrcs").resolve())
    return out


def convert_inputs(installed: Installation, data: Path, out: Path) -> tuple[object, ...]:
    """Convert poses and transfer functions.

    Our particles are bright, as RELION's are after extraction. cryoDRGN takes RELION's particles
    with its default inversion and gives maps of positive density.

    Args:
        installed: cryoDRGN.
        data: A simulated folder.
        out: Where to write ``poses.pkl`` and ``ctf.pkl``.

    Returns:
        The arguments that every command takes: particles, poses, transfer functions.
    """
    out.mkdir(parents=True, exist_ok=True)
    stack = (data / "particles.star").absolute()
    poses, ctf = out.absolute() / "poses.pkl", out.absolute() / "ctf.pkl"
    run_program([installed.program, "parse_pose_star", stack, "-o", poses], out / "poses.log")
    run_program([installed.program, "parse_ctf_star", stack, "-o", ctf], out / "ctf.log")
    return stack, "--poses", poses, "--ctf", ctf


def train(
    installed: Installation, data: Path, out: Path, training: Training, *, threads: int
) -> Usage:
    """Train, with one checkpoint per epoch.

    Args:
        installed: cryoDRGN.
        data: A simulated folder.
        out: New folder for what cryoDRGN writes.
        training: The settings.
        threads: Threads allowed.

    Returns:
        What it used; its milestones are kept in a table too.
    """
    inputs = convert_inputs(installed, data, out)
    command = [installed.program, training.command, *inputs, *training.options(), "-o", out]
    return run_program(
        command, out / "train.log", threads=threads, watch=(out.absolute(), "z.*.pkl")
    )


def speed(milestones: tuple[Milestone, ...], images: int) -> float | None:
    """Images per core second, from the end of the first epoch to the end of the last.

    Args:
        milestones: Of the epochs' latents.
        images: Number of images.

    Returns:
        The speed without the start-up; None after one epoch only.
    """
    epochs = [mark for mark in milestones if epoch_of(mark.file) is not None]
    if len(epochs) < 2:
        return None
    passes = len(epochs) - 1
    return images * passes / (epochs[-1].cpu_seconds - epochs[0].cpu_seconds)


def epoch_of(file: str) -> int | None:
    """Read the epoch from a file's name.

    Args:
        file: For example ``z.12.pkl``.

    Returns:
        The epoch; None for the copy without a number that the program leaves at its end.
    """
    found = re.fullmatch(r"z\.(\d+)\.pkl", file)
    return int(found[1]) if found else None


def read_latents(installed: Installation, pickled: Path) -> Float[np.ndarray, "n zdim"]:
    """Read posterior means; the pickle is opened by the program's own environment.

    Args:
        installed: cryoDRGN.
        pickled: A file ``z.*.pkl``.

    Returns:
        The means in the order of the STAR file.
    """
    array = pickled.with_suffix(".npy")
    if not array.exists():
        log = pickled.with_name("convert.log")
        run_program([installed.python, "-c", CONVERT, pickled.absolute(), array.absolute()], log)
    return np.load(array, allow_pickle=False)


def training_record(
    installed: Installation,
    cell: str,
    data: Path,
    out: Path,
    training: Training,
    *,
    volumes: bool = True,
) -> Record:
    """Score a training, finished or not.

    The record is of the first epoch at which the index has settled, else of the newest.

    Args:
        installed: cryoDRGN.
        cell: Name of the data set.
        data: The simulated folder.
        out: What `train` wrote.
        training: Its settings.
        volumes: Whether to decode volumes too, which takes minutes.

    Returns:
        The record, with the index after each epoch.
    """
    truth = Truth.load(data / "truth")
    marks = [mark for mark in read_milestones(out / MILESTONES) if epoch_of(mark.file)]
    labels = {
        mark.file: best_labels(read_latents(installed, out / mark.file), truth.state)
        for mark in marks
    }
    curve = [point(int(epoch_of(m.file) or 0), m.cpu_seconds, labels[m.file], truth) for m in marks]
    last = settled(curve)
    mark = marks[curve.index(last)]
    usage = Usage(
        (str(installed.program), training.command, *map(str, training.options())),
        mark.wall_seconds,
        mark.cpu_seconds,
        mark.peak_memory_mb,
    )
    ended = last is not curve[-1] or last.step == training.epochs
    return new_record(
        cell,
        training.method,
        usage,
        ari=score_labels(labels[mark.file], truth),
        fsc_area=score_volumes(installed, out, last.step, truth) if volumes else None,
        images_per_core_second=speed(tuple(marks), len(truth.ids)),
        note=f"{_version(installed)}, epoch {last.step}; index by the better of k-means and "
        "Gaussian mixture with the true number of states"
        + ("" if ended else "; still gaining: not run to the end"),
        curve=curve,
    )


def score_volumes(installed: Installation, out: Path, epoch: int, truth: Truth) -> Estimate:
    """Decode the chosen particles' volumes and compare them with the truth.

    Args:
        installed: cryoDRGN.
        out: What `train` wrote.
        epoch: The epoch.
        truth: The truth.

    Returns:
        Mean per-image FSC area with its interval.
    """
    rows = chosen_particles(truth)
    folder = out / f"volumes.{epoch}"
    if len(list(folder.glob("vol_*.mrc"))) < len(rows):
        latents = read_latents(installed, out / f"z.{epoch}.pkl")[rows]
        np.savetxt(out / f"chosen.{epoch}.txt", latents)
        command = (
            *(installed.program, "eval_vol", out / f"weights.{epoch}.pkl"),
            *("-c", out / "config.yaml", "--zfile", out / f"chosen.{epoch}.txt"),
            *("--Apix", truth.pixel_size_angstrom, "-o", folder),
        )
        run_program(command, out / f"volumes.{epoch}.log")
    return score_maps(read_volumes(folder, rows), truth)


def read_volumes(folder: Path, rows: np.ndarray) -> Mapping[int, Tensor]:
    """Read the volumes that ``eval_vol`` wrote, in the order of its latents.

    Args:
        folder: Where they are.
        rows: Positions in the truth.

    Returns:
        Maps by position in the truth.
    """
    files = sorted(folder.glob("vol_*.mrc"), key=lambda path: int(path.stem.split("_")[1]))
    return {
        row: torch.from_numpy(read_volume(file)[0])
        for row, file in zip(rows.tolist(), files, strict=True)
    }


def speed_record(
    installed: Installation, cell: str, images: int, usage: Usage, training: Training
) -> Record:
    """Record the speed of a training that is not meant to end.

    Args:
        installed: cryoDRGN.
        cell: Name of the data set.
        images: Number of images.
        usage: What it used.
        training: Its settings.

    Returns:
        The record, without a score.
    """
    return new_record(
        cell,
        f"{training.method}_speed",
        usage,
        images_per_core_second=speed(usage.milestones, images),
        note=f"{_version(installed)}, not run to the end: {images} images, "
        f"{training.epochs} epochs, speed after the first",
    )


def backproject_record(
    installed: Installation, cell: str, data: Path, out: Path, *, threads: int
) -> Record:
    """Reconstruct all particles with half maps, and measure it.

    Args:
        installed: cryoDRGN.
        cell: Name of the data set.
        data: A simulated folder.
        out: New folder for what cryoDRGN writes.
        threads: Threads allowed.

    Returns:
        The record; the program's own figure is in its note.
    """
    inputs = convert_inputs(installed, data, out)
    log = out / "backproject.log"
    command = [installed.program, "backproject_voxel", *inputs, "-o", out.absolute()]
    usage = run_program(command, log, threads=threads)
    found = PROGRESS.search(log.read_text())
    if found is None:
        raise RuntimeError(f"{log}: no line with the program's own timing; read the log.")
    images, seconds = int(found[1].replace(",", "")), float(found[2])
    share = usage.cpu_seconds / usage.wall_seconds
    return new_record(
        cell,
        "cryodrgn_backproject_voxel",
        usage,
        threads=threads,
        images_per_core_second=images / usage.cpu_seconds,
        note=f"{_version(installed)}; its own log: {images} images in {seconds} s wall, "
        f"{images / seconds:.0f} images/s, or {images / seconds / share:.0f} per core second at "
        f"the {share:.0%} of a core that it got; CPU seconds hold start-up, half maps and FSC",
    )


def _version(installed: Installation) -> str:
    name = next(installed.environment.glob("lib/python*/site-packages/cryodrgn-*.dist-info")).stem
    return "cryoDRGN " + name.partition("-")[2]
