"""How often the audits of the other half are wrong, on sets whose answer is known.

    python -m benchmarks.audit_power run WORK --sets 20     # resumable: a line per set
    python -m benchmarks.audit_power table

Rigid molecules and four states, all under wrong poses, contrast, junk and coloured noise. Latents
are the true states (of a rigid molecule they mean nothing), those of other particles, and those of
runs that believe their inputs, with dimensions and with states. Seeds below 1000 are for tuning and
are not written down.
"""

import argparse
import json
import shutil
import time
from pathlib import Path

import numpy as np
import torch

from cryolatent.audits.controls import controls
from cryolatent.audits.trust import trust
from cryolatent.config.training import TrainConfig
from cryolatent.data import ParticleStack, open_particles
from cryolatent.models import DiagonalNormal
from cryolatent.models.latents import Latents
from cryolatent.sessions.subject import Subject
from cryolatent.sessions.training import trained
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
REPLICAS = 3
BELIEVING = {"believing run": "exact", "believing states": "categorical"}
AUDITS = ("reality", "null", "confirmation", "classes", "agreement", "trust")
KINDS: dict[str, dict] = {
    "rigid, 0.1": {"only": ("mature",), "snr": 0.1},
    "four states, 0.1": {"snr": 0.1},
    "rigid, 0.03": {"only": ("mature",), "snr": 0.03},
    "four states, 0.03": {"snr": 0.03},
}


class Given(Subject):
    """Latents without a run."""

    def __init__(self, name: str, ids: np.ndarray, z: np.ndarray) -> None:
        self.name, self._ids, self.z = name, ids, torch.from_numpy(z).float()

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
    """Simulate a set, and audit latents of four kinds."""
    folder = work / f"{kind.replace(' ', '_')}-{seed}"
    shutil.rmtree(folder, ignore_errors=True)
    truth = simulate(SimulateConfig.model_validate(HARD | KINDS[kind] | {"seed": seed}), folder)
    stack = open_particles(folder / "particles.star")
    rng = np.random.default_rng(seed)
    z = np.eye(4)[np.maximum(truth.state, 0)][:, :3] + 0.05 * rng.normal(size=(len(stack), 3))
    runs = {}
    for name, posterior in BELIEVING.items():
        config = TrainConfig.of(posterior=posterior, threads=1, trust=("all",), seed=seed)
        runs[name] = trained(None, folder / posterior, config, stack)
    latents = {"true states": z, "other particles'": z[rng.permutation(len(z))]}
    for name, run in runs.items():
        latents[name] = run.latents().distribution.mean.double().numpy()
    row: dict = {"kind": kind, "seed": seed, "verdicts": {}, "numbers": {}}
    began = time.process_time()
    for name, own in latents.items():
        subject = Given(name, stack.ids, own)
        run = runs.get(name)
        config = runs["believing run"].config if run is None else run.config
        asked = controls(subject, stack, config, folder / "audit", run=run, replicas=REPLICAS)
        found = [audit.ask(subject) for audit in asked]
        verdicts = {finding.name: finding.verdict for finding in found}
        row["verdicts"][name] = verdicts | {"trust": trust(name, found).verdict}
        row["numbers"][name] = {"dimensions": own.shape[1]} | {
            finding.name: [finding.statistic.low, finding.statistic.value, finding.statistic.high]
            for finding in found
            if finding.statistic is not None
        }
    row["cpu_seconds"] = time.process_time() - began
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
    """Verdicts by kind and latents, as Markdown."""
    lines = [
        f"| set, signal-to-noise ratio | latents | sets | {' | '.join(AUDITS[:-1])} | together |",
        "|---|---|---:|---|---|---|---|---|---|",
    ]
    for kind in KINDS:
        mine = [row for row in rows() if row["kind"] == kind]
        for name in mine[0]["verdicts"] if mine else ():
            columns = []
            for audit in AUDITS:
                verdicts = [row["verdicts"][name].get(audit, "not asked") for row in mine]
                counted = (f"{v} {verdicts.count(v)}" for v in dict.fromkeys(verdicts))
                columns.append(", ".join(counted))
            lines.append(f"| {kind} | {name} | {len(mine)} | {' | '.join(columns)} |")
    costs = [row["cpu_seconds"] for row in rows()]
    if costs:
        lines += ["", f"{np.mean(costs):.0f} core-seconds a set, for four kinds of latents."]
    return "\n".join(lines)


def main() -> None:
    """Measure or print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
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
