"""Runs programs and measures what they cost."""

import csv
import json
import os
import subprocess
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import asdict, dataclass, field
from pathlib import Path

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "NUMBA_NUM_THREADS",
)
POLL_SECONDS = 0.5
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
CPU_FIELDS = slice(11, 15)  # user, system, and both of the children that ended
START_FIELD = 19
USAGE = "usage.json"
MILESTONES = "milestones.csv"
COLUMNS = ("file", "wall_seconds", "cpu_seconds", "peak_memory_mb")


@dataclass(frozen=True)
class Milestone:
    """When a file appeared.

    Args:
        file: Its name.
        wall_seconds: Since the program's start.
        cpu_seconds: User and system time of the program and its ended children until then.
        peak_memory_mb: Largest resident set of the program until then, in MB.
    """

    file: str
    wall_seconds: float
    cpu_seconds: float
    peak_memory_mb: float


@dataclass(frozen=True)
class Usage:
    """What a program used.

    Args:
        command: The program and its arguments.
        wall_seconds: From start to end.
        cpu_seconds: User and system time, children included.
        peak_memory_mb: Largest resident set of the program or of one of its children, in MB.
        milestones: The files it wrote on the way, where asked for.
    """

    command: tuple[str, ...]
    wall_seconds: float
    cpu_seconds: float
    peak_memory_mb: float
    milestones: tuple[Milestone, ...] = field(default=(), repr=False)

    def __add__(self, other: "Usage") -> "Usage":
        """The usage of two programs run one after the other; the second one's command."""
        return Usage(
            other.command,
            self.wall_seconds + other.wall_seconds,
            self.cpu_seconds + other.cpu_seconds,
            max(self.peak_memory_mb, other.peak_memory_mb),
            other.milestones,
        )

    def save(self, path: Path) -> None:
        """Keep it, so that a score can be made again.

        Args:
            path: A JSON file.
        """
        path.write_text(json.dumps(asdict(self), indent=2) + "\n")

    @staticmethod
    def load(path: Path) -> "Usage":
        """Read what `save` wrote.

        Args:
            path: The JSON file.

        Returns:
            The usage.
        """
        columns = json.loads(path.read_text())
        marks = tuple(Milestone(**mark) for mark in columns.pop("milestones"))
        return Usage(tuple(columns.pop("command")), **columns, milestones=marks)


def run_program(
    command: Sequence[str | Path],
    log: Path,
    *,
    folder: Path | None = None,
    threads: int = 1,
    watch: tuple[Path, str] | None = None,
) -> Usage:
    """Run a program to its end and measure it.

    Args:
        command: The program and its arguments.
        log: Where its output goes.
        folder: Its working directory; the caller's if left out.
        threads: Threads its numerical libraries may use.
        watch: Folder and pattern of the files to note as milestones, also kept in the folder's
            ``milestones.csv`` as they come.

    Returns:
        What it used.

    Raises:
        RuntimeError: If the program fails.
    """
    words = tuple(map(str, command))
    log.parent.mkdir(parents=True, exist_ok=True)
    milestones: list[Milestone] = []

    def note(marks: Iterable[Milestone]) -> None:
        for mark in marks:
            milestones.append(mark)
            append_milestone(mark, watch[0] / MILESTONES)

    before = set() if watch is None else names_in(*watch)
    start = time.monotonic()
    with log.open("w") as stream:
        program = subprocess.Popen(
            words,
            cwd=folder,
            stdout=stream,
            stderr=subprocess.STDOUT,
            env=with_threads(os.environ, threads),
        )
    watcher = threading.Thread(target=lambda: note(follow(program.pid, before, *watch)))
    if watch is not None:
        watcher.start()
    status, usage = wait(program.pid)
    wall = time.monotonic() - start
    cpu, peak = usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024
    program.returncode = os.waitstatus_to_exitcode(status)
    if watch is not None:
        watcher.join()
        # what it wrote in its last moments
        unseen = names_in(*watch) - before - {mark.file for mark in milestones}
        note(Milestone(name, wall, cpu, peak) for name in sorted(unseen))
    if program.returncode:
        raise RuntimeError(f"{log}: {words[0]} ended with code {program.returncode}; read the log.")
    return Usage(words, wall, cpu, peak, tuple(milestones))


def wait(pid: int):
    """Wait for a child to end.

    Args:
        pid: The child.

    Returns:
        Its wait status and its resource usage, which counts the children that it waited for.
    """
    _, status, usage = os.wait4(pid, 0)
    return status, usage


def with_threads(environment: Mapping[str, str], threads: int) -> dict[str, str]:
    """An environment in which numerical libraries use a given number of threads.

    Args:
        environment: The variables to start from.
        threads: Number of threads.

    Returns:
        The changed copy.
    """
    return dict(environment) | dict.fromkeys(THREAD_VARIABLES, str(threads))


def names_in(folder: Path, pattern: str) -> set[str]:
    """List files.

    Args:
        folder: Where to look.
        pattern: Glob pattern of the files.

    Returns:
        Their names.
    """
    return {path.name for path in folder.glob(pattern)}


def follow(pid: int, before: Set[str], folder: Path, pattern: str) -> Iterator[Milestone]:
    """Note when a running program writes files.

    Args:
        pid: The program.
        before: Files that were there already.
        folder: Where it writes.
        pattern: Glob pattern of the files.

    Yields:
        One milestone per file, as soon as it is there, until the program has ended.
    """
    seen = set(before)
    while (used := used_so_far(pid)) is not None:
        for path in sorted(folder.glob(pattern), key=lambda path: path.stat().st_mtime):
            if path.name not in seen:
                seen.add(path.name)
                yield Milestone(path.name, *used)
        time.sleep(POLL_SECONDS)


def used_so_far(pid: int) -> tuple[float, float, float] | None:
    """What a running program has used.

    Args:
        pid: The program.

    Returns:
        Wall seconds since its start, CPU seconds and its largest resident set in MB, or None if it
        has ended.
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # the name may hold spaces, but ends at the last parenthesis
    fields = text.rpartition(")")[2].split()
    peak = next((line for line in status.splitlines() if line.startswith("VmHWM")), None)
    if peak is None:  # ended, but not waited for
        return None
    up = float(Path("/proc/uptime").read_text().split()[0])
    wall = up - int(fields[START_FIELD]) / TICKS_PER_SECOND
    cpu = sum(int(ticks) for ticks in fields[CPU_FIELDS]) / TICKS_PER_SECOND
    return wall, cpu, int(peak.split()[1]) / 1024


def append_milestone(mark: Milestone, path: Path) -> None:
    """Add a milestone to a table.

    Args:
        mark: The milestone.
        path: A CSV file, begun if missing.
    """
    new = not path.exists()
    with path.open("a", newline="") as stream:
        writer = csv.writer(stream)
        if new:
            writer.writerow(COLUMNS)
        writer.writerow((mark.file, *(f"{getattr(mark, name):.2f}" for name in COLUMNS[1:])))


def read_milestones(path: Path) -> tuple[Milestone, ...]:
    """Read what `append_milestone` wrote.

    Args:
        path: The CSV file.

    Returns:
        The milestones.
    """
    with path.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    return tuple(
        Milestone(row["file"], *(float(row[name]) for name in COLUMNS[1:])) for row in rows
    )
