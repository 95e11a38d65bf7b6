"""Poses from no poses: is the map found, how close are the poses, and what does it cost?

    python -m benchmarks.abinitio run WORK --seeds 10
    python -m benchmarks.abinitio table
    python -m benchmarks.abinitio cost WORK

Every set is simulated (the built-in molecule in one state, in all four, or half of it with its copy
by half a turn, which has the symmetry C2 that nobody is told of), searched from images alone as
`cryolatent abinitio` does, trained on, scored and deleted; a line of `results/abinitio.jsonl`
stays, and what is there is not run again. Settings were tuned on sets of seeds below 1,000, which
are not reported.

A map counts as found if its Fourier shell correlation with the truth falls to 0.5 no more than 1.2
shells before that of the map at the true poses, in either hand. Poses are compared with those of an
exhaustive search under the *true* volume.
"""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from cyclopts import App
from jaxtyping import Float
from torch import Tensor

from benchmarks.honesty import FIRST_SEED, processor_seconds, read_rows
from cryolatent.analysis.pose_alignment import AlignedPoses, align_poses
from cryolatent.config.training import TrainConfig
from cryolatent.data import FilteredStack, ParticleStack, open_particles
from cryolatent.data.backprojection import backproject
from cryolatent.models import Categorical
from cryolatent.models.everywhere import CANDIDATES, GRID_SHELLS
from cryolatent.models.hypothesis import Hypothesis
from cryolatent.models.located import PoseSearch
from cryolatent.models.pose_grid import GridPosterior, PoseGrid
from cryolatent.physics import (
    FourierLattice,
    Poses,
    fourier_shell_correlation,
    symmetry_rotations,
)
from cryolatent.simulate.config import SimulateConfig
from cryolatent.simulate.molecule import load_molecule
from cryolatent.simulate.stack import simulate
from cryolatent.simulate.truth import Truth
from cryolatent.studies.abinitio import (
    open_unposed,
    particle_file,
    search_poses,
    train_from_found,
)
from cryolatent.train.abinitio.search import PLAN, unposed

RESULTS = Path(__file__).parent / "results" / "abinitio.jsonl"
SUCCESS_SHELLS = 1.2
SETS: dict[str, dict[str, Any]] = {
    "one state, 0.1": {"only": ("mature",), "snr": 0.1},
    "one state, 0.05": {"only": ("mature",), "snr": 0.05},
    "four states, 0.1": {"snr": 0.1},
    "C2, 0.1": {"symmetry": "C2", "snr": 0.1},
    "C2, 0.05": {"symmetry": "C2", "snr": 0.05},
}
app = App(help=__doc__)


@app.command
def run(
    work: Path,
    *,
    sets: tuple[str, ...] = tuple(SETS),
    seeds: int = 10,
    first_seed: int = FIRST_SEED,
    particles: int = 5000,
    starts: int = 4,
    train: bool = True,
    results: Path = RESULTS,
) -> None:
    """Run what is not yet in the results."""
    torch.set_num_threads(1)
    for seed in range(first_seed, first_seed + seeds):
        for name in sets:
            if any((row["set"], row["seed"]) == (name, seed) for row in read_rows(results)):
                continue
            row = {"set": name, "seed": seed, "particles": particles, "random_starts": starts}
            row |= measure(SETS[name] | {"particles": particles}, seed, starts, work, train=train)
            with results.open("a") as stream:
                stream.write(json.dumps(row) + "\n")
            print(json.dumps(row), flush=True)


@app.command
def table(results: Path = RESULTS) -> None:
    """Print the table of docs/benchmarks.md."""
    rows = read_rows(results)
    print("| set | found | median angle | found after training | median angle | true map | CPU s |")
    print("|---|---|---|---|---|---|---|")
    for name in dict.fromkeys(row["set"] for row in rows):
        some = [row for row in rows if row["set"] == name]
        after = [row for row in some if "trained_found" in row]
        cells = [
            *_cells(some, ""),
            *_cells(after, "trained_"),
            f"{_median([row['exhaustive_degrees'] for row in some]):.2f}°",
            f"{_median([row['search_seconds'] for row in some]):.0f} + "
            f"{_median([row['trained_seconds'] for row in after]):.0f}",
        ]
        print(f"| {name} | {' | '.join(cells)} |")


