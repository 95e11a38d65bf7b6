"""Particles dealt out in chunks to threads."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
CHUNK_BYTES = 8 << 20


def available_cores() -> int:
    """Processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def chunks(count: int, box: int) -> list[range]:
    """Divide images into chunks of about 8 MiB.

    Args:
        count: Number of images.
        box: Their side in pixels.

    Returns:
        Consecutive ranges.
    """
    step = max(1, CHUNK_BYTES // (4 * box * box))
    return [range(start, min(start + step, count)) for start in range(0, count, step)]


def over_threads(
    function: Callable[[range], T], todo: Sequence[range], workers: int
) -> Iterator[tuple[range, T]]:
    """Apply a function to chunks on several threads; an error or an interrupt stops the rest.

    Args:
        function: Applied to each chunk; it should spend its time outside the interpreter.
        todo: The chunks.
        workers: Number of threads.

    Yields:
        Chunks and results, in order.
    """
    with ThreadPoolExecutor(workers) as pool:
        try:
            yield from zip(todo, pool.map(function, todo), strict=True)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
