"""Too little of a disk, of memory, of rights, or of patience with another process."""

import ctypes
import resource
import shutil
import signal
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from builders import small_stack
from cryolatent.cli.main import run
from cryolatent.runs.run import Run
from processes import start

WIDE = "--posterior table --z-dim 2 --decoder-width 96 --decoder-layers 1 --threads 1"


@pytest.fixture(scope="module")
def star(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(small_stack(tmp_path_factory.mktemp("data")).source)


@contextmanager
def small_disk(path: Path, kilobytes: int) -> Iterator[bool]:
    """A disk of a size, where this process may mount one; whether it may."""
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "none", str(path)]
    mounted = not subprocess.run(mount, check=False, capture_output=True).returncode
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(path)], check=True)


def limit_files(size: int) -> None:
    """No file may become larger: as on a full disk, where none can be mounted."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def limit_memory(room: int) -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    size = pages * resource.getpagesize() + room
    resource.setrlimit(resource.RLIMIT_AS, (size, size))


def test_a_full_disk_leaves_the_last_good_checkpoint(star: str, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 4096) as mounted:
        made = tmp_path / "disk" / "run"
        tokens = ["train", star, "-o", str(made), *WIDE.split()]
        assert run([*tokens, "--epochs", "1"]) == 0
        good = Run.open(made).checkpoint().position
        size = max(file.stat().st_size for file in made.glob("checkpoints/*.safetensors"))
        again = ["train", "--resume", "-o", str(made), "--epochs", "3"]
        filler = tmp_path / "disk" / "filler"
        if mounted:
            filler.write_bytes(bytes(shutil.disk_usage(made).free - size // 2))
            command = start(again, tmp_path / "log")
        else:
            command = start(again, tmp_path / "log", limit_files, size // 2)
        assert command.code() == 2, command.said
        last = command.said.splitlines()[-1]
        assert "No space left on device" in last or "File too large" in last
        assert "checkpoints/step-" in last
        assert f"free space; then: cryolatent train --resume -o {made}" in last
        assert "Traceback" not in command.said
        assert Run.open(made).checkpoint().position == good
        filler.unlink(missing_ok=True)
        assert run(again) == 0


def test_too_little_memory_says_what_to_ask_for(star: str, tmp_path: Path) -> None:
    tokens = ["train", star, "-o", str(tmp_path / "run"), "--posterior", "table", "--z-dim", "2"]
    tokens += ["--decoder-width", "20000", "--decoder-layers", "2", "--threads", "1"]
    command = start(tokens, tmp_path / "log", limit_memory, 2**28)
    assert command.code() == 2, command.said
    last = command.said.splitlines()[-1]
    assert "not enough memory" in last
    assert "--batch-size" in last
    assert "Traceback" not in command.said
    assert not (tmp_path / "run").exists()


def drop_privileges() -> None:
    """Even root is refused then what permissions refuse."""
    version, this_process = 0x20080522, 0
    nothing = bytes(24)
    header = struct.pack("Ii", version, this_process)
    assert ctypes.CDLL(None).capset(header, nothing) == 0


def test_of_a_run_that_cannot_be_written_to_a_copy_is_analysed(star: str, tmp_path: Path) -> None:
    made, out = tmp_path / "run", tmp_path / "out"
    assert run(["train", star, "-o", str(made), "--z-dim", "1"]) == 0
    for folder in (made, made / "checkpoints", made / "latents"):
        folder.chmod(0o555)
    command = start(["analyze", str(made)], tmp_path / "here", drop_privileges)
    assert command.code() == 2, command.said
    assert "found a run that cannot be written to" in command.said
    copy = command.said.split("copy: ")[1].replace("COPY", str(out))
    subprocess.run(copy, shell=True, check=True)
    elsewhere = start(["analyze", str(out)], tmp_path / "elsewhere", drop_privileges)
    assert elsewhere.code() == 0, elsewhere.said
    assert Run.open(out).is_analysed
    assert not Run.open(made).is_analysed


def test_two_trainings_in_one_folder(star: str, tmp_path: Path) -> None:
    made = tmp_path / "run"
    tokens = ["train", star, "-o", str(made), *WIDE.split(), "--epochs", "9999"]
    first = start(tokens, tmp_path / "first")
    first.wait_until(lambda: "epoch   1" in first.said)
    second = start(["train", "--resume", "-o", str(made)], tmp_path / "second")
    assert second.code() == 2, second.said
    assert f"found process {first.process.pid} on " in second.said
    third = start(tokens, tmp_path / "third")
    assert third.code() == 2, third.said
    assert "found another run" in third.said
    assert first.runs
    first.process.kill()
    assert first.code() == -signal.SIGKILL
    with Run.open(made).locked():
        pass  # a lock dies with its process
