"""The command of volume series along a path of latent space."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from cryolatent.errors import InputError

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from cryolatent.models.latents import Latents


@dataclass(frozen=True)
class Route:
    """How a path leads."""

    start: Annotated[str | None, Parameter(name="--from")] = None
    """Where the path begins: a particle's name as in the STAR file, or latents and commas."""

    end: Annotated[str | None, Parameter(name="--to")] = None
    """Where it ends."""

    points: Path | None = None
    """Text file of places to lead through, one a line."""

    axis: int | None = None
    """Principal axis to follow, from 0, between its 5th and 95th percentile."""

    way: Literal["straight", "populated"] = "straight"
    """Straight from place to place, or the shortest way over particles."""


ROUTE = Route()


def path(
    run: Path,
    *,
    output: Annotated[Path, Parameter(name=["--output", "-o"])],
    route: Annotated[Route, Parameter(name="*")] = ROUTE,
    frames: int = 12,
    measured: bool = True,
    movie: bool = True,
    relocate: Annotated[tuple[str, ...], Parameter(negative="")] = (),
) -> None:
    """Write the volumes along a path through a run's latent space, decoded and measured.

    The path leads along the first principal axis, or as it is told. Decoded volumes are the
    model's. Measured ones add to them what the residuals of particles about each place show, shell
    by shell from as many particles as the halves choose, and nothing where the halves do not
    foretell each other.

    ```
    cryolatent path run/ -o path/
    cryolatent path run/ -o path/ --axis 1 --frames 20
    cryolatent path run/ -o path/ --from 000012@particles.mrcs --to 000047@particles.mrcs
    cryolatent path run/ -o path/ --from=-1.5,0 --to 1.5,0 --way populated
    cryolatent path run/ -o path/ --points places.txt --no-measured
    ```

    Parameters
    ----------
    run
        A finished run with a continuous latent space.
    output
        New folder for decoded_000.mrc ..., measured_000.mrc ..., path.csv, summary.json, movie.gif
        (and movie.mp4 where ffmpeg is there) and series.cxc, which ChimeraX opens.
    frames
        Number of volumes.
    measured
        Measure volumes from the particles, which reads the images.
    movie
        Draw the surfaces, at one contour.
    relocate
        OLD=NEW: what the run recorded in the folder OLD is now in NEW. May be given several times.
    """
    from cryolatent.analysis.paths import along
    from cryolatent.analysis.series import check_continuous, write_series
    from cryolatent.cli.progress import bar
    from cryolatent.report.movies import write_chimerax_series, write_movie
    from cryolatent.runs.run import Run

    if frames < 2:
        raise InputError("--frames", str(frames), "at least 2", "See --help.")
    opened = Run.open(run, relocate)
    latents = check_continuous(opened)
    corners = _corners(latents, route)
    places = along(_led(latents, corners) if route.way == "populated" else corners, frames)
    with bar() as stage:
        series = write_series(opened, output, places, measured=measured, stage=stage)
    both = {name: [getattr(f, name) for f in series.frames] for name in ("decoded", "measured")}
    there = {name: files for name, files in both.items() if all(files)}
    write_chimerax_series(output, there)
    if movie:
        write_movie([output / file for file in series.shown], output / "movie.gif")
    near = [frame.particles for frame in series.frames]
    print(f"{frames} volumes, {min(near)} to {max(near)} particles near each")
    if series.windows is not None:
        used = [count for count in series.windows[1:] if count]
        kept = f"{min(used)} to {max(used)} particles about a place" if used else "none"
        shells = f"{len(used)} of {len(series.windows) - 1} shells"
        print(f"residuals of particles that halves foretell each other in {shells}: {kept}")
    print(f"wrote {output}")


def _corners(latents: "Latents", route: Route) -> "Float[Tensor, 'p zdim']":
    """The places that the path leads through."""
    import torch

    from cryolatent.analysis.paths import place_named, principal_path, read_points

    start, end, points = route.start, route.end, route.points
    if (start is None) != (end is None):
        given = "--from" if end is None else "--to"
        raise InputError(given, "one end of a path", "--from and --to", "Give both.")
    ways = {"--from and --to": start, "--points": points, "--axis": route.axis}
    asked = [name for name, value in ways.items() if value is not None]
    if len(asked) > 1:
        raise InputError("cryolatent path", " and ".join(asked), "one of them", "Leave one out.")
    if start is not None and end is not None:
        return torch.stack([place_named(latents, start, "from"), place_named(latents, end, "to")])
    if points is not None:
        try:
            lines = points.read_text().splitlines()
        except (OSError, ValueError) as error:
            reason = "no such file" if isinstance(error, FileNotFoundError) else str(error)
            raise InputError(points, reason, "a place a line", "Check the name.") from None
        return read_points(latents, lines, str(points))
    return principal_path(latents.distribution.mean, route.axis or 0)


def _led(latents: "Latents", corners: "Float[Tensor, 'p zdim']") -> "Float[Tensor, 'p zdim']":
    """The way over particles from each corner to the next."""
    from itertools import pairwise

    import torch

    from cryolatent.analysis.paths import populated_path

    z = latents.distribution.mean
    return torch.cat([populated_path(z, torch.stack(pair)) for pair in pairwise(corners)])
