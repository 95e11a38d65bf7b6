"""Speed of backprojection, beside cryoDRGN's program where its environment is given.

    python benchmarks/backproject.py data64/particles.star data128/particles.star \
        --cryodrgn .peers/cryodrgn

Programs are run one after the other on the same stack, in turns, with one thread unless told
otherwise; the first run of ours, which compiles, is not counted. Each program's own figure of
images per second is that of its log: ours from the first image read to the complete sums,
cryoDRGN's from its start without imports to the complete sums. CPU seconds, wall time and peak
memory are those of the whole programs.
"""

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

RESULTS = Path(__file__).parent / "results" / "backproject.json"
OURS = "import sys; from cryolatent.cli import main; main(sys.argv[1:])"


def measured(command: list[str], threads: int) -> tuple[str, dict[str, float]]:
    """Run a program; its output, wall and CPU seconds, and peak memory in MB."""
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    start = time.perf_counter()
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
        log.seek(0)
        text = log.read()
    if os.waitstatus_to_exitcode(status) != 0:
        sys.exit(f"{' '.join(command)} failed:\n{text}")
    return text, {
        "wall_seconds": wall,
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "peak_memory_mb": usage.ru_maxrss / 1024,
    }


def run_ours(star: Path, folder: Path, threads: int) -> dict[str, float]:
    """Run `cryolatent backproject`."""
    command = [sys.executable, "-c", OURS, "backproject", str(star), "-o", str(folder)]
    _, costs = measured(command, threads)
    summary = json.loads((folder / "summary.json").read_text())
    return costs | {"images_per_second": summary["images_per_second"]}


def prepare_cryodrgn(program: str, star: Path, folder: Path) -> list[str]:
    """Write the pose and CTF files that cryoDRGN reads; the command without its output folder."""
    poses, ctf = str(folder / "poses.pkl"), str(folder / "ctf.pkl")
    box = re.search(r"(?m)^1\t.*\t(\d+)\t2\s*$", star.read_text())
    if box is None:
        sys.exit(f"{star}: no optics table as cryolatent simulate writes it")
    measured([program, "parse_pose_star", str(star), "-D", box[1], "-o", poses], 1)
    measured([program, "parse_ctf_star", str(star), "-D", box[1], "-o", ctf], 1)
    stack = str(star.with_suffix(".mrcs"))
    return [program, "backproject_voxel", stack, "--poses", poses, "--ctf", ctf]


def run_cryodrgn(command: list[str], folder: Path, threads: int) -> dict[str, float]:
    """Run cryoDRGN's `backproject_voxel`."""
    text, costs = measured([*command, "--uninvert-data", "-o", str(folder)], threads)
    images, seconds = re.findall(r"Backprojected ([\d,]+) images in ([\d.]+)s", text)[-1]
    return costs | {"images_per_second": int(images.replace(",", "")) / float(seconds)}


def compare(star: Path, cryodrgn: Path | None, repeats: int, threads: int) -> dict:
    """Measure one stack; medians over the repeats, and cryoDRGN's cost over ours."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        runs: dict[str, list[dict[str, float]]] = {"cryolatent": []}
        command: list[str] = []
        if cryodrgn is not None:
            command = prepare_cryodrgn(str(cryodrgn / "bin" / "cryodrgn"), star, folder)
            runs["cryodrgn"] = []
        run_ours(star, folder / "warm", threads)
        for turn in range(repeats):
            runs["cryolatent"].append(run_ours(star, folder / f"ours{turn}", threads))
            if command:
                runs["cryodrgn"].append(run_cryodrgn(command, folder / f"theirs{turn}", threads))
    record: dict = {"stack": str(star), "threads": threads, "repeats": repeats, "runs": runs}
    record["load_average"] = os.getloadavg()[0]
    middle = {
        name: {key: median(run[key] for run in done) for key in done[0]}
        for name, done in runs.items()
    }
    record["median"] = middle
    if command:
        ours, theirs = middle["cryolatent"], middle["cryodrgn"]
        record["ratio"] = {
            key: theirs[key] / ours[key]
            for key in ("wall_seconds", "cpu_seconds", "peak_memory_mb")
        } | {"images_per_second": ours["images_per_second"] / theirs["images_per_second"]}
    return record


def show(record: dict) -> None:
    """Print one stack's medians and ratios."""
    print(record["stack"])
    for name, row in record["median"].items():
        print(
            f"  {name:<10} {row['images_per_second']:8.0f} images/s  {row['cpu_seconds']:7.1f} "
            f"CPU s  {row['wall_seconds']:7.1f} s  {row['peak_memory_mb']:6.0f} MB"
        )
    if "ratio" in record:
        print("  " + ", ".join(f"{key} x{value:.1f}" for key, value in record["ratio"].items()))


def main() -> None:
    """Parse, measure, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("stars", type=Path, nargs="+", help="STAR files of cryolatent simulate")
    parser.add_argument("--cryodrgn", type=Path, help="environment with bin/cryodrgn")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    records = []
    for star in options.stars:
        records.append(compare(star, options.cryodrgn, options.repeats, options.threads))
        show(records[-1])
    result = {
        "command": "python benchmarks/backproject.py " + " ".join(sys.argv[1:]),
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "records": records,
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(result, indent=2) + "\n")
    print(f"wrote {RESULTS}")


if __name__ == "__main__":
    main()
