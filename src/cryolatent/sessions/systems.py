"""From options to a system and its method, and from a run back to its system."""

from dataclasses import replace

import torch

from cryolatent.config.training import TrainConfig
from cryolatent.data import ParticleStack, StackStatistics, twin_of
from cryolatent.data.source import AnySource, Geometry
from cryolatent.errors import InputError
from cryolatent.models.registry import METHODS
from cryolatent.models.setting import Setting
from cryolatent.models.system import System, assemble
from cryolatent.runs.latents import damaged
from cryolatent.runs.run import Run
from cryolatent.train.method import Method
from cryolatent.train.recorder import SEARCHING, STATES


def build(config: TrainConfig, setting: Setting) -> System:
    """Build decoder, likelihood and posterior.

    Args:
        config: Resolved options.
        setting: What they are made for.

    Returns:
        The parts, at their start.
    """
    return assemble(config.posterior, config.decoder, config.likelihood, setting)


def method_of(config: TrainConfig, setting: Setting) -> Method:
    """Build the method of training.

    Args:
        config: Resolved options.
        setting: What the system is built for.

    Returns:
        The method.
    """
    return METHODS.part(config.method.kind).build(config.method, setting, config.objective)


def as_shown(config: TrainConfig, stack: AnySource) -> AnySource:
    """The particles as a run's posterior is shown them.

    Args:
        config: Options.
        stack: All examples of the run; one that has a twin already, of more particles perhaps,
            keeps it.

    Returns:
        The same particles, with the twin that the options ask for.

    Raises:
        InputError: If there are too few particles for it.
    """
    if config.posterior.reads_beyond and isinstance(stack, ParticleStack):
        stack = replace(stack, shows_beyond=True)
    shown = config.posterior.shown
    if shown is None or shown.twin is None or stack.twin is not None:
        return stack
    return twin_of(stack, shown.twin, config.session.seed, shown.twin_ctf)


def restore(run: Run) -> System:
    """Load the parts of a run.

    Args:
        run: The run.

    Returns:
        The parts as the newest checkpoint holds them.

    Raises:
        InputError: If a search has not come to parts yet, or latents alone were imported.
    """
    if not run.config.decoder.renders:
        raise InputError(
            run.path,
            "a run without a decoder, of which only latents were imported",
            "a run with one",
            f"Reconstruct from its particles instead: cryolatent volumes {run.path}",
        )
    checkpoint = run.checkpoint()
    if checkpoint.z_dim == SEARCHING:
        run.check_finished()
    system = build(run.options, setting_of(run))
    try:
        system.load(checkpoint.tensors)
    except (KeyError, RuntimeError) as error:
        # a config.toml that was cut short is one of other options
        raise damaged(run.path / "config.toml", error) from None
    return system


def restore_states(run: Run) -> System | None:
    """Load the volumes of the states that a run read beside its latents.

    Args:
        run: A finished run.

    Returns:
        Decoder of the states' volumes, and their responsibilities; None if the run has none.
    """
    prefix = f"{STATES}."
    tensors = run.checkpoint().tensors
    own = {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
    weights = own.get("posterior.log_weights")
    if weights is None:
        return None
    config = TrainConfig.of(posterior="categorical", **_shared(run.config)).resolved()
    system = build(config, replace(setting_of(run), z_dim=len(weights)))
    system.load(own)
    return system


def _shared(config: TrainConfig) -> dict[str, float]:
    """Options of the likelihood, which both readings have."""
    return config.likelihood.model_dump()


def setting_of(run: Run) -> Setting:
    """What the parts of a run were made for; its tensors hold the spectra.

    Args:
        run: The run.

    Returns:
        The sizes, with flat spectra.
    """
    manifest, options = run.manifest, run.config
    geometry = Geometry(manifest.box, manifest.shells, manifest.pixel_size_angstrom)
    flat = flat_setting(geometry, manifest.particles, run.z_dim)
    radius = options.data.particle_radius
    return replace(flat, seed=options.session.seed, particle_radius_angstrom=radius)


def flat_setting(geometry: Geometry, examples: int, z_dim: int) -> Setting:
    """What parts are made for that get their spectra later, or never.

    Args:
        geometry: Size of the images.
        examples: Number of examples.
        z_dim: Number of latent dimensions.

    Returns:
        The sizes, with flat spectra.
    """
    flat = torch.ones(geometry.shells + 1)
    statistics = StackStatistics(flat, flat, flat) if geometry.shells else None
    return Setting(geometry, examples, z_dim, statistics=statistics)
