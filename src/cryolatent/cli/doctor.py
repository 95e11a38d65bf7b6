"""The command that looks at the machine, and at what a training would take on it."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from cryolatent.config.flags import given, train_flags
from cryolatent.config.training import TrainConfig

if TYPE_CHECKING:
    from cryolatent.data import ParticleStack

TrainFlags = train_flags()
DEFAULTS = TrainFlags()


def doctor(
    particles: Path | None = None,
    *,
    output: Annotated[Path, Parameter(name=["--output", "-o"])] = Path(),
    options: Annotated[TrainFlags, Parameter(name="*")] = DEFAULTS,  # pyright: ignore[reportInvalidTypeForm]
) -> None:
    """Look at this machine, and say what a training on some particles would take.

    Nothing is trained and nothing is left behind. Time and memory come from trainings that were
    measured (docs/scale.md), with the factor within which the model foretells them.

    ```
    cryolatent doctor
    cryolatent doctor particles.star --posterior encoder --epochs 50
    ```

    Parameters
    ----------
    particles
        What train would read.
    output
        Folder in which runs are to be written; its disk is tried with 64 MB.
    """
    from cryolatent.data import open_particles
    from cryolatent.sessions.machine import machine_lines, writing_speed

    for what, found in machine_lines():
        print(f"{what:>14}  {found}")
    speed = writing_speed(output)
    room = shutil.disk_usage(output).free
    where = f"written to {output.resolve()}, {room / 1e9:.0f} GB free"
    print(f"{'disk':>14}  {speed / 1e6:.0f} MB/s {where}")
    if particles is None:
        return
    config = TrainConfig.of(given(options))
    stack = open_particles(particles, **config.data.reading())
    for what, found in _expected(stack, config):
        print(f"{what:>14}  {found}")


def _expected(stack: "ParticleStack", config: TrainConfig) -> Iterator[tuple[str, str]]:
    """What a training would take, in words."""
    import torch

    from cryolatent.cli.progress import duration
    from cryolatent.data.shell_store import free_bytes
    from cryolatent.sessions.forecast import FACTOR, forecast

    geometry, images = stack.geometry, len(stack.images)
    yield "particles", f"{len(stack):,}, {images:,} images of box {geometry.box}"
    found = forecast(geometry, images, config, free_bytes())
    if found is None:
        yield "training", "of this kind none was measured: nothing is foretold"
        return
    low, high = (duration(found.core_seconds * by) for by in (1 / FACTOR, FACTOR))
    threads = config.session.threads or torch.get_num_threads()
    best = duration(found.core_seconds / threads)
    shared = "" if threads == 1 else f"; {best} at best on {threads} threads"
    yield "time", f"{duration(found.core_seconds)} on one thread ({low} to {high}){shared}"
    if found.memory_bytes is not None:
        low, high = (found.memory_bytes * by / 1e9 for by in (1 / FACTOR, FACTOR))
        yield "memory", f"{found.memory_bytes / 1e9:.1f} GB ({low:.1f} to {high:.1f})"
    if found.scratch_bytes:
        yield "scratch file", f"{found.scratch_bytes / 1e9:.1f} GB beside the run"
    if torch.cuda.is_available() and config.session.device != "cpu":
        yield "device", "these are figures of a processor; on a graphics processor less"
