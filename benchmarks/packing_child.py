"""One measurement of ``benchmarks.packing`` in a process of its own.

python -m benchmarks.packing_child bare|prepare|batches STAR PACKED
"""

import json
import re
import shutil
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import scipy.fft
import torch

from benchmarks.packing import CROPPED, EPOCH
from cryolatent.data import open_particles
from cryolatent.io import read_images
from cryolatent.prepare.opening import open_mixed
from cryolatent.prepare.packing import Packing, pack
from cryolatent.prepare.work import available_cores, chunks

EVERY = 0.01


def main() -> None:
    """Measure one thing and print a JSON line."""
    what, star, packed = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    shutil.rmtree(packed, ignore_errors=True)
    packed.with_suffix(".bare").unlink(missing_ok=True)
    torch.set_num_threads(1)
    work, opening = WORK[what](star, packed)
    before = anonymous_mb()
    wall, cpu = time.perf_counter(), time.process_time()
    peak = peak_mb(work)
    found = {
        "wall": round(time.perf_counter() - wall, 3),
        "cpu": round(time.process_time() - cpu, 3),
        "opening_peak_mb": round(opening),
        "opened_mb": round(before["RssAnon"]),
        "working_peak_mb": round(peak["RssAnon"]),
        "working_extra_mb": round(peak["RssAnon"] - before["RssAnon"]),
        "working_extra_vmdata_mb": round(peak["VmData"] - before["VmData"]),
    }
    print(json.dumps(found))


def bare(star: Path, packed: Path) -> tuple[Callable[[], None], float]:
    """Read, transform, crop, transform back and write, on as many threads, and nothing else."""
    stack = open_particles(star)
    source = stack.images

    def work() -> None:
        half = CROPPED // 2
        with packed.with_suffix(".bare").open("wb") as stream:

            def one(chunk: range) -> np.ndarray:
                rows = np.arange(chunk.start, chunk.stop)
                images = np.empty((len(rows), source.box, source.box), dtype=np.float32)
                owner = source.file_index[rows]
                for file in np.unique(owner):
                    here = owner == file
                    images[here] = read_images(source.files[file], source.row[rows[here]])
                whole = scipy.fft.rfft2(images)
                parts = whole[:, :half, : half + 1], whole[:, -half:, : half + 1]
                return scipy.fft.irfft2(np.concatenate(parts, axis=1)).astype(np.float32)

            todo = chunks(len(source), source.box)
            with ThreadPoolExecutor(available_cores()) as pool:
                for images in pool.map(one, todo):
                    stream.write(images.data)

    return work, anonymous_mb()["RssAnon"]


def prepare(star: Path, packed: Path) -> tuple[Callable[[], None], float]:
    """Pack."""
    held = []
    opening = peak_mb(lambda: held.append(open_mixed(star)))
    packing = Packing(box=CROPPED, contrast_known=True)
    return lambda: void(pack(held[0], packed, packing)), opening["RssAnon"]


def batches(star: Path, packed: Path) -> tuple[Callable[[], None], float]:
    """Read batches in random order, as a training does."""
    held = []
    opening = peak_mb(lambda: held.append(open_particles(star)))
    stack = held[0]
    stack.batch(torch.arange(2))

    def work() -> None:
        order = torch.randperm(len(stack))[:EPOCH]
        for index in order.split(256):
            stack.batch(index)

    return work, opening["RssAnon"]


def peak_mb(work: Callable[[], None]) -> dict[str, float]:
    """Do something, and find the largest anonymous memory meanwhile."""
    peak, over = anonymous_mb(), threading.Event()

    def watch() -> None:
        while not over.wait(EVERY):
            for name, value in anonymous_mb().items():
                peak[name] = max(peak[name], value)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        work()
    finally:
        over.set()
        watcher.join()
    return peak


def anonymous_mb() -> dict[str, float]:
    """Anonymous memory (RssAnon) and private address space (VmData), in MB."""
    text = Path("/proc/self/status").read_text()
    names = ("RssAnon", "VmData")
    return {name: int(re.search(rf"{name}:\s+(\d+)", text)[1]) / 1024 for name in names}


def void(_: object) -> None:
    """Discard a value."""


WORK = {"bare": bare, "prepare": prepare, "batches": batches}

if __name__ == "__main__":
    main()
