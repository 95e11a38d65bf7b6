"""What exact inference announces when its inputs are wrong: false splits, power, calibration, cost.

python -m benchmarks.honesty run PIECE WORK [--seeds 60] [--workers 2]
python -m benchmarks.honesty table

PIECE is one of `PIECES`; WORK is a scratch folder. Every set is simulated, run, scored and deleted;
a line of `results/honesty/PIECE.jsonl` stays. What is there is not run again, so a piece may be
stopped at any time. Settings were tuned on sets of seeds below 1,000, which are not reported.
"""

import json
import os
import resource
import shutil
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from cyclopts import App

from benchmarks.relion_images import project_again
from benchmarks.small_parts import write_states

RESULTS = Path(__file__).parent / "results" / "honesty"
FIRST_SEED = 1000
RIGID = {"only": ("mature",), "particles": 3000}
MIXED = {
    "angle_error": 2.5,
    "error_tails": 5.0,
    "shift_error": 0.5,
    "contrast_spread": 0.15,
    "junk": 0.05,
    "random_poses": 0.03,
    "noise_colour": 3.0,
    "micrographs": 60,
    "noise_spread": 0.2,
}
Case = dict[str, Any]
UNKIND = MIXED | {
    "spin_error": 1.0,
    "error_growth": 1.0,
    "defocus_error": 300.0,
    "b_factor": 100.0,
    "neighbours": 0.1,
    "gradient": 0.3,
}
ALONE: dict[str, Case] = {
    "nothing": {},
    "pose 1°": {"angle_error": 1.0},
    "pose 3°": {"angle_error": 3.0},
    "pose 5°": {"angle_error": 5.0},
    "shift 0.2 px": {"shift_error": 0.2},
    "shift 0.5 px": {"shift_error": 0.5},
    "shift 1 px": {"shift_error": 1.0},
    "contrast 5 %": {"contrast_spread": 0.05},
    "contrast 15 %": {"contrast_spread": 0.15},
    "contrast 30 %": {"contrast_spread": 0.3},
    "junk 2 %": {"junk": 0.02},
    "junk 10 %": {"junk": 0.1},
    "random poses 3 %": {"random_poses": 0.03},
    "noise of micrographs 50 %": {"micrographs": 60, "noise_spread": 0.5},
    "defocus 300 Å": {"defocus_error": 300.0},
    "defocus 1,000 Å": {"defocus_error": 1000.0},
    "B-factors 0 to 200 Å²": {"b_factor": 100.0},
    "neighbours 20 %": {"neighbours": 0.2},
    "sloping backgrounds": {"gradient": 0.5},
    "mixed and all these": UNKIND,
}
app = App(help=__doc__)


def mixed(seeds: int) -> Iterator[Case]:
    """One state under everything at once, at two signal-to-noise ratios."""
    for seed in range(seeds):
        for snr in (0.05, 0.02):
            yield _case(f"mixed, {snr}", seed, "exact", RIGID | MIXED | {"snr": snr})


def alone(seeds: int) -> Iterator[Case]:
    """One state, one thing wrong."""
    for seed in range(seeds):
        for name, wrong in ALONE.items():
            yield _case(name, seed, "exact", RIGID | wrong | {"snr": 0.05})


def large(seeds: int) -> Iterator[Case]:
    """The mixed case with many particles, of which small faults of a model can make states."""
    for seed in range(seeds):
        data = RIGID | MIXED | {"snr": 0.05, "particles": 30_000}
        yield _case("mixed, 30,000", seed, "exact", data)
    yield _case("mixed, 100,000", 0, "exact", RIGID | MIXED | {"snr": 0.05, "particles": 100_000})


def relion(seeds: int) -> Iterator[Case]:
    """The mixed case, its images projected by RELION; its noise is white."""
    wrong = {name: value for name, value in MIXED.items() if name != "noise_colour"}
    for seed in range(seeds):
        case = _case("mixed, RELION's projections", seed, "exact", RIGID | wrong | {"snr": 0.05})
        yield case | {"relion": True}


