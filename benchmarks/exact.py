"""Exact inference on simulated sets: cost as a program, quality against truth, oracle, cross-fit.

python -m benchmarks.exact CELL DATA OUT [--posterior categorical]

CELL names the data set in the records, DATA is a folder that `cryolatent simulate` wrote, OUT a new
folder for the run. The record goes to benchmarks/results.
"""

import sys
from pathlib import Path
from typing import Annotated

import torch
from cyclopts import App, Parameter
from jaxtyping import Float
from torch import Tensor

from benchmarks.peers.measure import Usage, run_program
from benchmarks.peers.records import new_record
from cryolatent.analysis import analyze, read_summary
from cryolatent.analysis.summary import Estimate
from cryolatent.analysis.truth import rand_index
from cryolatent.data import FilteredStack, ParticleStack, open_star, scan
from cryolatent.models import Categorical
from cryolatent.models.nuisances import TRUSTED
from cryolatent.physics import NormalEquations, soft_sphere
from cryolatent.runs.run import Run
from cryolatent.simulate.truth import Truth
from cryolatent.train.em.corrections import Corrections
from cryolatent.train.em.doubts import TRUST
from cryolatent.train.em.power import signal_of
from cryolatent.train.em.search import Search
from cryolatent.train.em.volumes import MaskedVolumes

RESULTS = Path(__file__).parent / "results"
STEPS = 20
app = App(help=__doc__)


@app.default
def measure(
    cell: str,
    data: Path,
    out: Path,
    *,
    posterior: str = "categorical",
    threads: int = 1,
    clusters: Annotated[int, Parameter(name="--clusters")] = 4,
) -> None:
    """Run `cryolatent train`, score it, and write the record."""
    program = Path(sys.executable).with_name("cryolatent")
    command = [program, "train", data / "particles.star", "-o", out / "run"]
    options = ["--posterior", posterior, "--threads", threads]
    out.mkdir(parents=True, exist_ok=True)
    usage: Usage = run_program([*command, *options], out / "train.log", threads=threads)
    run = Run.open(out / "run")
    analyze(run, clusters=clusters, truth=data / "truth")
    summary = read_summary(run)
    truth = summary.truth
    if truth is None:
        raise ValueError("no truth")
    found = ", ".join(f"{choice.chosen} {choice.name}" for choice in run.choices())
    notes = [f"chosen by held-out evidence: {found}"]
    if truth.ari is not None and truth.oracle_ari is not None:
        notes.append(f"Bayes oracle {_text(truth.oracle_ari)}")
        fitted = cross_fitted(open_star(data / "particles.star"), Truth.load(data / "truth"))
        notes.append(f"cross-fitted true labels {_text(fitted)}")
    if truth.motion is not None:
        notes.append(f"motion R² {_text(truth.motion.r2)}, oracle {_text(truth.motion.oracle_r2)}")
    record = new_record(
        cell,
        f"cryolatent_{posterior}",
        usage,
        threads=threads,
        ari=truth.ari,
        fsc_area=truth.fsc_area,
        note="; ".join(notes),
    )
    print(record.write(RESULTS), *notes, sep="\n")


@torch.no_grad()
def cross_fitted(stack: ParticleStack, truth: Truth) -> Estimate:
    """Classify each half of the particles with volumes from the other half's true labels.

    Args:
        stack: The particles.
        truth: Their truth; every particle is of a state.

    Returns:
        The adjusted Rand index: what a method could reach that is told the labels of all particles
        but the one in question.
    """
    state = torch.from_numpy(truth.state[truth.match(stack.ids, stack.source)])
    halves = stack.split(0)
    labels = torch.zeros(len(stack), dtype=torch.long)
    for first, second in (halves, halves[::-1]):
        labels[second] = _classified(stack, state, first, second, len(truth.state_names))
    return rand_index(labels.numpy(), state.numpy())


def _classified(
    stack: ParticleStack, state: Tensor, first: Tensor, second: Tensor, states: int
) -> Tensor:
    radius = 0.5 * stack.disc.box * 0.9
    pixel_size = stack.pixel_size_angstrom
    spectra = scan(stack, radius).statistics
    ball = soft_sphere(stack.disc.box, pixel_size, radius * pixel_size)
    search = Search(
        FilteredStack(stack, first),
        FilteredStack(stack, second),
        spectra,
        spectra.background.clone(),
        ball,
        None,
        lambda entry: None,
        signal_of(spectra, spectra.background),
        TRUST,
        TRUSTED,
        Corrections.none(stack, torch.device("cpu")),
    )
    lattice = search.lattice(stack.disc.radius)
    search.tighten(search.lattice(min(12, stack.disc.radius)))
    space = search.space(lattice, torch.ones(states - 1), torch.eye(states))
    values = space.values(_volumes(search, space, state, states))
    hypothesis = search.hypothesis(lattice, values, Categorical(states))
    found = torch.zeros(len(stack), dtype=torch.long)
    for part in search.held.chunks(lattice.disc):
        found[part.index] = hypothesis.explain(part).moments.posterior.mean.argmax(1)
    return found[second]


def _volumes(
    search: Search, space: MaskedVolumes, state: Tensor, states: int
) -> Float[Tensor, "k z y x"]:
    equations = NormalEquations(space.lattice, states, independent=True)
    gains = 1 / search.noise[space.lattice.disc.shells]
    for part in search.parts.chunks(space.lattice.disc):
        known = torch.nn.functional.one_hot(state[part.index[part.owner]], states).float()
        equations.insert(part.images, part.weights, gains, (known, known), part.rotations)
    blank = torch.zeros(states, *space.mask.shape[1:])
    return space.improve(blank, *equations.total(), STEPS)


def _text(estimate: Estimate) -> str:
    return f"{estimate.value:.3f} [{estimate.low:.3f}, {estimate.high:.3f}]"


if __name__ == "__main__":
    app()
