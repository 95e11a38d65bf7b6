"""A series of volumes as a movie of rendered surfaces, and as a script for ChimeraX."""

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8

from cryolatent.analysis.state_differences import CONSENSUS
from cryolatent.io import read_volume
from cryolatent.io.files import write_text_atomically
from cryolatent.report.colours import HUES, cluster_shades
from cryolatent.report.findings import gather
from cryolatent.report.surfaces import equal_levels, surface
from cryolatent.runs.run import Run

FRAME_MS, LOOKS_MS = 120, 600
"""Duration of a frame, and of the first and the last one."""

PAPER = 255


def one_level(volumes: Sequence[Float[np.ndarray, "d d d"]]) -> float:
    """A contour for a whole series.

    Args:
        volumes: Of a series, at least one.

    Returns:
        The middle one of the contours that enclose equally many voxels.
    """
    return float(np.median(equal_levels(volumes)))


def write_movie(files: Sequence[Path], output: Path, colour: str = HUES[0]) -> list[Path]:
    """Draw a series at one contour, there and back, from two sides.

    Args:
        files: Volumes, in order.
        output: The GIF file; beside it an MP4 where ffmpeg is there.
        colour: Hexadecimal colour.

    Returns:
        What was written.
    """
    from PIL import Image

    volumes = [read_volume(file)[0] for file in files]
    level = one_level(volumes)
    drawn = [Image.fromarray(_frame(volume, level, colour)) for volume in volumes]
    images = drawn + drawn[-2:0:-1]
    turning = {0, len(drawn) - 1}
    times = [LOOKS_MS if number in turning else FRAME_MS for number in range(len(images))]
    palette = [image.convert("P", palette=Image.Palette.ADAPTIVE) for image in images]
    palette[0].save(output, save_all=True, append_images=palette[1:], duration=times, loop=0)
    ffmpeg = shutil.which("ffmpeg")
    if ffmpeg is None:
        return [output]
    film = output.with_suffix(".mp4")
    width, height = images[0].size
    raw = f"-f rawvideo -pix_fmt rgb24 -s {width}x{height} -r {1000 / FRAME_MS:.3f} -i -".split()
    made = ["-pix_fmt", "yuv420p", "-movflags", "+faststart", str(film)]
    frames = b"".join(image.tobytes() for image in images)
    # a film is an extra, so one that ffmpeg cannot make is left out
    done = subprocess.run(
        [ffmpeg, "-y", "-loglevel", "error", *raw, *made], input=frames, check=False
    )
    return [output, film] if done.returncode == 0 else [output]


def write_chimerax_series(folder: Path, series: Mapping[str, Sequence[str]]) -> Path:
    """Write a script that opens series of volumes in ChimeraX, to be played and morphed.

    Args:
        folder: Of the volumes, and of ``series.cxc``.
        series: Files by the name of the series.

    Returns:
        The script.
    """
    lines = []
    for model, (name, files) in enumerate(series.items(), 1):
        level = one_level([read_volume(folder / file)[0] for file in files])
        colour = HUES[(model - 1) % len(HUES)]
        lines += [
            f"# {name}",
            f"open {' '.join(files)} vseries true",
            f"volume #{model} style surface step 1 level {level:.6g} color {colour}",
        ]
    lines.append("tile" if len(series) > 1 else "view")
    lines += [f"vseries play #{model} loop true" for model in range(1, len(series) + 1)]
    return _script(folder / "series.cxc", lines)


def write_chimerax_states(
    folder: Path, maps: dict[str, Path], colours: Sequence[str], consensus: Path | None
) -> Path:
    """Write a script that opens states in ChimeraX at contours of equal enclosed volume.

    Args:
        folder: Where ``states.cxc`` goes; the maps lie in it.
        maps: Map of each state, by its name.
        colours: Of each state.
        consensus: The map of all particles, shown transparent; none to leave it out.

    Returns:
        The script.
    """
    files = [*maps.values(), *([consensus] if consensus else [])]
    levels = equal_levels([read_volume(file)[0] for file in files])
    names = [*maps, *(["consensus"] if consensus else [])]
    shown = [*colours, *(["#9aa1aa80"] if consensus else [])]
    lines = []
    for model, (name, file, level, colour) in enumerate(
        zip(names, files, levels, shown, strict=True), 1
    ):
        lines += [
            f"open {file.name} name {name.replace(' ', '_')}",
            f"volume #{model} style surface step 1 level {level:.6g} color {colour}",
        ]
    lines.append("tile" if len(maps) > 1 else "view")
    if len(maps) > 1:
        lines.append(f"# morph between the states: volume morph #1-{len(maps)} frames 50 play true")
    return _script(folder / "states.cxc", lines)


def states_script(run: Run) -> Path | None:
    """Write ``analysis/maps/states.cxc`` of an analysed run, in the colours of its page.

    Args:
        run: The run.

    Returns:
        The script; None of a run without maps of its states or clusters.
    """
    findings = gather([run])
    shades = cluster_shades(findings)[0]
    word, folder = findings[0].summary.word, run.analysis / "maps"
    mapped = [c for c in findings[0].summary.clusters if c.measured is not None]
    if not mapped:
        return None
    maps = {f"{word} {c.number}": run.path / c.measured.file for c in mapped if c.measured}
    consensus = folder / f"{CONSENSUS}.mrc"
    colours = [shades[c.number].colour for c in mapped]
    return write_chimerax_states(folder, maps, colours, consensus if consensus.exists() else None)


def _script(path: Path, lines: list[str]) -> Path:
    head = [
        "# Open this file in ChimeraX; where its maps are not found, cd to its folder first.",
        "set bgColor white",
        "lighting soft",
        "graphics silhouettes true",
    ]
    write_text_atomically(path, "\n".join([*head, *lines]) + "\n")
    return path


def _frame(
    volume: Float[np.ndarray, "d d d"], level: float, colour: str
) -> UInt8[np.ndarray, "y x 3"]:
    """Two sides on white, as movies know no transparency."""
    image = np.concatenate([surface(volume, level, colour, turned=t) for t in (False, True)], 1)
    opaque = image[..., 3:] / 255
    return np.rint(opaque * image[..., :3] + (1 - opaque) * PAPER).astype(np.uint8)
