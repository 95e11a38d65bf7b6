"""From particles without poses to a run: a search for poses, and the usual training from there."""

from dataclasses import replace
from pathlib import Path

from cryolatent.analysis.export import export_poses
from cryolatent.config.training import TrainConfig
from cryolatent.data import ParticleStack, open_particles, scan
from cryolatent.data.contrast import warn_of_contrast
from cryolatent.errors import InputError
from cryolatent.io import write_volume
from cryolatent.io.files import write_text_atomically
from cryolatent.runs.found import FILE, PosesFound
from cryolatent.runs.run import Run
from cryolatent.sessions.training import named_device, opened, radius_pixels, trained
from cryolatent.train import Watch, free_threads, processor_threads
from cryolatent.train.abinitio.search import AbInitioSearch

KINDS = (".star", ".cs")
SHIFT_SHARE = 0.03
"""Standard deviation of displacements to begin with, over the box."""

WIDE = {"angle_error": 5.0, "shift_error": 1.0}
"""Widths of the prior about poses found, in degrees and pixels. A training reads the images that
the poses come from: a width that it learned would count them twice."""


def open_unposed(path: Path, config: TrainConfig) -> ParticleStack:
    """Open particles of which no pose is read.

    Args:
        path: A STAR or ``.cs`` file.
        config: Options of the training that follows.

    Returns:
        The particles.

    Raises:
        InputError: If poses cannot be written to such a file, or an option asks for known poses.
    """
    if path.is_dir() or path.suffix.lower() not in KINDS:
        raise InputError(
            path,
            "particles to which no poses can be written",
            "a .star or .cs file",
            "Give the file that they come from.",
        )
    data = config.data
    for name, value, usual, why in (
        ("symmetry", data.symmetry, "C1", "C1, for where the axes are is not known"),
        ("poses", data.poses, None, "none, for they are to be found"),
        ("ctf", data.ctf, None, "the particle file's own optics"),
    ):
        if value != usual:
            raise InputError(f"`{name}`", str(value), why, "Leave it out.")
    return open_particles(path, **data.reading() | {"tables": replace(data.tables(), posed=False)})


def search_poses(
    stack: ParticleStack, folder: Path, config: TrainConfig, starts: int, watch: Watch | None = None
) -> PosesFound:
    """Find poses and write them beside a map; a search that is finished already is kept.

    Args:
        stack: Particles; what is recorded of their poses is not looked at.
        folder: Gets the particle file with poses, ``map.mrc`` and ``abinitio.json``.
        config: Options of the training that follows: its seed, device and radius of the particle.
        starts: Number of random starts.
        watch: Told of the progress.

    Returns:
        What was found.

    Raises:
        InputError: If the folder holds the poses of others.
    """
    session = config.session
    kept = _kept(folder, stack, starts, session.seed)
    if kept is not None:
        return kept
    warn_of_contrast(stack)
    watch, radius = watch or Watch(), radius_pixels(config.data.particle_radius, stack)
    watch.stage("reading particles", len(stack.images))
    read = scan(stack, radius, watch.advance)
    search = AbInitioSearch(
        stack.levelled(read.levels),
        read.statistics,
        radius,
        shift_deviation=SHIFT_SHARE * stack.disc.box,
        seed=session.seed,
        watch=watch,
        device=named_device(session.device),
    )
    with processor_threads(session.threads or free_threads()):
        found = search.run(starts)
    export_poses(stack, found.poses, particle_file(folder, stack))
    write_volume(folder / "map.mrc", found.volume.numpy(), stack.pixel_size_angstrom)
    result = PosesFound.of(found, stack, session.seed)
    # last, for it says that the rest is there
    write_text_atomically(folder / FILE, result.model_dump_json(indent=2) + "\n")
    return result


def particle_file(folder: Path, stack: ParticleStack) -> Path:
    """Where the poses are written.

    Args:
        folder: Of a search.
        stack: Its particles.

    Returns:
        A file of the particles' own kind.
    """
    return folder / f"particles{stack.source.suffix.lower()}"


def train_from_found(
    stack: ParticleStack, folder: Path, config: TrainConfig, watch: Watch | None = None
) -> Run:
    """Train on the poses that a search wrote, as on recorded ones: they are doubted and refined.

    Args:
        stack: The particles that were searched.
        folder: Of the search; gets the run.
        config: Options of the training.
        watch: Told of the progress.

    Returns:
        The finished run; one that was begun before goes on.
    """
    # those that were chosen are the ones that were written
    data = config.data.model_copy(update={"datadir": image_folder(stack), "ind": None})
    config, path = config.model_copy(update={"data": data}), folder / "run"
    method = config.method
    if method.solves_volumes and not method.known_errors and getattr(method, "trust", ()) is None:
        config = config.changed(WIDE)
    posed = open_particles(particle_file(folder, stack), **data.reading())
    return trained(opened(path, config, posed), path, config, posed, watch)


def image_folder(stack: ParticleStack) -> Path:
    """What image names are relative to, in the file that poses are written to too.

    Args:
        stack: The particles.

    Returns:
        An absolute path.
    """
    return (stack.datadir or stack.source.parent).resolve()


def _kept(folder: Path, stack: ParticleStack, starts: int, seed: int) -> PosesFound | None:
    kept = PosesFound.read(folder)
    if kept is None:
        if folder.exists() and any(folder.iterdir()):
            raise InputError(folder, "something there", "a new folder", "Choose another -o.")
        return None
    same = kept.source == str(stack.source.resolve()) and kept.particles == len(stack)
    if not same or (kept.seed, len(kept.starts)) != (seed, starts):
        raise InputError(
            folder, "poses of other particles or options", "a new folder", "Choose another -o."
        )
    return kept