def states(seeds: int) -> Iterator[Case]:
    """Four states at wrong poses, doubted and believed."""
    for seed in range(seeds):
        for degrees in (0, 1, 2, 3, 5, 8):
            wrong = {"angle_error": float(degrees), "shift_error": min(degrees, 3) / 6}
            options = {"particles": 4000, "snr": 0.05} | wrong
            yield _case(f"four states, {degrees}°", seed, "categorical", options)
            if degrees in (0, 3):
                name = f"four states, {degrees}°, --trust all"
                yield _case(name, seed, "categorical", options, "all")
        yield _case(
            "four states, mixed", seed, "categorical", {"particles": 4000, "snr": 0.05} | MIXED
        )
        noisy = {"particles": 4000, "snr": 0.02}
        yield _case("four states, 0.02", seed, "categorical", noisy)
        yield _case("four states, 0.02, --trust all", seed, "categorical", noisy, "all")


def rare(seeds: int) -> Iterator[Case]:
    """Two states, one of them rare, with and without wrong inputs."""
    for seed in range(seeds):
        for share in (0.5, 0.2, 0.05, 0.02):
            for other in ("without protuberance and stalk", "early"):
                base = {
                    "only": ("mature", other),
                    "populations": (1 - share, share),
                    "particles": 4000,
                    "snr": 0.05,
                }
                name = f"{100 * share:.0f} % {other}"
                yield _case(name, seed, "exact", base)
                yield _case(f"{name}, mixed", seed, "exact", base | MIXED)
                yield _case(f"{name}, --trust all", seed, "exact", base, "all")


SMALL = {"1.4 %": ("LH0",), "2.6 %": ("L70",), "4.6 %": ("L70", "LD0")}


def small(seeds: int) -> Iterator[Case]:
    """Two equal states that differ by so much of the mass, at true and at wrong poses."""
    for seed in range(seeds):
        for share, chains in SMALL.items():
            base = {"particles": 4000, "snr": 0.05}
            wrong = {"angle_error": 3.0, "shift_error": 0.5}
            yield _case(f"{share} of the mass", seed, "exact", base) | {"chains": chains}
            yield _case(f"{share}, 3°", seed, "exact", base | wrong) | {"chains": chains}


def motion(seeds: int) -> Iterator[Case]:
    """A protuberance that turns by 40°, at true and at wrong poses."""
    for seed in range(seeds):
        base = {**RIGID, "motion": 40.0, "snr": 0.1}
        wrong = {"angle_error": 3.0, "shift_error": 0.5}
        yield _case("motion", seed, "exact", base)
        yield _case("motion, 3°", seed, "exact", base | wrong)
        yield _case("motion, 3°, --trust all", seed, "exact", base | wrong, "all")


PIECES = {
    "mixed": mixed,
    "alone": alone,
    "large": large,
    "relion": relion,
    "states": states,
    "rare": rare,
    "small": small,
    "motion": motion,
}


@app.command
def run(
    piece: str,
    work: Path,
    *,
    seeds: int = 6,
    workers: int = 2,
    first_seed: int = FIRST_SEED,
    results: Path = RESULTS,
) -> None:
    """Run what is not yet in the results of a piece."""
    results.mkdir(parents=True, exist_ok=True)
    path = results / f"{piece}.jsonl"
    done = {(row["name"], row["seed"]) for row in read_rows(path)}
    cases = [case for case in PIECES[piece](seeds) if (case["name"], case["seed"]) not in done]
    work.mkdir(parents=True, exist_ok=True)
    os.environ["OMP_NUM_THREADS"] = "1"
    with ProcessPoolExecutor(workers, get_context("spawn"), max_tasks_per_child=1) as pool:
        waiting = [
            pool.submit(measure, case, work / f"{piece}-{number}", first_seed)
            for number, case in enumerate(cases)
        ]
        for number, future in enumerate(as_completed(waiting), 1):
            row = future.result()
            with path.open("a") as stream:
                stream.write(json.dumps(row) + "\n")
            print(f"{number} of {len(cases)}: {row}", flush=True)


