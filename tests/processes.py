"""Commands of the program in processes of their own, which can be signalled, limited and killed."""

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.context import ForkServerProcess
from pathlib import Path

CONTEXT = get_context("forkserver")
# imported once, by the server that children are forked from: a child begins in no time
CONTEXT.set_forkserver_preload(
    [
        "cryolatent.cli.main",
        "cryolatent.cli.tables",
        "cryolatent.cli.training",
        "cryolatent.train.em.driver",
        "cryolatent.train.gradient",
        "cryolatent.prepare.packing",
        "cryolatent.physics.kernels",
        "roma",
    ]
)
PATIENCE = 120


@dataclass(frozen=True)
class Command:
    """A command that runs, or has run."""

    process: ForkServerProcess
    output: Path

    @property
    def runs(self) -> bool:
        return self.process.is_alive()

    @property
    def cpu_seconds(self) -> float:
        """Processor time so far; of a command that has ended, all of it."""
        whole = self.output.with_suffix(".cpu")
        if whole.exists():
            return float(whole.read_text())
        try:
            return int(Path(f"/proc/{self.process.pid}/schedstat").read_text().split()[0]) / 1e9
        except OSError:
            return float("inf")

    @property
    def said(self) -> str:
        return self.output.read_text() if self.output.exists() else ""

    def send(self, number: signal.Signals) -> None:
        """Signal the command and whatever it started, as a terminal or a batch system does."""
        os.killpg(os.getpgid(self.process.pid or 0), number)

    def wait_until(self, ready: Callable[[], bool]) -> None:
        began = time.monotonic()
        while self.runs and not ready():
            assert time.monotonic() - began < PATIENCE, self.said
            time.sleep(0.005)

    def wait_for_work(self, cpu_seconds: float) -> None:
        """Wait until it has taken some processor time, however busy the machine is."""
        self.wait_until(lambda: self.cpu_seconds > cpu_seconds)

    def code(self) -> int:
        """Wait for the end; the exit code, or minus the signal that killed it."""
        self.process.join(PATIENCE)
        assert self.process.exitcode is not None, self.said
        return self.process.exitcode


def start(
    tokens: list[str], output: Path, before: Callable[..., None] | None = None, *limits: int
) -> Command:
    """Begin a command.

    Args:
        tokens: Command line without the program's name.
        output: File for what it prints, both streams.
        before: A function of a module that is called in the process first.
        limits: Its arguments.
    """
    process = CONTEXT.Process(target=_run, args=(tokens, str(output), before, limits))
    process.start()
    return Command(process, output)


def _run(
    tokens: list[str], output: str, before: Callable[..., None] | None, limits: tuple[int, ...]
) -> None:
    os.setsid()
    stream = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    os.dup2(stream, 1)
    os.dup2(stream, 2)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if before is not None:
        before(*limits)
    from cryolatent.cli.main import main

    try:
        main(tokens)
    finally:
        Path(output).with_suffix(".cpu").write_text(str(time.process_time()))
