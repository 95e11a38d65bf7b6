"""How often the audits of the other half are wrong, on sets whose answer is known.

    python -m benchmarks.audit_power run WORK --sets 20     # resumable: a line per set
    python -m benchmarks.audit_power table

Rigid molecules and four states of two kinds, all under wrong poses, contrast, junk and coloured
noise; latents are the true states, or those of other particles. Nothing of a set is trained but
the two halves' models. Seeds below 1000 are for tuning and are not written down.
"""

import argparse
import json
import shutil
import time
from pathlib import Path

import numpy as np
import torch

from cryolatent.audits.halves import Agreement, Reality
from cryolatent.config.training import TrainConfig
from cryolatent.data import ParticleStack, open_particles
from cryolatent.models import DiagonalNormal
from cryolatent.models.latents import Latents
from cryolatent.sessions.crossread import cross_read
from cryolatent.sessions.subject import Subject
from cryolatent.simulate.config import SimulateConfig
from cryolatent.simulate.stack import simulate

RESULTS = Path(__file__).parent / "results" / "audits.jsonl"
HARD = {
    "particles": 1200,
    "box": 32,
    "pixel_size": 9.0,
    "angle_error": 3.0,
    "error_tails": 5,
    "shift_error": 0.3,
    "contrast_spread": 0.15,
    "junk": 0.05,
    "noise_colour": 3.0,
}
KINDS: dict[str, dict] = {
    "rigid, 0.1": {"only": ("mature",), "snr": 0.1},
    "four states, 0.1": {"snr": 0.1},
    "rigid, 0.03": {"only": ("mature",), "snr": 0.03},
    "four states, 0.03": {"snr": 0.03},
}


class Given(Subject):
    """Latents without a run."""

    name = "given"

    def __init__(self, ids: np.ndarray, z: np.ndarray) -> None:
        self._ids, self.z = ids, torch.from_numpy(z).float()

    @property
    def ids(self) -> np.ndarray:
        """Names of the particles."""
        return self._ids

    def latents(self) -> Latents:
        """Narrow normals."""
        q = DiagonalNormal(self.z, torch.full_like(self.z, -4.0))
        return Latents(self._ids, q, None, q.kl())

    def particles(self) -> ParticleStack | None:
        """None: audits of moves are of no use here."""
        return None

    def system(self) -> None:
        """None."""
        return None


def one(kind: str, seed: int, work: Path) -> dict:
    """Simulate a set, read its halves across, and ask."""
    folder = work / f"{kind.replace(' ', '_')}-{seed}"
    shutil.rmtree(folder, ignore_errors=True)
    truth = simulate(SimulateConfig.model_validate(HARD | KINDS[kind] | {"seed": seed}), folder)
    stack = open_particles(folder / "particles.star")
    began = time.process_time()
    read = cross_read(stack, TrainConfig.of(posterior="exact", threads=1), folder / "halves")
    spent = time.process_time() - began
    rng = np.random.default_rng(seed)
    z = np.eye(4)[np.maximum(truth.state, 0)][:, :3] + 0.05 * rng.normal(size=(len(stack), 3))
    own, other = Given(stack.ids, z), Given(stack.ids, z[rng.permutation(len(z))])
    real = Reality(read=read).ask(own)
    row = {
        "kind": kind,
        "seed": seed,
        "reality": real.verdict,
        "gain": None if real.statistic is None else real.statistic.model_dump(),
        "dimensions": [half.dimensions for half in read],
        "agreement": Agreement(read=read).ask(own).verdict,
        "agreement of others": Agreement(read=read).ask(other).verdict,
        "cpu_seconds": spent,
    }
    shutil.rmtree(folder)
    return row


def rows() -> list[dict]:
    """What is measured so far."""
    if not RESULTS.exists():
        return []
    return [json.loads(line) for line in RESULTS.read_text().splitlines()]


def measure(work: Path, sets: int, first: int) -> None:
    """Sets in turns of their kinds, those that are there left out."""
    done = {(row["kind"], row["seed"]) for row in rows()}
    wanted = [(kind, first + n) for n in range(-(-sets // len(KINDS))) for kind in KINDS]
    for kind, seed in wanted[:sets]:
        if (kind, seed) in done:
            continue
        row = one(kind, seed, work)
        print(row, flush=True)
        if seed >= 1000:
            RESULTS.parent.mkdir(exist_ok=True)
            with RESULTS.open("a") as stream:
                stream.write(json.dumps(row) + "\n")


def table() -> str:
    """Verdicts by kind, as Markdown."""
    lines = [
        "| set, signal-to-noise ratio | sets | reality | true states | other particles' | CPU s |",
        "|---|---:|---|---|---|---:|",
    ]
    for kind in KINDS:
        mine = [row for row in rows() if row["kind"] == kind]
        if not mine:
            continue
        columns = []
        for name in ("reality", "agreement", "agreement of others"):
            verdicts = [row[name] for row in mine]
            counted = (f"{v} {verdicts.count(v)}" for v in dict.fromkeys(verdicts))
            columns.append(", ".join(counted))
        cost = np.mean([row["cpu_seconds"] for row in mine])
        lines.append(f"| {kind} | {len(mine)} | {' | '.join(columns)} | {cost:.0f} |")
    return "\n".join(lines)


def main() -> None:
    """Measure or print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    verbs = parser.add_subparsers(dest="verb", required=True)
    run = verbs.add_parser("run")
    run.add_argument("work", type=Path)
    run.add_argument("--sets", type=int, default=20)
    run.add_argument("--first", type=int, default=1000, help="first seed")
    verbs.add_parser("table")
    arguments = parser.parse_args()
    if arguments.verb == "table":
        print(table())
        return
    torch.set_num_threads(1)
    measure(arguments.work, arguments.sets, arguments.first)


if __name__ == "__main__":
    main()
