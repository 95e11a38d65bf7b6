"""Processor and CUDA device: equal numbers, and how long a pass and a step take on each.

    python benchmarks/gpu.py -o OUT             # with a CUDA device, under ten minutes
    python benchmarks/gpu.py -o OUT --whole 0   # without the run of 100,000 particles
    python benchmarks/gpu.py -o OUT --dry-run   # on the processor, tiny: does the script run

It makes its own data. OUT gets gpu.json and gpu.md. Without a CUDA device it says so, with code 2.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import mrcfile
import pandas as pd
import starfile
import torch
from torch import Tensor

from cryolatent.config.training import TrainConfig
from cryolatent.data import FilteredStack, ParticleStack, open_particles, scan
from cryolatent.io import new_stack
from cryolatent.models import Categorical, ExactGaussian
from cryolatent.models.hypothesis import Hypothesis
from cryolatent.models.registry import OBJECTIVES
from cryolatent.models.setting import Setting
from cryolatent.physics import FourierLattice
from cryolatent.physics.devices import on_device
from cryolatent.sessions.systems import build
from cryolatent.simulate.config import SimulateConfig
from cryolatent.simulate.stack import simulate
from cryolatent.train.em.step import Sums, sweep
from cryolatent.train.optimisers import build_optimisers

CPU = torch.device("cpu")
COMPONENTS = 4
DIFFERENT = 5_000
HARD = {
    "snr": 0.05,
    "angle_error": 3.0,
    "shift_error": 0.5,
    "junk": 0.05,
    "contrast_spread": 0.15,
    "noise_colour": 3.0,
}
"""What the whole run's particles are like."""

DECODERS = (
    {"decoder": "mlp"},
    {"decoder": "mlp", "decoder_output": "hartley"},
    {"decoder": "subspace"},
    {"decoder": "subspace", "coefficients": "network"},
)
"""What a training step is compared and timed with."""


def particles(folder: Path, box: int, count: int) -> ParticleStack:
    """Simulated particles that fill their box."""
    size = SimulateConfig(particles=count, box=box, pixel_size=288.0 / box, snr=0.1)
    simulate(size, folder)
    return open_particles(folder / "particles.star")


def one_pass(stack: ParticleStack, device: torch.device, *, states: bool) -> Sums:
    """A pass of expectation maximisation over all particles, images in memory already."""
    lattice = FourierLattice(replace(stack.disc, by_shell=True)).to(device)
    drawn = torch.Generator().manual_seed(0)
    shape = (lattice.size, COMPONENTS)
    values = torch.complex(*(torch.randn(shape, generator=drawn) for _ in range(2))).to(device)
    noise = torch.ones(stack.disc.radius + 1, device=device)
    posterior = Categorical(COMPONENTS) if states else ExactGaussian(COMPONENTS - 1)
    parts = filtered(stack, device)
    hypothesis = Hypothesis(lattice, values, noise, posterior.to(device))
    return sweep(parts, hypothesis, refit_noise=True)


KEPT: dict[tuple[Path, torch.device], list] = {}


def filtered(stack: ParticleStack, device: torch.device) -> list:
    """Filtered images on a device, read once."""
    key = stack.source, device
    if key not in KEPT:
        whole = FilteredStack(stack, torch.arange(len(stack)), device=device)
        KEPT[key] = list(whole.chunks(replace(stack.disc, by_shell=True)))
    return KEPT[key]