@app.command
def table(results: Path = RESULTS) -> None:
    """Print the tables of docs/benchmarks.md."""
    for piece in PIECES:
        rows = read_rows(results / f"{piece}.jsonl")
        if not rows:
            continue
        print(f"\n| {piece} | sets | dimensions | states | {' | '.join(MEASURES)} |")
        print("|---|---|---|---|" + "---|" * len(MEASURES))
        for name in dict.fromkeys(row["name"] for row in rows):
            print(_line(name, [row for row in rows if row["name"] == name]))


MEASURES = ("ARI", "oracle", "R²", "median °", "shift px", "junk AUC", "error", "95 %", "CPU s")


def measure(case: Case, folder: Path, first_seed: int = FIRST_SEED) -> dict[str, Any]:
    """Simulate, train, analyse and score one set.

    Args:
        case: What to simulate and how to train.
        folder: Scratch, deleted afterwards.
        first_seed: Seed of the simulation of the first set.

    Returns:
        A row of numbers.
    """
    from cryolatent.analysis import analyze
    from cryolatent.config.training import TrainConfig
    from cryolatent.data import open_particles
    from cryolatent.runs.run import Run
    from cryolatent.sessions.training import begin, train
    from cryolatent.simulate.config import SimulateConfig
    from cryolatent.simulate.stack import simulate
    from cryolatent.simulate.truth import Truth
    from cryolatent.train import Watch

    shutil.rmtree(folder, ignore_errors=True)
    try:
        data = case["data"]
        if "chains" in case:
            data = data | write_states(folder / "model", case["chains"])
        simulate(SimulateConfig(**data, seed=first_seed + case["seed"]), folder / "data")
        if case.get("relion"):
            project_again(folder / "data", first_seed + case["seed"], case["data"]["snr"])
        stack = open_particles(folder / "data" / "particles.star")
        trust = (case["trust"],) if case["trust"] else None
        config = TrainConfig.of(posterior=case["posterior"], threads=1, trust=trust)
        before = processor_seconds()
        run = begin(folder / "run", config, stack, Watch())
        train(run, stack)
        cpu = processor_seconds() - before
        run = Run.open(run.path)
        several = "only" not in case["data"] or len(case["data"]["only"]) > 1
        wanted = several or "motion" in case["data"]
        summary = analyze(run, truth=folder / "data" / "truth") if wanted else None
        truth = Truth.load(folder / "data" / "truth")
        return {
            "name": case["name"],
            "seed": case["seed"],
            "cpu_seconds": round(cpu, 1),
            **_counts(run),
            "curves": _curves(run),
            **_scores(run, summary),
            **_calibration(run, truth),
        }
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _counts(run: Any) -> dict[str, Any]:
    latents, states = run.latents(), run.states()
    discrete = latents.distribution.is_discrete
    if discrete:
        return {"states": run.z_dim}
    count = 1 if states is None else states.distribution.mean.shape[1]
    return {"dimensions": run.z_dim, "states": count}


def _curves(run: Any) -> dict[str, list[list[float]]]:
    """What each number that was tried fell short by on particles kept aside, and its error."""
    return {
        choice.name: [[c.number, round(c.behind, 5), round(c.error, 5)] for c in choice.candidates]
        for choice in run.choices()
    }


def _scores(run: Any, summary: Any) -> dict[str, Any]:
    from cryolatent.runs.inputs import nuisances_of

    found: dict[str, Any] = {}
    truth = None if summary is None else summary.truth
    if truth is not None and truth.ari is not None:
        found |= {"ari": truth.ari.value, "oracle_ari": truth.oracle_ari.value}
    if truth is not None and truth.motion is not None:
        found |= {"r2": truth.motion.r2.value, "oracle_r2": truth.motion.oracle_r2.value}
    nuisances = nuisances_of(run)
    if nuisances is not None:
        tilt, _, spin, shift, _ = nuisances.poses.deviations
        widths = np.degrees([tilt, spin]).round(2).tolist()
        found |= {"widths": [*widths, round(shift, 3), round(nuisances.contrast.spread, 3)]}
    return found


