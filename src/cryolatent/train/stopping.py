"""Training that is told to end ends after its step, once that is saved."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stop:
    """A signal that waits for the end of a step."""

    asked: signal.Signals | None = None
    """The signal, if one has come."""

    def obey(self) -> None:
        """Do what the signal would have done when it came; nothing if none has come."""
        if self.asked is not None:
            signal.raise_signal(self.asked)


@contextmanager
def stopping(tell: Callable[[], None]) -> Iterator[Stop]:
    """Hold back an interrupt or a request to end until `Stop.obey`; a second one acts at once.

    What is not the main thread hears of no signals, and what ignores them goes on ignoring them.

    Args:
        tell: Called when a signal has come, between any two instructions.

    Yields:
        Where to ask, and to obey after each step; in the end it is obeyed in any case.
    """
    stop, before = Stop(), {number: signal.getsignal(number) for number in SIGNALS}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def hold(number: int, frame: FrameType | None) -> None:
        restore()
        stop.asked = signal.Signals(number)
        tell()

    if threading.current_thread() is not threading.main_thread() or None in before.values():
        yield stop
        return
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, hold)
    try:
        yield stop
    finally:
        restore()
    stop.obey()