def stepper(stack: ParticleStack, device: torch.device, options: dict) -> Callable[[], Tensor]:
    """Training steps with an encoder on batches of 32; each call makes one and gives its loss."""
    config = TrainConfig.of({"posterior": "encoder", "z_dim": 4} | options).resolved()
    sample = stack.select(torch.arange(min(256, len(stack))))
    statistics = scan(sample, 0.45 * stack.disc.box).statistics
    setting = Setting(stack.geometry, len(stack), 4, statistics=statistics)
    system = build(config, setting).to(device)
    optimisers = build_optimisers(system, 1e-3)
    if config.objective is None:
        raise ValueError("a method without an objective")
    loss_of = OBJECTIVES.part(config.objective.kind)(1.0)
    batches = [
        on_device(stack.batch(rows), device)
        for rows in torch.arange(min(128, len(stack))).split(32)
    ]
    made = 0

    def step() -> Tensor:
        nonlocal made
        batch, made = batches[made % len(batches)], made + 1
        for optimiser in optimisers:
            optimiser.zero_grad()
        generator = torch.Generator().manual_seed(made)
        loss = loss_of(batch, system.posterior, system.model, generator).total.mean()
        loss.backward()
        for optimiser in optimisers:
            optimiser.step()
        return loss.detach()

    return step


def apart(found: Tensor, expected: Tensor) -> float:
    """Root mean square difference relative to the root mean square."""
    difference = (found.cpu() - expected.cpu()).abs().double().square().mean().sqrt()
    return float(difference / expected.cpu().abs().double().square().mean().sqrt())


def equalities(stack: ParticleStack, device: torch.device) -> list[dict]:
    """How far both devices are apart in a pass and in the losses of a few steps."""
    rows = []
    for states in (False, True):
        here, there = (one_pass(stack, d, states=states) for d in (CPU, device))
        for name in ("evidence", "kl", "mean", "matrix", "vector", "power"):
            a, b = getattr(there, name), getattr(here, name)
            what = f"pass, {'states' if states else 'subspace'}: {name}"
            rows.append({"what": what, "apart": apart(a, b)})
    for options in DECODERS:
        steps = [stepper(stack, d, options) for d in (CPU, device)]
        losses = [torch.stack([step() for _ in range(3)]) for step in steps]
        what = f"losses of three steps, {' '.join(options.values())}"
        rows.append({"what": what, "apart": apart(losses[1], losses[0])})
    return rows


def seconds(work: Callable[[], object], device: torch.device, repeats: int) -> float:
    """Wall time of a call, the first one apart; the device is waited for."""
    work()
    wait(device)
    began = time.perf_counter()
    for _ in range(repeats):
        work()
    wait(device)
    return (time.perf_counter() - began) / repeats


