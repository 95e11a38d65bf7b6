"""Runs begun and continued."""

from contextlib import suppress
from pathlib import Path

import torch

from cryolatent.config.training import TrainConfig
from cryolatent.data import NoiseLevels, ParticleStack, Source, scan
from cryolatent.data.contrast import warn_of_contrast
from cryolatent.data.packed import is_packed, verify_images
from cryolatent.errors import InputError, NonFiniteError
from cryolatent.models.setting import Setting
from cryolatent.physics.devices import device_named
from cryolatent.runs.manifest import Manifest
from cryolatent.runs.run import Run
from cryolatent.sessions.systems import as_shown, build, method_of, setting_of
from cryolatent.sessions.warm import begun_poses, start
from cryolatent.train import Watch, free_threads, processor_threads
from cryolatent.train import train as train_system
from cryolatent.train.loop import first_checkpoint


def begin(path: Path, config: TrainConfig, source: Source, watch: Watch | None = None) -> Run:
    """Check the data, assemble the parts, and begin a run; nothing is written before that.

    Args:
        path: New folder.
        config: Options.
        source: The particles.
        watch: Told of the progress.

    Returns:
        The run, with a checkpoint of its start.

    Raises:
        InputError: If the folder is taken or the data are not usable.
    """
    Run.check_free(path)
    check_trains(config, "`config`")
    data = config.data.located(source.datadir)
    config = config.model_copy(update={"data": data}).placed(Path.absolute, "method")
    options = config.resolved()
    # what cannot be shown is said before anything is read
    shown = as_shown(options, source)
    verified(source, watch)
    if isinstance(source, ParticleStack):
        warn_of_contrast(source)
    setting, levels = measured(options, shown, watch or Watch())
    shown = shown if levels is None else as_shown(options, levelled(source, levels))
    system, method = build(options, setting), method_of(options, setting)
    method.check(system, shown)
    session = options.session
    threads = session.threads or free_threads()
    table = start(system, options, shown)
    checkpoint = first_checkpoint(system, shown, method, setting)
    checkpoint.tensors.update(begun_poses(options, shown))
    others = options.parent, getattr(options.method, "poses_from", None)
    parents = tuple(str(parent) for parent in others if parent)
    device = str(named_device(session.device))
    manifest = Manifest.of(shown, session.seed, threads, parents, device)
    return Run.create(path, config, manifest, checkpoint, table, levels)


def verified(source: Source, watch: Watch | None = None) -> None:
    """Make sure that packed particles are what was packed; others carry no checksum.

    Args:
        source: The examples.
        watch: Told of the progress.

    Raises:
        InputError: If they are not.
    """
    if isinstance(source, ParticleStack) and is_packed(source.source):
        watch = watch or Watch()
        watch.stage("verifying images", len(source.images))
        verify_images(source.source, watch.advance)


def opened(path: Path, config: TrainConfig, source: Source) -> Run | None:
    """Open a training that an earlier call began.

    Args:
        path: The run.
        config: The options that it must have.
        source: The examples that it must be of.

    Returns:
        The run; None if there is none yet.

    Raises:
        InputError: If there is a run with other options, or of other examples.
    """
    if not (path / "manifest.json").exists():
        return None
    run = Run.open(path)
    # where images lie is found when they are opened
    data = config.data.located(run.config.data.datadir)
    if run.config != config.model_copy(update={"data": data}).placed(Path.absolute, "method"):
        raise InputError(
            path,
            "a run with other options",
            "those of this one",
            "Choose another -o, or remove it.",
        )
    run.check_input(source)
    return run


def trained(
    run: Run | None, path: Path, config: TrainConfig, source: Source, watch: Watch | None = None
) -> Run:
    """Begin a training if need be, and bring it to its end.

    Args:
        run: What `opened` gave.
        path: The run.
        config: Its options.
        source: Its examples.
        watch: Told of the progress.

    Returns:
        The finished run.

    Raises:
        NonFiniteError: If it diverged.
    """
    run = run or begin(path, config, source, watch)
    if run.manifest.status != "finished":
        train(run, source, watch)
    return Run.open(path)