def _calibration(run: Any, truth: Any) -> dict[str, Any]:
    """Expected calibration error of states, and how often poses lie within 95 % of theirs."""
    import torch

    from cryolatent.analysis.refined import compare_refined
    from cryolatent.physics import turned

    latents, states = run.latents(), run.states()
    shown = latents if latents.distribution.is_discrete else states
    rows = truth.match(latents.ids, run.path)
    state = truth.state[rows]
    found: dict[str, Any] = {}
    if shown is not None and len(truth.state_names) > 1:
        share = shown.distribution.mean.numpy()[state >= 0]
        found["ece"] = _expected_error(share, state[state >= 0])
    beliefs = latents.beliefs
    if beliefs is not None:
        import roma

        stack = run.open_stack()
        poses, true = stack.poses, truth.poses[torch.from_numpy(rows)]
        refined_ = compare_refined(beliefs, poses, true, stack.pixel_size_angstrom, state)
        found |= {} if refined_ is None else refined_.model_dump()
        refined = turned(poses.rotations, beliefs.moved[:, :3])
        # turns in the images' frames
        off = roma.rotmat_to_rotvec(refined @ true.rotations.mT)
        width = beliefs.covariance.diagonal(dim1=1, dim2=2)[:, :3].sqrt()
        inside = ((off / width).abs() < 1.96).numpy()[state >= 0]
        degrees = np.degrees(off.norm(dim=1).numpy()[state >= 0])
        found["median_degrees"] = round(float(np.median(degrees)), 3)
        found["within_95"] = round(float(inside.mean()), 4)
    return found


def _expected_error(share: np.ndarray, state: np.ndarray) -> float:
    """Mean difference of claimed and found shares of the best state, by tenths of the claim."""
    best, claim = share.argmax(1), share.max(1)
    # a state found stands for the true one that most of its particles have
    names = {b: np.bincount(state[best == b]).argmax() for b in np.unique(best)}
    right = np.array([names[b] for b in best]) == state
    bins = np.minimum((claim * 10).astype(int), 9)
    gaps = [abs(claim[bins == b].sum() - right[bins == b].sum()) for b in np.unique(bins)]
    return round(float(sum(gaps) / len(claim)), 4)


def processor_seconds() -> float:
    """Processor time of this process so far."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _case(name: str, seed: int, posterior: str, data: dict[str, Any], trust: str = "") -> Case:
    return {"name": name, "seed": seed, "posterior": posterior, "data": data, "trust": trust}


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a file of results, if it is there."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def _line(name: str, rows: list[dict[str, Any]]) -> str:
    keys = ("ari", "oracle_ari", "r2", "median_degrees", "refined_pixels", "junk_auc", "ece")
    cells = [_mean(rows, key) for key in (*keys, "within_95")]
    counts = [_counted(rows, key) for key in ("dimensions", "states")]
    cells = [*counts, *cells, _mean(rows, "cpu_seconds", 0)]
    return f"| {name} | {len(rows)} | {' | '.join(cells)} |"


def _mean(rows: list[dict[str, Any]], key: str, digits: int = 3) -> str:
    values = [row[key] for row in rows if row.get(key) is not None]
    return f"{np.mean(values):.{digits}f}" if values else "–"


def _counted(rows: list[dict[str, Any]], key: str) -> str:
    values = [row[key] for row in rows if key in row]
    numbers, counts = np.unique(values, return_counts=True)
    return ", ".join(f"{n}: {c}" for n, c in zip(numbers, counts, strict=True)) or "–"


if __name__ == "__main__":
    app()
