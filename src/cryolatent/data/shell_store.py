"""Filtered images of many particles, band by band of shells: on a device, in memory, or in a file.

A pass over the first shells reads the first bands alone. The file is one without a name beside the
run: it vanishes with the process, however that ends.
"""

import os
import tempfile
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Complex, Float, Int
from torch import Tensor

from cryolatent.errors import InputError
from cryolatent.physics import FourierDisc
from cryolatent.physics.grid import CPU

FIRST_BAND, GROWTH = 4, 1.5
"""Last shell of the first band, and how much further the next one reaches."""

DEVICE_SHARE = 0.6
"""Of a device's free memory, what images may take."""

BYTES = 12
"""Of a coefficient: a complex number and a weight."""


def free_bytes() -> int:
    """Memory of this machine that could be had without swapping.

    Returns:
        Bytes.
    """
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    sizes = dict(line.split(":") for line in lines)
    return 1024 * int(sizes["MemAvailable"].split()[0])


class ShellStore:
    """Filtered images and squared transfer functions, a row for each observation.

    Args:
        disc: The coefficients of all bands, shell by shell.
        rows: Number of observations.
        memory_bytes: How much memory of the processor may be taken; more goes to a file.
        device: Where rows are wanted; they lie there if there is room.
        scratch: Folder of the file; the system's own by default.

    Raises:
        InputError: If the disk has no room.
    """

    def __init__(
        self,
        disc: FourierDisc,
        rows: int,
        memory_bytes: int,
        device: torch.device = CPU,
        scratch: Path | None = None,
    ) -> None:
        self.device = device
        sizes = band_sizes(disc)
        size = BYTES * rows * disc.size + 8 * len(sizes)
        if device.type == "cuda" and size <= DEVICE_SHARE * torch.cuda.mem_get_info(device)[0]:
            space = torch.empty(size, dtype=torch.uint8, device=device)
        elif size <= memory_bytes:
            space = torch.empty(size, dtype=torch.uint8)
        else:
            space = _file(size, scratch)
        self._bands = list(_divided(space, rows, sizes))

    def write(
        self,
        rows: Int[Tensor, " n"],
        images: Complex[Tensor, "n k"],
        weights: Float[Tensor, "n k"],
    ) -> None:
        """Keep some observations.

        Args:
            rows: Which.
            images: Filtered images, all coefficients.
            weights: Squared transfer functions.
        """
        first = 0
        for kept_images, kept_weights in self._bands:
            columns = slice(first, first + kept_images.shape[1])
            place = rows.to(kept_images.device)
            kept_images[place] = images[:, columns].to(kept_images.device)
            kept_weights[place] = weights[:, columns].to(kept_images.device)
            first = columns.stop

    def read(
        self, rows: slice, coefficients: int
    ) -> tuple[Complex[Tensor, "n k"], Float[Tensor, "n k"]]:
        """The first coefficients of some observations.

        Args:
            rows: Which.
            coefficients: How many.

        Returns:
            Filtered images and squared transfer functions, on the device.
        """
        found, left = [], coefficients
        for band in self._bands:
            columns = slice(0, min(left, band[0].shape[1]))
            found.append([part[rows, columns] for part in band])
            left -= columns.stop
            if not left:
                break
        images, weights = (torch.cat(parts, dim=1) for parts in zip(*found, strict=True))
        return images.to(self.device), weights.to(self.device)


def band_sizes(disc: FourierDisc) -> list[int]:
    """How many coefficients each band holds.

    Args:
        disc: All of them.

    Returns:
        Numbers, from the lowest shells on.
    """
    edges, edge = [0], float(FIRST_BAND)
    while round(edge) < disc.radius:
        edges.append(round(edge))
        edge *= GROWTH
    count = disc.shell_count().cumsum(0)
    ends = [int(count[edge]) for edge in (*edges, disc.radius)]
    return [b - a for a, b in pairwise(ends)]


def _divided(space: Tensor, rows: int, sizes: list[int]) -> list[tuple[Tensor, Tensor]]:
    """Images and weights of each band, one after the other in memory."""
    bands, at = [], 0
    for size in sizes:
        ends = at + 8 * rows * size, at + BYTES * rows * size
        images = space[at : ends[0]].view(torch.complex64).view(rows, size)
        weights = space[ends[0] : ends[1]].view(torch.float32).view(rows, size)
        bands.append((images, weights))
        # the next band begins where complex numbers may
        at = ends[1] + ends[1] % 8
    return bands


def _file(size: int, folder: Path | None) -> Tensor:
    """A map of a file that has no name any more."""
    with tempfile.TemporaryFile(dir=folder) as stream:
        try:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(stream.fileno(), 0, size)
            return torch.from_numpy(np.memmap(stream, np.uint8, "r+", shape=(size,)))
        except OSError as error:
            raise InputError(
                folder or tempfile.gettempdir(),
                f"{error.strerror}",
                f"{size / 1e9:.1f} GB for the particles' filtered images",
                "Make room there, or let them be kept in memory with a larger `memory`.",
            ) from None
