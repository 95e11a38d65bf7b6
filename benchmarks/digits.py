"""How close a training step on digits comes to the bare network, and to a plain DataLoader loop.

Steps of the trainer, the forward and backward pass of the same network on one batch in memory, and
a plain loop (DataLoader, network, Adam) alternate in one process, and processor seconds are
counted, so that what else the machine does weighs on all alike. Pixels are random, which costs the
same as digits:

    python benchmarks/digits.py --steps 300
"""

import argparse
import json
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy, binary_cross_entropy_with_logits
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.coordinate_network import alternate, machine
from cryolatent.data import DigitSet
from cryolatent.models.setting import Setting
from cryolatent.sessions.systems import build
from cryolatent.studies.mnist.experiments import BY_NAME
from cryolatent.train.gradient import Gradient, check_finite, step
from cryolatent.train.memory import keep_freed_memory
from cryolatent.train.optimisers import build_optimisers
from cryolatent.train.progress import Progress
from cryolatent.train.randomness import epoch_order, seeded

RESULTS = Path(__file__).parent / "results" / "digits.json"
BATCH, SIDE, COUNT = 128, 28, 12_800


class Plain(nn.Module):
    """The network of the appendix without anything around it; a table in place of the encoder."""

    def __init__(self, *, encoder: bool) -> None:
        super().__init__()
        layers = [nn.Linear(SIDE**2, 256), nn.ReLU()]
        layers += [nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU()]
        self.encoder = nn.Sequential(*layers, nn.Linear(256, 4)) if encoder else None
        self.table = None if encoder else nn.Embedding(COUNT, 4, sparse=True)
        hidden = [nn.Linear(2, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU()]
        self.decoder = nn.Sequential(*hidden, nn.Linear(256, SIDE**2))

    def forward(self, index: Tensor, images: Tensor) -> tuple[Tensor, Tensor]:
        """Log-odds of the pixels, and the divergence summed over the batch."""
        found = self.table(index) if self.encoder is None else self.encoder(images)
        loc, log_var = found.chunk(2, dim=-1)
        z = loc + torch.exp(0.5 * log_var) * torch.randn_like(loc)
        return self.decoder(z), -0.5 * (1 + log_var - loc**2 - log_var.exp()).sum()


def trainer(digits: DigitSet, name: str) -> Callable[[], None]:
    """Begin a training, of which each call makes a step as the loop makes it."""
    config = BY_NAME[name].config(0).resolved()
    system = build(config, Setting(digits.geometry, len(digits), config.posterior.z_dim))
    method, progress = Gradient(config.method, config.objective), Progress()
    optimisers = build_optimisers(system, config.method.learning_rate)
    loss_of = method.objective_at(0)

    def batches() -> Iterator[Tensor]:
        while True:
            yield from epoch_order(len(digits), 0, progress.step).split(BATCH)

    order = batches()

    def one() -> None:
        batch = method.batch(system, digits, next(order), progress)
        terms = step(loss_of, batch, system, optimisers, seeded(0, progress.step))
        check_finite(terms, batch, digits, progress)
        progress.count(terms)

    return one


def bare(digits: DigitSet, *, encoder: bool) -> Callable[[], None]:
    """Forward and backward pass of one batch, and nothing else."""
    model, index = Plain(encoder=encoder), torch.arange(BATCH)
    images = digits.values[index].clone()

    def one() -> None:
        model.zero_grad()
        odds, kl = model(index, images)
        misfit = binary_cross_entropy_with_logits(odds, images, reduction="sum")
        (misfit + kl).backward()

    return one


def plain_loop(digits: DigitSet, *, encoder: bool) -> Callable[[], None]:
    """A loop as tutorials have it: items one by one, sigmoid, cross entropy, Adam."""
    model = Plain(encoder=encoder)
    networks = [p for name, p in model.named_parameters() if not name.startswith("table")]
    optimisers: list[torch.optim.Optimizer] = [torch.optim.Adam(networks, lr=0.01)]
    if model.table is not None:
        optimisers.append(torch.optim.SparseAdam(list(model.table.parameters()), lr=0.01))
    data = TensorDataset(torch.arange(len(digits)), digits.values)

    def batches() -> Iterator[list[Tensor]]:
        while True:
            yield from DataLoader(data, BATCH, shuffle=True)

    items = batches()

    def one() -> None:
        index, images = next(items)
        for optimiser in optimisers:
            optimiser.zero_grad()
        odds, kl = model(index, images)
        misfit = binary_cross_entropy(torch.sigmoid(odds), images, reduction="sum")
        (misfit + kl).backward()
        for optimiser in optimisers:
            optimiser.step()
        misfit.item(), kl.item()

    return one


def rows(steps: int) -> list[dict]:
    """Measure VAE and table.

    Args:
        steps: Steps of each contender.

    Returns:
        One row per posterior.
    """
    values = torch.rand(COUNT, SIDE**2, generator=torch.Generator().manual_seed(0))
    names = np.array([f"train/{number:05d}" for number in range(COUNT)])
    digits = DigitSet(values, np.zeros(COUNT, dtype=np.int64), names, Path("random"))
    table = []
    for name in ("vae", "table", "table-rows"):
        encoder = name == "vae"
        calls = [trainer(digits, name), bare(digits, encoder=encoder)]
        ours, floor, plain = alternate([*calls, plain_loop(digits, encoder=encoder)], steps)
        table.append(
            {
                "cell": f"{name}, {SIDE} x {SIDE}, width 256, batch {BATCH}",
                "command": f"python benchmarks/digits.py --steps {steps}",
                "date": date.today().isoformat(),
                "machine": machine(),
                "threads": torch.get_num_threads(),
                "images_per_core_second": round(BATCH * steps / ours),
                "share_of_bare_forward_and_backward": round(floor / ours, 3),
                "times_the_plain_loop": round(plain / ours, 3),
                "note": f"{steps} steps each; PyTorch {torch.__version__}",
            }
        )
    return table


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    table = rows(arguments.steps)
    for row in table:
        print(
            f"{row['cell']:<40} {row['images_per_core_second']:>7} images/core-s  "
            f"{row['share_of_bare_forward_and_backward']:.2f} of forward and backward alone  "
            f"{row['times_the_plain_loop']:.2f} times the plain loop"
        )
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(table, indent=2) + "\n")


if __name__ == "__main__":
    main()
