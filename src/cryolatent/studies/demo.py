"""The demo: one simulated data set, one decoder, two posteriors, one report."""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.context import SpawnProcess
from pathlib import Path

from cryolatent.analysis import Summary, analyze, read_summary
from cryolatent.config.training import TrainConfig
from cryolatent.data import open_particles
from cryolatent.errors import CryolatentError, InputError
from cryolatent.report import render
from cryolatent.runs.run import Run
from cryolatent.sessions.training import begin, opened, train
from cryolatent.simulate.config import SimulateConfig
from cryolatent.simulate.stack import simulate
from cryolatent.train import processor_threads

POSTERIORS = ("categorical", "exact")
SIMULATION = SimulateConfig(
    particles=5000,
    box=64,
    pixel_size=4.5,
    snr=0.05,
    noise_colour=2.0,
    angle_error=3.0,
    shift_error=0.5,
    contrast_spread=0.15,
    junk=0.05,
)


@dataclass(frozen=True)
class DemoResult:
    """What the demo made.

    Args:
        report: The page.
        runs: The two runs.
        summaries: Their findings.
    """

    report: Path
    runs: tuple[Run, ...]
    summaries: tuple[Summary, ...]


def configuration(posterior: str) -> TrainConfig:
    """The demo's options of one training: one thread, since two trainings run side by side.

    Args:
        posterior: ``categorical`` or ``exact``.

    Returns:
        Options.
    """
    return TrainConfig.of(posterior=posterior, threads=1)


def demo(
    output: Path,
    *,
    simulation: SimulateConfig = SIMULATION,
    configure: Callable[[str], TrainConfig] = configuration,
    tell: Callable[[str], None] = lambda line: None,
) -> DemoResult:
    """Simulate, train twice, analyse twice, report; what is finished already is kept.

    Args:
        output: Folder for everything.
        simulation: The data set.
        configure: Options of the training of each posterior.
        tell: Called with a line at each stage and epoch.

    Returns:
        The report's path and the findings.

    Raises:
        InputError: If the folder holds runs with other options.
        CryolatentError: If a training fails.
    """
    data = output / "data"
    if not data.exists():
        tell(f"simulating {simulation.particles} particles, box {simulation.box}")
        simulate(simulation, data)
    elif not (data / "truth" / "truth.npz").exists():
        raise InputError(data, "other files", "the demo's own data", "Choose another -o.")
    runs = tuple(
        _open_or_create(output / posterior, configure(posterior), data) for posterior in POSTERIORS
    )
    _work_side_by_side([run for run in runs if not run.is_analysed], data / "truth", tell)
    runs = tuple(Run.open(run.path) for run in runs)
    summaries = tuple(read_summary(run) for run in runs)
    report = render(runs, output / "report.html")
    return DemoResult(report, runs, summaries)


def _open_or_create(path: Path, config: TrainConfig, data: Path) -> Run:
    stack = open_particles(data / "particles.star", **config.data.reading())
    return opened(path, config, stack) or begin(path, config, stack)


def _work_side_by_side(runs: list[Run], truth: Path, tell: Callable[[str], None]) -> None:
    """Train and analyse each run in a process of its own, and tell its epochs as they come."""
    if not runs:
        return
    tell(f"training {' and '.join(run.name for run in runs)} side by side, one thread each")
    told = {run.name: len(run.entries()) for run in runs}
    context = get_context("spawn")
    workers = {run.name: context.Process(target=_work, args=(run.path, truth)) for run in runs}
    try:
        for worker in workers.values():
            worker.start()
        while any(worker.is_alive() for worker in workers.values()):
            time.sleep(0.5)
            _check(workers)
            for run in runs:
                for entry in run.entries()[told[run.name] :]:
                    tell(_line(run, entry))
                    told[run.name] += 1
        _check(workers)
    finally:
        for worker in workers.values():
            if worker.is_alive():
                worker.terminate()
                worker.join()


def _check(workers: dict[str, SpawnProcess]) -> None:
    failed = [name for name, worker in workers.items() if worker.exitcode]
    if failed:
        raise CryolatentError(f"the training of {failed[0]} failed, see above; it can be continued")


def _work(path: Path, truth: Path) -> None:
    """Train and analyse a run in a process of its own."""
    run = Run.open(path)
    try:
        if run.manifest.status != "finished":
            train(run, run.open_stack())
        with processor_threads(run.manifest.threads):
            # a search may have chosen the number of latent dimensions
            analyze(Run.open(path), truth=truth)
    except CryolatentError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)


def _line(run: Run, entry: dict) -> str:
    return (
        f"{run.name:>12}  pass {entry['epoch'] + 1:>3}  shells {entry['shells']:>3}  "
        f"volumes {entry['volumes']:>2}  evidence {entry['objective']:10.2f}  "
        f"{entry['seconds']:5.0f} s"
    )
