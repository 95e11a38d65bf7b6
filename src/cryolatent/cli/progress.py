"""Progress on the terminal: a bar where someone watches, a line per epoch elsewhere."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

if TYPE_CHECKING:
    from cryolatent.train import Watch

console = Console(stderr=True)


def tell(line: str) -> None:
    """Print a line of progress as it is.

    Args:
        line: What has been done.
    """
    console.print(line, highlight=False, soft_wrap=True)


@contextmanager
def bar() -> Iterator[Callable[[str, int], Callable[[int], None]]]:
    """Show a progress bar for each stage.

    Yields:
        A function of a stage's name and total that returns a function of the units done.
    """
    columns = (
        TextColumn("{task.description:>18}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:

        def stage(name: str, total: int) -> Callable[[int], None]:
            task: TaskID = progress.add_task(name, total=total)
            return lambda done: progress.update(task, completed=done)

        yield stage


@contextmanager
def training_watch() -> Iterator["Watch"]:
    """Show a training's progress.

    Yields:
        What `train` is to tell.
    """
    from cryolatent.train import Watch

    with bar() as stage:
        watch = Watch()

        def begin(name: str, total: int) -> None:
            watch.advance = stage(name, total)

        watch.stage = begin
        watch.epoch = lambda entry: console.print(epoch_line(entry), highlight=False)
        yield watch


def epoch_line(entry: dict) -> str:
    """Say what an epoch, or a pass of expectation maximisation, came to.

    Args:
        entry: Its log entry.

    Returns:
        One line.
    """
    if "curve" in entry:
        return (
            f"pass {entry['epoch'] + 1:>4}  shells {entry['shells']:>3}  volumes "
            f"{entry['volumes']:>2}  evidence {entry['objective']:10.2f} nats/particle  "
            f"{entry['seconds']:.0f} s"
        )
    key, name = ("kl", "KL") if "kl" in entry else ("negative_log_prior", "-log prior")
    return (
        f"epoch {entry['epoch'] + 1:>4}  reconstruction {entry['reconstruction']:.4g}  "
        f"{name} {entry[key]:.3f}  {entry['seconds']:.0f} s"
    )
