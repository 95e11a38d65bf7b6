"""The command that begins without poses."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from cryolatent.config.flags import given, train_flags
from cryolatent.config.training import TrainConfig

TrainFlags = train_flags()
DEFAULTS = TrainFlags()


def abinitio(
    particles: Path,
    *,
    output: Annotated[Path, Parameter(name=["--output", "-o"])],
    random_starts: int = 4,
    map_only: Annotated[bool, Parameter(negative="")] = False,
    options: Annotated[TrainFlags, Parameter(name="*")] = DEFAULTS,  # pyright: ignore[reportInvalidTypeForm]
) -> None:
    """Find poses from the images alone, and train on them as on recorded ones.

    Poses that the file has are not looked at. The best of several random starts is refined; then
    the training begins, which doubts the poses found and looks for heterogeneity. Its options are
    those of `cryolatent train`. An interrupted command continues when it is repeated.

    ```
    cryolatent abinitio particles.star -o found/
    cryolatent abinitio particles.star -o found/ --map-only
    cryolatent analyze found/run
    ```

    Parameters
    ----------
    particles
        RELION's .star or cryoSPARC's .cs file; it needs no poses.
    output
        New folder for the particle file with poses, map.mrc, abinitio.json, and the run.
    random_starts
        Random volumes to begin from; the one that explains the images best goes on.
    map_only
        Stop when poses and map are written.
    """
    from cryolatent.analysis.words import found
    from cryolatent.cli.progress import tell, training_watch
    from cryolatent.errors import InputError
    from cryolatent.studies.abinitio import (
        image_folder,
        open_unposed,
        particle_file,
        search_poses,
        train_from_found,
    )

    if random_starts < 1:
        raise InputError("--random-starts", str(random_starts), "at least 1", "See --help.")
    config = TrainConfig.of(given(options))
    stack = open_unposed(particles, config)
    with training_watch() as watch:
        poses = search_poses(stack, output, config, random_starts, watch)
        written = particle_file(output, stack)
        wrote = f"wrote {output / 'map.mrc'} and {written}"
        if written.suffix == ".cs":
            wrote += f", whose images are named as before (--datadir {image_folder(stack)})"
        if map_only:
            print("; ".join(poses.words()))
            print(wrote)
            return
        for line in (*poses.words(), wrote):
            tell(line)
        run = train_from_found(stack, output, config, watch)
    print(f"{run.path}: {len(stack)} particles, {found(run)}")
    print(f"{poses.words()[-1]}")
    print(f"Next: cryolatent analyze {run.path}")
