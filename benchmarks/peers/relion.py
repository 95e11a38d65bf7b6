"""RELION: Class3D, with fixed poses or with local searches about them."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from benchmarks.peers.measure import USAGE, Usage, run_program
from benchmarks.peers.records import Record, new_record
from benchmarks.peers.score import chosen_particles, point, score_labels, score_maps
from cryolatent.io import read_star, read_volume
from cryolatent.simulate.truth import Truth

ITERATIONS = 25
START_RESOLUTION_ANGSTROM = 50.0
# the interface's default for Class3D
REGULARISATION = 4
MASK_MARGIN = 1.1


def class3d(
    data: Path,
    out: Path,
    *,
    classes: int,
    seed: int,
    sigma_degrees: float | None = None,
    iterations: int = ITERATIONS,
) -> Usage:
    """Classify from a low-passed reconstruction of all particles.

    Args:
        data: A simulated folder.
        out: New folder for what RELION writes.
        classes: Number of classes.
        seed: RELION's random seed.
        sigma_degrees: Standard deviation of the angles of local searches; poses are fixed if left
            out.
        iterations: How many.

    Returns:
        What reconstruction and classification used together.
    """
    out = out.resolve()
    out.mkdir(parents=True)
    # RELION looks for stacks from its working directory
    stack, reference = "particles.star", out / "consensus.mrc"
    start = run_program(
        ["relion_reconstruct", "--i", stack, "--o", reference, "--ctf"],
        out / "consensus.log",
        folder=data,
    )
    truth = Truth.load(data / "truth")
    box_angstrom = truth.volumes.shape[-1] * truth.pixel_size_angstrom
    diameter = MASK_MARGIN * truth.diameter_to_box * box_angstrom
    search = ("--skip_align",)
    if sigma_degrees is not None:
        steps = ("--healpix_order", 4, "--sigma_ang", f"{sigma_degrees:g}")
        search = (*steps, "--offset_range", 2, "--offset_step", 1, "--oversampling", 1)
    options = (
        *("--i", stack, "--o", out / "run", "--ref", reference),
        *("--K", classes, "--iter", iterations, "--tau2_fudge", REGULARISATION),
        *("--ini_high", START_RESOLUTION_ANGSTROM, "--particle_diameter", f"{diameter:.0f}"),
        *search,
        *("--ctf", "--flatten_solvent", "--zero_mask", "--norm", "--scale"),
        *("--pad", 2, "--dont_check_norm", "--preread_images", "--pool", 30, "--j", 1),
        *("--random_seed", seed),
    )
    usage = start + run_program(
        ["relion_refine", *options],
        out / "class3d.log",
        folder=data,
        watch=(out, "run_it*_data.star"),
    )
    usage.save(out / USAGE)
    return usage


def class3d_record(
    cell: str,
    data: Path,
    out: Path,
    *,
    classes: int,
    sigma_degrees: float | None = None,
    iterations: int = ITERATIONS,
) -> Record:
    """Score a finished classification.

    Args:
        cell: Name of the data set.
        data: The simulated folder.
        out: What `class3d` wrote.
        classes: Number of classes.
        sigma_degrees: As there.
        iterations: As there.

    Returns:
        The record, with the index after each iteration.
    """
    truth, usage = Truth.load(data / "truth"), Usage.load(out / USAGE)
    labels = read_classes(out, iterations, truth)
    poses = "poses fixed" if sigma_degrees is None else f"local searches, {sigma_degrees:g} degrees"
    curve = []
    for mark in usage.milestones:
        step = iteration_of(mark.file)
        curve.append(point(step, mark.cpu_seconds, read_classes(out, step, truth), truth))
    return new_record(
        cell,
        f"relion_class3d_k{classes}" + ("" if sigma_degrees is None else "_local"),
        usage,
        ari=score_labels(labels, truth),
        fsc_area=score_maps(class_maps(out, labels, truth, iterations), truth),
        images_per_core_second=_speed(usage, len(labels)),
        note=f"{poses}; {len(np.unique(labels))} classes in use; CPU and wall seconds hold the "
        "reconstruction of the reference too, the curve's do not",
        curve=curve,
    )


def iteration_of(file: str) -> int:
    """Read the iteration from a file's name.

    Args:
        file: For example ``run_it025_data.star``.

    Returns:
        The iteration.
    """
    return int(file.split("_it")[1][:3])


def read_classes(out: Path, iteration: int, truth: Truth) -> Int[np.ndarray, " n"]:
    """Read each particle's class.

    Args:
        out: What `class3d` wrote.
        iteration: The iteration.
        truth: Gives the order of the particles.

    Returns:
        Classes, counted from one, in the order of the truth.
    """
    path = out / f"run_it{iteration:03d}_data.star"
    table = read_star(path)
    parts = [name.partition("@") for name in table.strings("rlnImageName")]
    names = [f"{number}@{Path(file).name}" for number, _, file in parts]
    classes = np.zeros(len(truth.ids), dtype=np.int64)
    classes[truth.match(np.array(names), path)] = table.numbers("rlnClassNumber")
    return classes


def class_maps(
    out: Path, labels: Int[np.ndarray, " n"], truth: Truth, iteration: int = ITERATIONS
) -> Mapping[int, Tensor]:
    """The class map of each particle of the per-image FSC.

    Args:
        out: What `class3d` wrote.
        labels: Classes in the order of the truth.
        truth: The truth.
        iteration: Of which iteration.

    Returns:
        Maps by position in the truth.
    """
    maps = {
        number: torch.from_numpy(
            read_volume(out / f"run_it{iteration:03d}_class{number:03d}.mrc")[0]
        )
        for number in np.unique(labels).tolist()
    }
    return {row: maps[int(labels[row])] for row in chosen_particles(truth).tolist()}


def _speed(usage: Usage, images: int) -> float | None:
    """Images per core second of one iteration, from the iterations after the first."""
    first, last = usage.milestones[1], usage.milestones[-1]
    steps = iteration_of(last.file) - iteration_of(first.file)
    return images * steps / (last.cpu_seconds - first.cpu_seconds)
