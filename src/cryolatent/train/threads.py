"""How many processor threads a training takes."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def free_threads() -> int:
    """Processors that this process may use and that others leave idle.

    Two threads that share a processor with other work wait for each other at every step, and are
    many times slower than one.

    Returns:
        At least 1, at most what PyTorch would take.
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    busy = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    return max(1, min(torch.get_num_threads(), round((allowed or 1) - busy)))


@contextmanager
def processor_threads(count: int) -> Iterator[None]:
    """Limit PyTorch's threads for a while.

    Args:
        count: Number of threads; 0 changes nothing.

    Yields:
        Nothing.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
