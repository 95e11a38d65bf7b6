"""Where a training stands, and whom it tells."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from cryolatent.models import LossTerms


@dataclass
class Progress:
    """Where a training stands, and the sums of the running epoch.

    Args:
        epoch: Epochs finished.
        batch: Batches of the running epoch finished.
        step: Steps made since the start.
        reconstruction: Sum over the running epoch's particles.
        kl: Sum over the running epoch's particles, in nats.
        seconds: Wall time spent in training.
        cpu_seconds: Processor time spent in training.
    """

    epoch: int = 0
    batch: int = 0
    step: int = 0
    reconstruction: float = 0.0
    kl: float = 0.0
    seconds: float = 0.0
    cpu_seconds: float = 0.0

    def count(self, terms: LossTerms) -> None:
        """Count a step.

        Args:
            terms: The losses of its batch.
        """
        self.batch += 1
        self.step += 1
        self.reconstruction += float(terms.reconstruction.detach().double().sum())
        self.kl += float(terms.kl.detach().double().sum())

    def next_epoch(self) -> None:
        """Count an epoch and forget its sums."""
        self.epoch, self.batch = self.epoch + 1, 0
        self.reconstruction = self.kl = 0.0


@dataclass
class Watch:
    """What a training tells while it runs; by default nothing.

    Args:
        stage: Called with a stage's name and its number of units.
        advance: Called with the number of units done.
        epoch: Called with each finished epoch's log entry.
        stopping: Called when a signal has come and the step is still to be finished and saved;
            between any two instructions, so it may print but not through a buffer.
    """

    stage: Callable[[str, int], None] = lambda name, total: None
    advance: Callable[[int], None] = lambda done: None
    epoch: Callable[[dict], None] = lambda entry: None
    stopping: Callable[[], None] = lambda: None


def _clock() -> tuple[float, float]:
    return time.monotonic(), time.process_time()


@dataclass
class Stopwatch:
    """Adds the time that passed to a training's progress.

    Args:
        progress: Where the time is added.
    """

    progress: Progress
    since: tuple[float, float] = field(default_factory=_clock)

    def lap(self) -> None:
        """Add wall and processor time since the last lap."""
        now = _clock()
        self.progress.seconds += now[0] - self.since[0]
        self.progress.cpu_seconds += now[1] - self.since[1]
        self.since = now
