"""How close a training step of the coordinate network comes to its matrix products.

Training steps and the bare products of their forward and backward pass alternate on one thread,
and processor seconds are counted, so that what else the machine does weighs on both alike:

    python benchmarks/coordinate_network.py particles.star --steps 200
"""

import argparse
import json
import platform
import time
from collections.abc import Callable
from datetime import date
from itertools import pairwise
from pathlib import Path

import torch

from cryolatent.config.training import TrainConfig
from cryolatent.data import ParticleStack, open_star, scan
from cryolatent.models.decoders.encodings import GeometricEncoding
from cryolatent.models.decoders.mlp import POINTS_AT_ONCE
from cryolatent.models.setting import Setting
from cryolatent.sessions.systems import build
from cryolatent.train.coefficients import subset_of_step
from cryolatent.train.gradient import Gradient, step
from cryolatent.train.memory import keep_freed_memory
from cryolatent.train.optimisers import build_optimisers
from cryolatent.train.randomness import epoch_order, seeded

RESULTS = Path(__file__).parent / "results" / "coordinate_network.json"
BATCH, WIDTH, LAYERS = 8, 256, 3
OPTIONS = (
    {},
    {"precision": "bfloat16"},
    {"coefficient_fraction": 0.5},
    {"coefficient_fraction": 0.25},
)


def training(stack: ParticleStack, **options: object) -> Callable[[], None]:
    """Begin a training, of which each call makes a step."""
    usual = {"posterior": "encoder", "batch_size": BATCH, "z_dim": 4}
    usual |= {"decoder_width": WIDTH, "decoder_layers": LAYERS}
    config = TrainConfig.of(usual | options).resolved()
    statistics = scan(stack.select(torch.arange(256)), 0.45 * stack.disc.box).statistics
    system = build(config, Setting(stack.geometry, len(stack), 4, statistics=statistics))
    optimisers = build_optimisers(system, config.method.learning_rate)
    loss_of = Gradient(config.method, config.objective).objective_at(0)
    batches = iter(enumerate(epoch_order(len(stack), 0, 0).split(BATCH)))

    def one() -> None:
        number, index = next(batches)
        subset = subset_of_step(stack.disc, config.method, 0, 0, number)
        batch = stack.batch(index).comparing(subset)
        step(loss_of, batch, system, optimisers, seeded(0, number))

    return one


def products(box: int, coefficients: int) -> Callable[[], None]:
    """The matrix products of the decoder's forward and backward pass for one batch, in float32."""
    divisors = [n for n in range(1, BATCH + 1) if BATCH % n == 0]
    images = max(n for n in divisors if n == 1 or n * coefficients <= POINTS_AT_ONCE)
    points = images * coefficients
    sizes = [GeometricEncoding(box).size, *[WIDTH] * (LAYERS + 1), 2]
    layers = [
        (torch.randn(points, m), torch.randn(n, m), torch.randn(points, n))
        for m, n in pairwise(sizes)
    ]

    def one() -> None:
        for _ in range(BATCH // images):
            for x, weight, _ in layers:
                torch.mm(x, weight.T)
            for x, weight, gradient in layers[1:]:
                torch.mm(gradient, weight)
                torch.mm(gradient.T, x)
            torch.mm(layers[0][2].T, layers[0][0])

    return one


def alternate(calls: list[Callable[[], None]], times: int) -> list[float]:
    """Call functions in turn, and add up the processor seconds of each.

    Args:
        calls: The functions.
        times: How often each; a call before the first is not counted.

    Returns:
        Seconds of each function.
    """
    seconds = [0.0] * len(calls)
    for turn in range(times + 1):
        for number, call in enumerate(calls):
            start = time.process_time()
            call()
            seconds[number] += (turn > 0) * (time.process_time() - start)
    return seconds


def rows(stack: ParticleStack, steps: int) -> list[dict]:
    """Measure all options at the shells of a stack.

    Args:
        stack: The particles.
        steps: Steps of each.

    Returns:
        One row per option.
    """
    disc = stack.disc
    calls = [training(stack, **options) for options in OPTIONS]
    *seconds, floor = alternate([*calls, products(disc.box, disc.size)], steps)
    cell = f"{LAYERS} x {WIDTH}, box {disc.box}, {disc.radius} shells, batch {BATCH}, encoder"
    return [
        {
            "cell": cell,
            "method": " ".join(["cryolatent", *(f"{k}={v}" for k, v in options.items())]),
            "command": "python benchmarks/coordinate_network.py "
            f"{stack.source.name} --steps {steps}",
            "date": date.today().isoformat(),
            "machine": machine(),
            "threads": 1,
            "images_per_core_second": round(BATCH * steps / used, 2),
            "floor_ratio": round(used / floor, 3),
            "note": f"{steps} steps; the float32 products of all coefficients alone: "
            f"{BATCH * steps / floor:.2f} images per core-second; PyTorch {torch.__version__}",
        }
        for options, used in zip(OPTIONS, seconds, strict=True)
    ]


def machine() -> str:
    """The processor's name and the number of its cores."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.processor()}, {max(1, len(names))} cores"


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("particles", type=Path, help="a STAR file, at least 8 x (steps + 1) rows")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--shells", type=int, nargs="*", default=[31, 10])
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    table = []
    for shells in arguments.shells:
        for row in rows(open_star(arguments.particles, shells=shells), arguments.steps):
            print(
                f"{row['cell']:<50} {row['method']:<38} "
                f"{row['images_per_core_second']:8.2f} images/core-s  "
                f"{row['floor_ratio']:.2f} of the products' time"
            )
            table.append(row)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(table, indent=2) + "\n")


if __name__ == "__main__":
    main()
