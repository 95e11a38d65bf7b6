"""Run the report's experiments and write their page; what is finished already is kept."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

from cryolatent.analysis import oracle, rand_index
from cryolatent.config.reading import ReadingConfig
from cryolatent.errors import InputError
from cryolatent.io.files import write_text_atomically
from cryolatent.runs.finding import Estimate
from cryolatent.simulate.stack import simulate
from cryolatent.simulate.truth import Truth
from cryolatent.studies.reproduce.experiments import BY_NAME, EXPERIMENTS, Experiment
from cryolatent.studies.reproduce.measures import Measures
from cryolatent.studies.reproduce.page import write_page
from cryolatent.studies.reproduce.results import Results
from cryolatent.studies.reproduce.scales import Scale
from cryolatent.studies.reproduce.work import Particles, Task, work
from cryolatent.studies.workers import Job, work_side_by_side

DECODERS = ("mlp", "subspace")
CLUSTERS_WITHOUT_TRUTH = 6


@dataclass(frozen=True)
class Request:
    """What to reproduce.

    Args:
        names: Experiments or figures, or ``all``.
        output: Folder for data, runs and page.
        scale: How large.
        decoders: On which decoders.
        star: Particles of one's own instead of simulated ones.
        reading: How these are read.
        workers: Number of trainings side by side, one thread each.
    """

    names: tuple[str, ...]
    output: Path
    scale: Scale
    decoders: tuple[str, ...] = DECODERS
    star: Path | None = None
    reading: ReadingConfig = field(default_factory=ReadingConfig)
    workers: int = 2


def reproduce(
    request: Request,
    tell: Callable[[str], None] = lambda line: None,
    stage: Callable[[str, int], Callable[[int], None]] = lambda name, total: lambda done: None,
) -> Path:
    """Run experiments, judge them against the report, and write the page.

    Args:
        request: What to do.
        tell: Called with a line as each training ends.
        stage: Called with a name and the number of trainings; what it returns is called with the
            number of those that have ended.

    Returns:
        The page, ``reproduce.html``.

    Raises:
        InputError: If an experiment is not known or the folder holds other runs.
        CryolatentError: If a training fails.
    """
    experiments = chosen(request.names)
    particles = _particles(request, tell)
    best = _oracle(request, particles)
    clusters = CLUSTERS_WITHOUT_TRUTH
    if particles.truth is not None:
        clusters = len(Truth.load(particles.truth).state_names)
    jobs = plan(request, experiments, particles, clusters)
    done, advance = 0, stage("experiments", len(jobs))

    def note(name: str, measures: Measures) -> None:
        nonlocal done
        done += 1
        tell(f"[{done:>3}/{len(jobs)}] {name:<36} {_line(measures)}")
        advance(done)

    measured = work_side_by_side(jobs, request.workers, note)
    results = Results(request.output / "runs", measured, particles, best)
    named = [request.names, request.scale.name, request.output, request.star]
    return write_page(experiments, request.decoders, request.scale, results, _command(*named))


def _line(measures: Measures) -> str:
    if measures.diverged:
        return "diverged"
    ari = "" if measures.ari is None else f"ARI {measures.ari.value:6.3f}  "
    return f"{ari}{measures.steps:>7} steps  {measures.core_seconds:5.0f} core-s"


def chosen(names: Collection[str]) -> tuple[Experiment, ...]:
    """The experiments that are asked for, with those that they are compared with.

    Args:
        names: Names such as ``twin-permuted``, figures such as ``fig7``, or ``all``.

    Returns:
        Experiments in the order of the page.

    Raises:
        InputError: If a name is not known.
    """
    wanted: set[str] = {"baseline"}
    for name in names:
        found = {e.name for e in EXPERIMENTS if name in (e.name, "all", *_figures(e))}
        if not found:
            raise InputError(
                "cryolatent reproduce",
                name,
                "a figure, an experiment or all",
                "See reproduce list.",
            )
        wanted |= found
    while missing := {n for name in wanted for n in _needs(BY_NAME[name])} - wanted:
        wanted |= missing
    return tuple(e for e in EXPERIMENTS if e.name in wanted)


def _figures(experiment: Experiment) -> list[str]:
    return [f"fig{number}" for number in experiment.figures]


def _needs(experiment: Experiment) -> set[str]:
    return {experiment.against} | ({experiment.pretrained} if experiment.pretrained else set())


def plan(
    request: Request, experiments: Collection[Experiment], particles: Particles, clusters: int
) -> list[Job]:
    """The trainings.

    Args:
        request: What to do.
        experiments: The experiments.
        particles: The data.
        clusters: Number of clusters looked for.

    Returns:
        Jobs named ``decoder/experiment/seed``, those of the first decoder first.
    """
    jobs, runs = [], request.output.resolve() / "runs"
    # whatever is asked for, so that a run is the same for every question
    moving = {e.against for e in EXPERIMENTS if e.move is not None}
    for decoder, experiment in product(request.decoders, experiments):
        if experiment.move is not None or decoder not in experiment.decoders:
            continue
        for seed in request.scale.seeds_of(experiment, decoder):
            name = f"{decoder}/{experiment.name}/{seed}"
            parent = experiment.pretrained and f"{decoder}/{experiment.pretrained}/{seed}"
            task = Task(
                path=runs / name,
                config=request.scale.config(
                    experiment,
                    decoder,
                    seed,
                    parent=runs / parent if parent else None,
                    reading=particles.reading.model_dump(exclude_none=True),
                ),
                clusters=clusters,
                scored=request.scale.scored,
                drawn=request.scale.drawn if seed == 0 else 0,
                moves=experiment.name in moving,
            )
            jobs.append(Job(name, work, (task, particles), (parent,) if parent else ()))
    return jobs


def _particles(request: Request, tell: Callable[[str], None]) -> Particles:
    if request.star is not None:
        scale = request.scale
        return Particles(request.star, request.reading, None, scale.hold_out, scale.held)
    data, options = request.output / "data", request.scale.simulation
    if not data.exists():
        tell(f"simulating {options.particles} particles, box {options.box}")
        simulate(options, data)
    if not (data / "truth" / "truth.npz").exists():
        raise InputError(data, "other files", "the study's own data", "Choose another -o.")
    return Particles(
        data / "particles.star",
        ReadingConfig(),
        data / "truth",
        request.scale.hold_out,
        request.scale.held,
    )


def _oracle(request: Request, particles: Particles) -> Estimate | None:
    """The adjusted Rand index of someone who knows the true volumes, on the trained particles."""
    if particles.truth is None:
        return None
    path = request.output / "data" / "oracle.json"
    if not path.exists():
        config = request.scale.config(BY_NAME["baseline"], request.decoders[0], 0)
        stack, _ = particles.stacks(config)
        truth = Truth.load(particles.truth)
        rows = truth.match(stack.ids, particles.star)
        found = rand_index(oracle(stack, truth, rows).state, truth.state[rows])
        write_text_atomically(path, found.model_dump_json())
    return Estimate.model_validate_json(path.read_text())


def _command(names: Collection[str], scale: str, output: Path, star: Path | None) -> str:
    source = f" --input {star}" if star else ""
    return f"cryolatent reproduce {' '.join(names)} --scale {scale}{source} -o {output}"
