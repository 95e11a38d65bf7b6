"""One JSON record per measurement."""

import datetime
import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.peers.measure import Usage
from cryolatent.analysis.summary import Estimate


@dataclass(frozen=True)
class Point:
    """Quality at a cost, on the way of an iterative method.

    Args:
        step: Epoch or iteration.
        cpu_seconds: Until then.
        ari: Adjusted Rand index then.
    """

    step: int
    cpu_seconds: float
    ari: float


@dataclass(frozen=True)
class Record:
    """A measurement.

    Args:
        cell: Data set.
        method: Program and settings.
        command: What was run, with paths left to their names.
        date: Day of the measurement.
        machine: Processor and number of cores.
        load_average: Runnable processes over the last 15 minutes; above the number of cores, wall
            seconds grow, and CPU seconds may, as caches and memory are shared.
        threads: Threads allowed.
        wall_seconds: From start to end.
        cpu_seconds: User and system time.
        peak_memory_mb: Largest resident set, in MB.
        ari: Adjusted Rand index against the true states.
        ari_low: Lower end of its 95 % bootstrap interval.
        ari_high: Upper end.
        fsc_area: Mean per-image FSC area.
        fsc_area_low: Lower end of its 95 % bootstrap interval.
        fsc_area_high: Upper end.
        images_per_core_second: Images in one pass over the CPU seconds of the pass.
        note: What else one should know.
        curve: Quality on the way.
    """

    cell: str
    method: str
    command: str
    date: str
    machine: str
    load_average: float
    threads: int
    wall_seconds: float
    cpu_seconds: float
    peak_memory_mb: float
    ari: float | None = None
    ari_low: float | None = None
    ari_high: float | None = None
    fsc_area: float | None = None
    fsc_area_low: float | None = None
    fsc_area_high: float | None = None
    images_per_core_second: float | None = None
    note: str = ""
    curve: tuple[Point, ...] = ()

    def write(self, folder: Path) -> Path:
        """Write the record.

        Args:
            folder: Where the records are kept.

        Returns:
            The file, named after cell and method.
        """
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{self.cell}_{self.method}.json"
        path.write_text(json.dumps(asdict(self), indent=2, allow_nan=False) + "\n")
        return path


def new_record(  # noqa: PLR0913
    cell: str,
    method: str,
    usage: Usage,
    *,
    threads: int = 1,
    ari: Estimate | None = None,
    fsc_area: Estimate | None = None,
    images_per_core_second: float | None = None,
    note: str = "",
    curve: Sequence[Point] = (),
) -> Record:
    """Make a record of a program that ran on this machine today.

    Args:
        cell: Data set.
        method: Program and settings.
        usage: What the program used.
        threads: Threads allowed.
        ari: Adjusted Rand index.
        fsc_area: Mean per-image FSC area.
        images_per_core_second: Speed of one pass.
        note: What else one should know.
        curve: Quality on the way.

    Returns:
        The record.
    """
    return Record(
        cell=cell,
        method=method,
        command=" ".join(_bare(word) for word in usage.command),
        date=datetime.date.today().isoformat(),
        machine=describe_machine(),
        load_average=round(os.getloadavg()[2], 1),
        threads=threads,
        wall_seconds=round(usage.wall_seconds, 2),
        cpu_seconds=round(usage.cpu_seconds, 2),
        peak_memory_mb=round(usage.peak_memory_mb, 1),
        **_rounded("ari", ari),
        **_rounded("fsc_area", fsc_area),
        images_per_core_second=images_per_core_second and round(images_per_core_second, 2),
        note=note,
        curve=tuple(curve),
    )


def describe_machine() -> str:
    """Name the processor and its cores.

    Returns:
        For example ``AMD EPYC, 2 cores``.
    """
    model = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    return f"{model}, {os.cpu_count()} cores"


def _bare(word: str) -> str:
    return Path(word).name if word.startswith("/") else word


def _rounded(name: str, estimate: Estimate | None) -> dict[str, float]:
    if estimate is None:
        return {}
    parts = {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
    return {key: round(value, 4) for key, value in parts.items()}