@app.command
def cost(work: Path, *, particles: int = 1000) -> None:
    """Time a pass over every pose of a grid: 15°, 12 shells, 13 displacements."""
    torch.set_num_threads(1)
    folder = work / "abinitio-cost"
    shutil.rmtree(folder, ignore_errors=True)
    try:
        options: dict[str, Any] = {**SETS["one state, 0.1"], "particles": particles}
        simulate(SimulateConfig(**options, seed=0), folder)
        stack, truth = open_particles(folder / "particles.star"), Truth.load(folder / "truth")
        blank = replace(unposed(stack), shells=12)
        disc = replace(blank.disc, by_shell=True)
        parts = FilteredStack(blank, torch.arange(particles))
        parts.read()
        grid = PoseGrid.of(15.0, 3.0, 1.5, 1.0)
        posterior = GridPosterior(true_hypothesis(truth, FourierLattice(disc)), grid)
        before = processor_seconds()
        for part in parts.chunks(disc):
            posterior.candidates(part, CANDIDATES)
        seconds = (processor_seconds() - before) * 1000 / particles
        print(f"{len(grid)} poses: {seconds:.2f} core-seconds per 1,000 particles")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _cells(rows: list[dict[str, Any]], prefix: str) -> list[str]:
    """Maps found, by how many shells they are behind (median and worst), and the angle."""
    behind = [row[f"{prefix}oracle_shell"] - row[f"{prefix}shell"] for row in rows]
    count = sum(row[f"{prefix}found"] for row in rows)
    angle = _median([row[f"{prefix}median_degrees"] for row in rows])
    shells = f"{_median(behind):.1f}, at worst {max(behind, default=0):.1f} shells behind"
    return [f"{count} of {len(rows)}; {shells}", f"{angle:.2f}°"]


def measure(
    options: dict[str, Any], seed: int, starts: int, work: Path, *, train: bool
) -> dict[str, Any]:
    """Simulate, search and score one set.

    Args:
        options: What to simulate.
        seed: Of the simulation and of the search.
        starts: Random starts.
        work: Scratch; the set is deleted afterwards.
        train: Whether the training that follows is scored too.

    Returns:
        A row of numbers.
    """
    folder = work / f"abinitio-{seed}"
    shutil.rmtree(folder, ignore_errors=True)
    try:
        folder.mkdir(parents=True)
        given, symmetry = dict(options), symmetry_rotations(options.get("symmetry", "C1"))
        if given.pop("symmetry", None):
            given |= written_dimer(folder, symmetry[1])
        simulate(SimulateConfig(**given, seed=seed), folder / "data")
        star, truth = folder / "data" / "particles.star", Truth.load(folder / "data" / "truth")
        config = TrainConfig.of(seed=seed, threads=1)
        stack, before = open_unposed(star, config), processor_seconds()
        found = search_poses(stack, folder / "found", config, starts)
        row: dict[str, Any] = {"search_seconds": round(processor_seconds() - before, 1)}
        row["starts"] = [round(value, 2) for value in found.starts]
        posed = open_particles(particle_file(folder / "found", stack), datadir=star.parent)
        row |= scores(posed, truth, symmetry)
        best = exhaustive(stack, truth, symmetry).degrees.median()
        row["exhaustive_degrees"] = round(float(best), 3)
        if train:
            row |= trained_scores(stack, posed, folder / "found", config, truth, symmetry)
        return row
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def written_dimer(folder: Path, half_turn: Float[Tensor, "3 3"]) -> dict[str, str]:
    """Write one half of the built-in molecule with its copy by half a turn.

    Args:
        folder: Gets the files.
        half_turn: The copy's rotation.

    Returns:
        Options of the simulation.
    """
    molecule = load_molecule("6zu5")
    points, present = molecule.positions_angstrom, molecule.states["mature"]
    half = present & (points[:, 0] > 0)
    copies = [points[half], points[half] @ half_turn.double().numpy().T]
    electrons, blocks = np.tile(molecule.electrons[half], 2), np.repeat([0, 1], half.sum())
    files = folder / "dimer.npz", folder / "dimer.json"
    names = np.array(["first", "second"])
    np.savez(files[0], xyz=np.concatenate(copies), w=electrons, block=blocks, names=names)
    files[1].write_text(json.dumps({"dimer": names.tolist()}))
    return {"model": str(files[0]), "states": str(files[1])}


def scores(posed: ParticleStack, truth: Truth, symmetry: Float[Tensor, "g 3 3"]) -> dict[str, Any]:
    """How close poses and their map are to the truth.

    Args:
        posed: Particles at the poses found.
        truth: What the simulation knows.
        symmetry: Rotations of the molecule's point group.

    Returns:
        Shells at which correlations with the truth fall to 0.5, angles, displacements.
    """
    aligned = align_poses(posed.poses, truth.poses, symmetry)
    shell, oracle = (
        half_correlation(replace(posed, poses=poses), truth)
        for poses in (aligned.poses, truth.poses)
    )
    pixels = aligned.shifts_angstrom / posed.pixel_size_angstrom
    return {
        "found": bool(shell >= oracle - SUCCESS_SHELLS),
        "shell": round(shell, 2),
        "oracle_shell": round(oracle, 2),
        "mirrored": aligned.mirrored,
        "median_degrees": round(float(aligned.degrees.median()), 3),
        "share_within_10_degrees": round(float((aligned.degrees < 10).float().mean()), 4),
        "shift_pixels": round(float(pixels.square().mean().sqrt()), 3),
    }


