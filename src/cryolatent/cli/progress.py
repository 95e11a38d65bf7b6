"""Progress on the terminal: a bar where someone watches, a line per epoch elsewhere."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
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

from cryolatent.progress import Advance, Stage

if TYPE_CHECKING:
    from cryolatent.train import Watch

console = Console(stderr=True)
FIRST = 1
"""Seconds before the first line of progress in a file."""
QUIET = 10
"""Seconds between two lines of progress in a file."""
STOPPING = b"\nfinishing the step and saving it; a second signal ends at once, without this step\n"
STDERR = 2


def tell(line: str) -> None:
    """Print a line of progress as it is.

    Args:
        line: What has been done.
    """
    console.print(line, highlight=False, soft_wrap=True)


@dataclass
class Meter:
    """How far a stage has come.

    Args:
        name: What is done.
        total: Its units of work.
    """

    name: str
    total: int
    done: int = 0
    began: float = field(default_factory=time.monotonic)
    started_at: int | None = None

    def advance(self, done: int) -> None:
        """Note the units that are done; those of the first call were done before."""
        if self.started_at is None:
            self.started_at, self.began = done, time.monotonic()
        self.done = done

    def __str__(self) -> str:
        share = min(1.0, self.done / max(1, self.total))
        here = self.done - (self.started_at or 0)
        if here <= 0 or share >= 1:
            return f"{share:.0%}"
        passed = time.monotonic() - self.began
        return f"{share:.0%}, about {duration(passed * (self.total - self.done) / here)} left"


def duration(seconds: float) -> str:
    """Say how long something takes.

    Args:
        seconds: Time.

    Returns:
        Such as ``40 s``, ``12 min``, ``3.5 h``.
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


@contextmanager
def bar() -> Iterator[Stage]:
    """Show a progress bar for each stage; in a file a line now and then.

    Yields:
        What work is to tell.
    """
    if not console.is_terminal:
        yield _lines
        return
    columns = (
        TextColumn("{task.description:>18}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress:

        def stage(name: str, total: int) -> Advance:
            task: TaskID = progress.add_task(name, total=total)
            return lambda done: progress.update(task, completed=done)

        yield stage


def _lines(name: str, total: int) -> Advance:
    """Progress for a file: a line after `FIRST` seconds, then one in `QUIET` seconds."""
    meter, next_ = Meter(name, total), time.monotonic() + FIRST

    def advance(done: int) -> None:
        nonlocal next_
        meter.advance(done)
        if time.monotonic() >= next_ and done < total:
            tell(f"{name}: {meter}")
            next_ = time.monotonic() + QUIET

    return advance


@contextmanager
def training_watch() -> Iterator["Watch"]:
    """Show a training's progress: a bar, and a line for each epoch or pass.

    Yields:
        What `train` is to tell.
    """
    from cryolatent.train import Watch

    with bar() as stage:
        watch, meter = Watch(), Meter("", 0)

        def begin(name: str, total: int) -> None:
            nonlocal meter
            meter, shown = Meter(name, total), stage(name, total)

            def advance(done: int) -> None:
                meter.advance(done)
                shown(done)

            watch.advance = advance

        watch.stage = begin
        watch.epoch = lambda entry: tell(epoch_line(entry, str(meter)))
        watch.stopping = _tell_of_stopping
        yield watch


def _tell_of_stopping() -> None:
    # not through the console, which the signal may have found in the middle of a line
    os.write(STDERR, STOPPING)


def epoch_line(entry: dict, far: str) -> str:
    """Say what an epoch, or a pass of expectation maximisation, came to.

    Args:
        entry: Its log entry.
        far: How far the training has come.

    Returns:
        One line.
    """
    if "curve" in entry:
        remarks = "".join(f" ({remark})" for remark in entry.get("remarks", ()))
        return (
            f"pass {entry['epoch'] + 1:>3} at {entry['angstrom']:.1f} Å, {entry['volumes']} "
            f"volumes: evidence {entry['objective']:.2f} nats per particle; {far}{remarks}"
        )
    key, name = ("kl", "KL") if "kl" in entry else ("negative_log_prior", "-log prior")
    return (
        f"epoch {entry['epoch'] + 1:>3}: reconstruction {entry['reconstruction']:.4g}, "
        f"{name} {entry[key]:.3f}; {far}"
    )
