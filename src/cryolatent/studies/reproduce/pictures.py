"""What there is to see of an experiment."""

from pathlib import Path

import numpy as np

from cryolatent.report.colours import state_colour
from cryolatent.report.maps import DENSITY_COLOUR
from cryolatent.report.study import Picture, map_picture, volume_pictures
from cryolatent.simulate.truth import Truth
from cryolatent.studies.reproduce.work import MOVED_VOLUMES
from cryolatent.studies.training import PICTURES


def run_pictures(run: Path, identity: str, truth: Truth | None) -> tuple[Picture, ...]:
    """The map of a run's latents and the volumes of its clusters.

    Args:
        run: The run.
        identity: Unlike that of any other map of the page.
        truth: What is known of the particles.

    Returns:
        Pictures; none if the run has drawn none.
    """
    path = run / PICTURES
    if not path.exists():
        return ()
    with np.load(path) as arrays:
        colours = _colours(arrays["ids"], truth)
        drawn = map_picture("Latents of seed 0", arrays["plane"], colours, identity)
        sizes = np.bincount(arrays["labels"], minlength=len(arrays["projections"]))
        captions = [f"Cluster {c}, {n} particles" for c, n in enumerate(sizes.tolist())]
        return (drawn, *volume_pictures(captions, arrays["projections"]))


def move_pictures(run: Path, name: str, identity: str, truth: Truth | None) -> tuple[Picture, ...]:
    """Particles and their moved selves on one map, and the volumes of the first few.

    Args:
        run: The run whose posterior was shown moved images.
        name: The audit, as ``shift-raw``.
        identity: Unlike that of any other map of the page.
        truth: What is known of the particles.

    Returns:
        Pictures; none if the run has drawn none.
    """
    path = run / PICTURES
    if not path.exists():
        return ()
    with np.load(path) as arrays:
        drawn = map_picture(
            "Unmoved particles, red; moved, green",
            arrays[f"{name}-before"],
            _colours(arrays[f"{name}-ids"], truth),
            identity,
            moved=arrays[f"{name}-after"],
        )
        captions = [
            f"Particle {number + 1}, {when}"
            for number in range(MOVED_VOLUMES)
            for when in ("as it is", "moved")
        ]
        return (drawn, *volume_pictures(captions, arrays[f"{name}-projections"]))


def _colours(ids: np.ndarray, truth: Truth | None) -> list[str]:
    if truth is None:
        return [DENSITY_COLOUR] * len(ids)
    return [state_colour(int(s)) for s in truth.state[truth.match(ids, Path("truth"))]]
