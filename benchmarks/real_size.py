"""A hundred thousand particles of 128 pixels: processor time and memory of whole programs.

    python -m benchmarks.real_size WORK                    # hours on a busy machine
    python -m benchmarks.real_size WORK --particles 2000   # to try it

Anonymous memory is what the program itself holds, without maps of files, which the system takes
back when it needs them.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

RESULTS = Path(__file__).parent / "results" / "real_size.jsonl"
SET = (
    "--box 128 --pixel-size 2.25 --snr 0.05 --angle-error 3 --shift-error 0.5 --junk 0.05 "
    "--contrast-spread 0.15 --noise-colour 3 --seed 12"
)
PROGRAM = "from cryolatent.cli import main; main()"


def measured(what: str, command: list[str]) -> dict:
    """Run the program to its end.

    Args:
        what: In a few words.
        command: Its arguments.

    Returns:
        Processor and wall seconds, and the largest anonymous memory in GB.
    """
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, *command])
    largest = 0
    while process.poll() is None:
        try:
            lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
        except OSError:
            continue
        kilobytes = [int(line.split()[1]) for line in lines if line.startswith("RssAnon")]
        largest = max([largest, *kilobytes])
        time.sleep(0.1)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "what": what,
        "code": process.returncode,
        "user": round(after.ru_utime - before.ru_utime, 1),
        "kernel": round(after.ru_stime - before.ru_stime, 1),
        "wall": round(time.monotonic() - began, 1),
        "anonymous GB": round(largest / 1e6, 2),
    }


def main() -> None:
    """Simulate, train, and keep a line of each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("work", type=Path)
    parser.add_argument("--particles", type=int, default=100_000)
    arguments = parser.parse_args()
    count, data = str(arguments.particles), str(arguments.work / "data")
    simulate = ["simulate", "-o", data, "--particles", count, *SET.split()]
    keep(measured("simulate", simulate), arguments.particles)
    train = ["train", f"{data}/particles.star", "--posterior", "categorical", "--memory", "3"]
    train += ["--threads", "1"]
    for what, options in (("inputs trusted", ["--trust", "all"]), ("inputs doubted", [])):
        output = ["-o", str(arguments.work / what.replace(" ", "_"))]
        keep(measured(f"train, {what}", [*train, *output, *options]), arguments.particles)


def keep(row: dict, particles: int) -> None:
    """Print what was measured; of the full size, keep it."""
    line = json.dumps({"particles": particles} | row)
    print(line, flush=True)
    if particles >= 100_000:
        with RESULTS.open("a") as stream:
            stream.write(line + "\n")


if __name__ == "__main__":
    main()