def check_trains(config: TrainConfig, place: str | Path) -> None:
    """Make sure that a configuration is one of a training.

    Args:
        config: Options.
        place: Where they come from.

    Raises:
        InputError: If they are those of an imported run.
    """
    if not config.method.trains:
        raise InputError(
            place,
            "a run of another program, which was imported",
            "a run that was trained here",
            "Continue it there and import it again, or begin a run of your own.",
        )


def train(run: Run, source: Source, watch: Watch | None = None) -> None:
    """Train a run from its newest checkpoint to its end.

    Every random choice is drawn from the seed, the epoch and the step, so a training that was
    killed continues to the same result, bit for bit, on the same number of threads.

    Args:
        run: Where configuration, checkpoints, log and latents live.
        source: The examples; the posterior is shown the twin that the options ask for.
        watch: Told of the progress.

    Raises:
        NonFiniteError: If something of a particle is not finite.
        InputError: If another process trains the run now.
    """
    with run.locked(), processor_threads(run.manifest.threads):
        run.set_status("running")
        try:
            options, setting = run.options, setting_of(run)
            system, method = build(options, setting), method_of(options, setting)
            system.to(named_device(run.manifest.device))
            source = levelled(source, run.noise_levels())
            train_system(system, as_shown(options, source), method, run, watch)
        except BaseException as error:
            # on a full disk nothing more can be written, and the error says so
            with suppress(OSError):
                run.set_status("failed" if isinstance(error, NonFiniteError) else "interrupted")
            raise
        run.set_status("finished")


def measured(
    config: TrainConfig, source: Source, watch: Watch
) -> tuple[Setting, NoiseLevels | None]:
    """Read every image once; its spectra are what parts begin from.

    Args:
        config: Resolved options.
        source: The examples.
        watch: Told of the progress.

    Returns:
        What the parts are to be made for, and how noisy groups of images are.

    Raises:
        InputError: If the data are not usable, or the decoder is one of other images.
    """
    wanted = "gaussian" if source.geometry.shells else "bernoulli"
    if config.likelihood.kind != wanted and config.likelihood.kind in ("gaussian", "bernoulli"):
        kinds = ("particles", "mlp or subspace") if source.geometry.shells else ("digits", "pixel")
        raise InputError("`decoder`", config.decoder.kind, kinds[1], f"These are {kinds[0]}.")
    statistics = levels = None
    radius = config.data.particle_radius
    if isinstance(source, ParticleStack):
        watch.stage("reading particles", len(source.images))
        found = scan(source, radius_pixels(radius, source), watch.advance)
        statistics, levels = found.statistics, found.levels
    setting = Setting(
        source.geometry,
        len(source),
        config.posterior.z_dim,
        config.session.seed,
        statistics,
        radius,
    )
    return setting, levels


def levelled(source: Source, levels: NoiseLevels | None) -> Source:
    """Examples at the noise levels of a run.

    Args:
        source: The examples; what is no particle has none.
        levels: The run's.

    Returns:
        The same examples.
    """
    return source.levelled(levels) if isinstance(source, ParticleStack) else source


def named_device(name: str) -> torch.device:
    """The device of a name.

    Args:
        name: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.

    Returns:
        The device.

    Raises:
        InputError: If it is not there.
    """
    try:
        return device_named(name)
    except ValueError as error:
        raise InputError("`device`", str(error), "auto or cpu", "Leave it out.") from None


def radius_pixels(radius_angstrom: float | None, stack: ParticleStack) -> float:
    """The radius beyond which pixels count as background.

    Args:
        radius_angstrom: Radius of the particle, in Å; 45 % of the box if left out.
        stack: The particles.

    Returns:
        Radius in pixels.

    Raises:
        InputError: If the radius reaches the edge of the box.
    """
    half = stack.disc.box / 2
    if radius_angstrom is None:
        return 0.9 * half
    limit = half * stack.pixel_size_angstrom
    if radius_angstrom >= limit:
        raise InputError(
            "`particle_radius`",
            f"{radius_angstrom:g} Å",
            f"less than half the box, {limit:g} Å",
            "Give the radius, not the diameter.",
        )
    return radius_angstrom / stack.pixel_size_angstrom