def trained_scores(
    stack: ParticleStack,
    posed: ParticleStack,
    folder: Path,
    config: TrainConfig,
    truth: Truth,
    symmetry: Float[Tensor, "g 3 3"],
) -> dict[str, Any]:
    """The same of the training that follows, and what it finds.

    Args:
        stack: Particles without poses.
        posed: The same at the poses found.
        folder: Of the search.
        config: Options of the training.
        truth: What the simulation knows.
        symmetry: Rotations of the molecule's point group.

    Returns:
        Numbers whose names begin with ``trained_``.
    """
    before = processor_seconds()
    run = train_from_found(stack, folder, config)
    seconds = processor_seconds() - before
    latents, states = run.latents(), run.states()
    beliefs = latents.beliefs
    if beliefs is None:
        raise ValueError("a training that doubted nothing")
    refined = beliefs.refined(posed.poses, posed.pixel_size_angstrom)
    found = scores(replace(posed, poses=refined), truth, symmetry)
    found |= {"seconds": round(seconds, 1), "dimensions": run.z_dim, "states": 1}
    if states is not None:
        from sklearn.metrics import adjusted_rand_score

        share = states.distribution.mean
        label = share.argmax(1).numpy()
        found |= {"states": share.shape[1]}
        found["ari"] = round(float(adjusted_rand_score(truth.state, label)), 3)
    return {f"trained_{name}": value for name, value in found.items()}


def half_correlation(posed: ParticleStack, truth: Truth) -> float:
    """Shell at which a map's correlation with the truth falls to one half.

    Args:
        posed: Particles at their poses, in the truth's frame.
        truth: Its volumes; their mean, weighted by how many particles each has, is compared.

    Returns:
        Interpolated between shells.
    """
    volume = backproject(posed, torch.arange(len(posed))).solve()
    curve = fourier_shell_correlation(volume, mean_volume(truth))
    below = torch.nonzero(curve[1:] < 0.5)
    if not len(below):
        return float(len(curve) - 1)
    at = int(below[0]) + 1
    high, low = float(curve[at - 1]) if at > 1 else 1.0, float(curve[at])
    return at - 1 + (high - 0.5) / (high - low)


def exhaustive(
    stack: ParticleStack, truth: Truth, symmetry: Float[Tensor, "g 3 3"]
) -> AlignedPoses:
    """Search the poses of all particles under the true volume, as the last pass of a search does.

    Args:
        stack: Particles without poses.
        truth: Volume and noise.
        symmetry: Rotations of the molecule's point group.

    Returns:
        The poses found against the true ones.
    """
    last = PLAN.followed[-1]
    blank = replace(unposed(stack), shells=last.shells)
    disc = replace(blank.disc, by_shell=True)
    parts = FilteredStack(blank, torch.arange(len(blank)))
    coarse, fine = (
        true_hypothesis(truth, FourierLattice(disc.within(shells)))
        for shells in (GRID_SHELLS, last.shells)
    )
    grid = PoseGrid.of(last.spacing_degrees, 3.0, disc.box / GRID_SHELLS / 4, 1.0)
    search = PoseSearch(GridPosterior(coarse, grid), fine, CANDIDATES)
    rotations, shifts = blank.poses.rotations.clone(), blank.poses.shifts_angstrom.clone()
    settling = search.settling()
    for part in _few(parts, search, disc):
        found = search.locate(part, settling)
        rotations[found.images], shifts[found.images] = found.best()
    shifts *= stack.pixel_size_angstrom
    return align_poses(Poses(rotations, shifts), truth.poses, symmetry)


def true_hypothesis(truth: Truth, lattice: FourierLattice) -> Hypothesis:
    """The true volume and noise.

    Args:
        truth: What the simulation knows.
        lattice: Where slices are taken.

    Returns:
        What images are explained by.
    """
    values = lattice.from_volumes(mean_volume(truth)[None], 1)
    noise = truth.noise_spectrum[: lattice.disc.radius + 1]
    return Hypothesis(lattice, values, noise, Categorical(1))


def mean_volume(truth: Truth) -> Float[Tensor, "z y x"]:
    """The mean of the true volumes over particles.

    Args:
        truth: What the simulation knows.

    Returns:
        A map.
    """
    count = torch.bincount(torch.from_numpy(truth.state), minlength=len(truth.volumes)).float()
    return torch.einsum("k,kzyx->zyx", count / count.sum(), truth.volumes)


def _few(parts: FilteredStack, search: PoseSearch, disc: Any) -> Iterator[Any]:
    for chunk in parts.chunks(disc):
        yield from search.coarse.parts(chunk)


def _median(values: list[float]) -> float:
    return float(torch.tensor(values).median())


if __name__ == "__main__":
    app()
