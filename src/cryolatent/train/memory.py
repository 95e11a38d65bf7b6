"""What keeps memory allocator and processor out of a training's way."""

import torch


def keep_freed_memory() -> None:
    """Let the process keep the memory of a step's activations for the next step.

    The allocator of glibc returns large blocks to the system and gets them back page by page: a
    fifth of the time of a step with few coefficients. It adapts to the largest block freed so far,
    of at most 32 MiB. So one is freed here, without being touched. Other allocators take no notice.
    """
    torch.empty(31 * 2**20, dtype=torch.uint8)


def flush_denormals() -> None:
    """Take numbers below about 1e-38 for zero, in this thread.

    Weights of units that never fire decay to such numbers, and a processor takes many times as long
    for a product with one: a decoder trained on a collapsed table ran at a fifth of its speed.
    """
    torch.set_flush_denormal(True)
