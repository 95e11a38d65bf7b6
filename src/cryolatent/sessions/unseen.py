"""What a finished run believes of particles that it was not trained on."""

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from cryolatent.config.infer import InferConfig
from cryolatent.data import (
    MissingStackError,
    ParticleStack,
    Source,
    Tables,
    further_levels,
    open_particles,
)
from cryolatent.errors import InputError
from cryolatent.models import DiagonalNormal, Distribution, Fitted
from cryolatent.models.latents import Latents
from cryolatent.models.system import System
from cryolatent.runs.run import Run
from cryolatent.sessions.systems import restore
from cryolatent.sessions.training import named_device, radius_pixels
from cryolatent.train.inference import infer
from cryolatent.train.progress import Watch

SAMPLES = 8
PIXEL_SIZE_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Inferred:
    """Latents of particles, and what fitting each one gained.

    Args:
        latents: One row per particle.
        gain: How much larger the bound is than that of the encoder's own distribution, in nats;
            None if the encoder's distribution was not refined.
    """

    latents: Latents
    gain: Float[Tensor, " n"] | None


def open_unseen(
    run: Run,
    particles: Path,
    *,
    datadir: Path | None = None,
    invert_contrast: bool | None = None,
    tables: Tables | None = None,
) -> ParticleStack:
    """Open particles for a run: its shells and its symmetry.

    Args:
        run: The run.
        particles: A file of any particles.
        datadir: Folder that image names are relative to; by default the particle file's own, or
            the run's if an image is not there.
        invert_contrast: Whether to negate the images; by default as the run did. Between
            cryoSPARC's files, which know the sign of their images, and others there is no default.
        tables: Files that complete the particle file.

    Returns:
        The particles.

    Raises:
        InputError: If they cannot be read, or differ from the run's in box or pixel size.
    """
    data, manifest = run.config.data, run.manifest
    files = (particles, run.input)
    kinds = [_contrast_kind(file) for file in files]
    if invert_contrast is None and kinds[0] != kinds[1]:
        given, trained = (
            kind or f"a {file.suffix} file" for file, kind in zip(files, kinds, strict=True)
        )
        raise InputError(
            particles,
            f"{given} for a run on {trained}",
            "`invert_contrast` or `invert_contrast=False`",
            "Say whether its images are to be negated; the sign that a .cs file gives, or that "
            "images were packed with, is applied anyway.",
        )
    inverted = data.invert_contrast if invert_contrast is None else invert_contrast

    def opened(folder: Path | None) -> ParticleStack:
        return open_particles(
            particles,
            datadir=folder,
            invert_contrast=inverted,
            symmetry=data.symmetry,
            tables=tables,
            noise_groups=data.noise_groups,
            relocate=run.moves,
        )

    try:
        stack = opened(datadir)
    except MissingStackError:
        if datadir is not None or data.datadir is None:
            raise
        stack = opened(run.moves.find(data.datadir))
    if stack.disc.box != manifest.box:
        raise InputError(
            particles,
            f"images of {stack.disc.box} x {stack.disc.box} pixels",
            f"{manifest.box} x {manifest.box}, as {run.path} was trained on",
            "Crop or scale the images, or train a run on their like.",
        )
    size, expected = stack.pixel_size_angstrom, manifest.pixel_size_angstrom
    if abs(size / expected - 1) > PIXEL_SIZE_TOLERANCE:
        raise InputError(
            particles,
            f"a pixel size of {size:g} Å",
            f"{expected:g} Å, as {run.path} was trained on",
            "Rescale the images, correct the pixel size, or train a run on their like.",
        )
    stack = replace(stack.in_unit(manifest.image_scale), shells=manifest.shells)
    return at_levels(run, replace(stack, shows_beyond=run.config.posterior.reads_beyond))


def at_levels(run: Run, stack: ParticleStack) -> ParticleStack:
    """Particles at a run's noise levels; those of groups that it has not seen are measured.

    Args:
        run: The run.
        stack: Any particles of its box.

    Returns:
        The same particles.
    """
    levels = run.noise_levels()
    if levels is not None:
        radius = radius_pixels(run.config.data.particle_radius, stack)
        levels = further_levels(stack, levels, radius)
    return stack.levelled(levels)


def _pool(run: Run, size: int) -> Distribution | None:
    """What the run believes of particles from all over its input, or nothing."""
    q = run.latents().distribution
    if not size or q.is_discrete:
        return None
    rows = torch.linspace(0, len(q.mean) - 1, min(size, len(q.mean))).long()
    return q.at(rows)


def _contrast_kind(path: Path) -> str:
    """What gives images of a file their contrast beside ``--invert-contrast``, or nothing."""
    if path.is_dir():
        return "packed particles"
    return "a .cs file" if path.suffix.lower() == ".cs" else ""


def infer_unseen(
    run: Run,
    stack: Source,
    options: InferConfig | None = None,
    watch: Watch | None = None,
) -> Inferred:
    """Infer the latents of any particles; decoder and noise stay as the run left them.

    Encoders and exact posteriors are asked. A table has no rows for other particles, so theirs are
    fitted, from the prior, from draws of it and from the trained latent that explains them best,
    and the best fit is kept.

    Args:
        run: A finished run.
        stack: The particles, as `open_unseen` gives them.
        options: How fits are made, and whether those of an encoder are.
        watch: Told of the progress.

    Returns:
        The latents, and the gain of refining.

    Raises:
        InputError: If the run is not finished, or there is no encoder to refine.
        NonFiniteError: If something of a particle is not finite.
    """
    options = options or InferConfig()
    run.check_finished()
    system = restore(run).to(named_device(options.device))
    own, z_dim = system.posterior, system.posterior.z_dim
    kind = type(own.rows() or DiagonalNormal(torch.zeros(0, z_dim), torch.zeros(0, z_dim)))
    if not kind.is_fitted:
        raise InputError(
            run.path,
            f"rows of {kind.__name__}",
            "rows that can be fitted: normal distributions or points",
            "Train an encoder, whose answer for other particles needs no fit.",
        )
    if options.refine and not own.is_amortised:
        raise InputError(
            "`refine`",
            f"a run with posterior {run.config.posterior.kind}",
            "an amortised posterior, encoder or semi-amortized",
            "Leave it out: exact posteriors have no gap, and tables are always fitted.",
        )
    if not options.refine and not own.has_rows:
        return Inferred(infer(system, stack, options.seed, watch), None)
    fitted = Fitted(
        kind,
        z_dim,
        starts=options.starts,
        steps=options.steps,
        seed=options.seed,
        proposal=own if options.refine else None,
        pool=_pool(run, options.pool),
    )
    latents = infer(System(system.model, fitted), stack, options.seed, watch, samples=SAMPLES)
    if not options.refine:
        return Inferred(latents, None)
    before = infer(system, stack, options.seed, watch, samples=SAMPLES)
    if latents.score is None or before.score is None:
        return Inferred(latents, None)
    return Inferred(latents, latents.score - before.score)
