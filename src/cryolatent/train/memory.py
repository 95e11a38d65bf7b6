"""What keeps memory allocator and processor out of a training's way."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

DENORMAL = 1e-40


def keep_freed_memory() -> None:
    """Let the process keep the memory of a step's activations for the next step.

    The allocator of glibc returns large blocks to the system and gets them back page by page: a
    fifth of the time of a step with few coefficients. It adapts to the largest block freed so far,
    of at most 32 MiB. So one is freed here, without being touched. Other allocators take no notice.
    """
    torch.empty(31 * 2**20, dtype=torch.uint8)


@contextmanager
def flushing_denormals() -> Iterator[None]:
    """Take numbers below about 1e-38 for zero for a while, in this thread.

    Weights of units that never fire decay to such numbers, and a processor takes many times as long
    for a product with one: a decoder trained on a collapsed table ran at a fifth of its speed.

    Yields:
        Nothing.
    """
    before = float(torch.tensor(DENORMAL) * 1) == 0
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)