def wait(device: torch.device) -> None:
    """Until the device has done everything."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def timings(folder: Path, device: torch.device, sizes: dict[int, int], repeats: int) -> list[dict]:
    """Images per second of a pass, and of steps with each decoder, on both devices."""
    rows = []
    for box, count in sizes.items():
        stack = particles(folder / str(box), box, count)
        for states in (False, True):
            row = {"what": f"pass, {'4 states' if states else '3 dimensions'}", "box": box}
            for place, d in (("cpu", CPU), ("cuda", device)):
                work = partial(one_pass, stack, d, states=states)
                once = seconds(work, d, repeats)
                row[place] = count / once
            rows.append(row)
        if box > 128:
            continue
        for options in DECODERS[::2]:
            row = {"what": f"step, {options['decoder']}", "box": box}
            for place, d in (("cpu", CPU), ("cuda", device)):
                row[place] = 32 / seconds(stepper(stack, d, options), d, repeats)
            rows.append(row)
        KEPT.clear()
    return rows


def many(folder: Path, box: int, count: int) -> Path:
    """A particle file of so many images, of which few differ: what a run costs is the same."""
    each = min(count, DIFFERENT)
    simulate(SimulateConfig(particles=each, box=box, pixel_size=288.0 / box, **HARD), folder)
    star = starfile.read(folder / "particles.star", always_dict=True)
    images = mrcfile.mmap(folder / "particles.mrcs", mode="r").data
    with new_stack(folder / "many.mrcs", (count, box, box), 288.0 / box) as stack:
        for start in range(0, count, each):
            stack[start : start + each] = images[: count - start]
    rows = pd.concat([star["particles"]] * -(-count // each), ignore_index=True)[:count]
    rows["rlnImageName"] = [f"{row + 1:06d}@many.mrcs" for row in range(count)]
    starfile.write({"optics": star["optics"], "particles": rows}, folder / "many.star")
    return folder / "many.star"


def whole(folder: Path, device: torch.device, box: int, count: int, said: Path) -> dict:
    """A run of the program, start-up and all: states under wrong inputs; it speaks to a file."""
    star = many(folder / "whole", box, count)
    call = ["train", str(star), "-o", str(folder / "run"), "--posterior", "categorical"]
    call += ["--device", device.type]
    program = "from cryolatent.cli import main; main()"
    command = [sys.executable, "-c", program, *call]
    with said.open("w") as told:
        began = time.perf_counter()
        done = subprocess.run(command, check=False, stdout=told, stderr=told)
        took = time.perf_counter() - began
    print(said.read_text()[-3000:], file=sys.stderr)
    if done.returncode:
        return {"particles": count, "box": box, "code": done.returncode, "seconds": took}
    log = [json.loads(line) for line in (folder / "run" / "log.jsonl").open()]
    states = json.loads((folder / "run" / "choices.json").read_text())[0]["chosen"]
    passes = log[-1]["seconds"]
    return {
        "particles": count,
        "box": box,
        "code": done.returncode,
        "seconds": took,
        "of passes": passes,
        "states": states,
    }


def table(equal: list[dict], timed: list[dict], run: dict | None, device: str) -> str:
    """All as Markdown."""
    lines = [
        f"Device: {device}; PyTorch {torch.__version__}; {torch.get_num_threads()} threads.",
        "",
    ]
    lines += [
        "| images per second | box | processor | device | ratio |",
        "|---|---:|---:|---:|---:|",
    ]
    for row in timed:
        ratio = row["cuda"] / row["cpu"]
        numbers = f"{row['cpu']:,.0f} | {row['cuda']:,.0f} | {ratio:.1f}"
        lines.append(f"| {row['what']} | {row['box']} | {numbers} |")
    if run is not None and not run["code"]:
        lines += [
            "",
            f"`cryolatent train --posterior categorical --device cuda`, {run['particles']:,} "
            f"particles of box {run['box']}, wrong poses, contrast and junk: {run['seconds']:.0f} "
            f"s, {run['of passes']:.0f} of them in passes; {run['states']} states (exit code "
            f"{run['code']}).",
        ]
    lines += ["", "| the same numbers | relative difference |", "|---|---:|"]
    lines += [f"| {row['what']} | {row['apart']:.1e} |" for row in equal]
    return "\n".join(lines) + "\n"


def write(folder: Path, record: dict) -> None:
    """Leave what is measured so far, and print it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "gpu.json").write_text(json.dumps(record, indent=1) + "\n")
    text = table(record["equal"], record["timed"], record.get("whole"), record["device"])
    (folder / "gpu.md").write_text(text)
    print(text, flush=True)


def main() -> int:
    """Measure, print, and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--dry-run", action="store_true")
    parser.add_argument("--whole", type=int, default=100_000, help="particles of a whole run")
    arguments = parser.parse_args()
    if not arguments.dry_run and not torch.cuda.is_available():
        print("no CUDA device on this machine; --dry-run tries the script without", file=sys.stderr)
        return 2
    device = CPU if arguments.dry_run else torch.device("cuda")
    name = "processor (dry run)" if arguments.dry_run else torch.cuda.get_device_name()
    sizes = {32: 64} if arguments.dry_run else {64: 4000, 128: 1000, 256: 200}
    with tempfile.TemporaryDirectory() as place:
        small = particles(Path(place) / "small", 32, 64 if arguments.dry_run else 500)
        equal = equalities(replace(small), device)
        timed = timings(Path(place), device, sizes, 1 if arguments.dry_run else 3)
        record = {"device": name, "equal": equal, "timed": timed, "torch": torch.__version__}
        write(arguments.output, record)
        size = (32, min(200, arguments.whole)) if arguments.dry_run else (128, arguments.whole)
        if arguments.whole:
            log = arguments.output / "whole.log"
            record["whole"] = whole(Path(place), device, *size, log)
            write(arguments.output, record)
    return 0


if __name__ == "__main__":
    sys.exit(main())
