"""Runs of cryoDRGN: latents, decoder and encoder of ``train_vae``, ``train_dec`` and ``abinit``."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cryolatent.config.training import TrainConfig
from cryolatent.data import ParticleStack, Tables
from cryolatent.data.source import Geometry
from cryolatent.errors import InputError
from cryolatent.importers.directory import Foreign, recorded, write_run
from cryolatent.importers.latents import latents_in
from cryolatent.importers.project import Project
from cryolatent.models.cryodrgn import CryodrgnDecoder, CryodrgnEncoder, network_tensors
from cryolatent.models.distributions import Distribution
from cryolatent.models.latents import Latents
from cryolatent.models.posteriors.imported import Imported
from cryolatent.models.system import System
from cryolatent.runs.run import Run
from cryolatent.sessions.systems import as_shown, build, flat_setting
from cryolatent.sessions.training import measured
from cryolatent.train import Watch

CHECKED = 16
"""Particles whose latents and images are computed again, to see whether all fits together."""

AGREES = 0.05
"""Largest difference of latents computed again, in standard deviations of all."""

ENCODINGS = ("gaussian", "geom_lowf", "linear_lowf")
TEMPERED = (
    "Its objective weighs the divergence from the prior by beta over the number of pixels, so the "
    "widths of its posteriors are not calibrated: they do not say how sure a latent is."
)
POSES_MOVED = (
    "It refined the poses while it was trained. Those that it began with are used: version 4.3.1 "
    "divides the displacements in its pose files by the side of its lattice at every save."
)


def import_cryodrgn(
    workdir: Path,
    output: Path,
    particles: Path | None = None,
    *,
    epoch: int | None = None,
    tables: Tables | None = None,
    datadir: Path | None = None,
    without_particles: bool = False,
    watch: Watch | None = None,
) -> Run:
    """Make a run of a run of cryoDRGN.

    Args:
        workdir: What ``cryodrgn train_vae``, ``train_dec`` or ``abinit`` wrote.
        output: New folder.
        particles: The stack, if it is not where it was.
        epoch: Which epoch; the last if left out.
        tables: Poses, transfer functions and selection, if they are not where they were.
        datadir: Folder that image names are relative to.
        without_particles: Whether to do without the images.
        watch: Told of the progress.

    Returns:
        A finished run.

    Raises:
        InputError: If a file is missing, does not fit or would run code.
    """
    Run.check_free(output)
    project = Project(workdir, epoch)
    table, stack, reading = project.needed("z"), None, {}
    if not without_particles:
        reading = project.reading(tables or Tables(), datadir)
        stack = project.stack(particles, reading)
    distribution, ids = latents_in(table, (), stack)
    options, remarks = parts_of(project, distribution)
    flat = recorded(reading)
    config = TrainConfig.of(options, threads=1, **flat)
    system = None
    if config.decoder.renders:
        system, more = assembled(project, config, distribution, stack, watch or Watch())
        remarks += more
    version, number = project.settings.get("version", ""), project.weights.get("epoch")
    words = [f"cryoDRGN {version}".strip(), workdir.resolve().name]
    words += [] if number is None else [f"epoch {number}"]
    geometry = project.geometry(tables)
    latents = Latents(ids, distribution, None, distribution.kl())
    foreign = Foreign(", ".join(words), table, latents, stack, geometry, system, tuple(remarks))
    return write_run(output, config, foreign)


def parts_of(project: Project, distribution: Distribution) -> tuple[dict[str, Any], list[str]]:
    """The options of a project's decoder and posterior, as far as they can be read.

    Args:
        project: The project.
        distribution: Its latents.

    Returns:
        Options for `TrainConfig.of`, and what has to be said.
    """
    state, model, z_dim = project.state, project.model, _z_dim(distribution)
    rows = {"posterior": "imported", "z_dim": z_dim, "widths": distribution.is_bound}
    remarks = [TEMPERED] if distribution.is_bound else []
    remarks += [POSES_MOVED] if project.dataset.get("do_pose_sgd") else []
    encoding, activation = model.get("pe_type", "geom_lowf"), model.get("activation") or "relu"
    try:
        if encoding not in ENCODINGS or activation != "relu":
            raise ValueError(f"encoding {encoding}, activation {activation}")
        sizes = _sizes(network_tensors(state, f"{_prefix(state)}decoder.main."))
    except ValueError as error:
        reason = f"Its decoder is of a kind that is not read ({error}): latents alone are here."
        return rows | {"decoder": "none"}, [*remarks, reason]
    per_axis, outputs = (sizes[0] - z_dim) // 6, sizes[-1]
    decoder = {
        "decoder": "cryodrgn",
        "decoder_encoding": encoding,
        "decoder_frequencies": per_axis,
        "decoder_width": sizes[1],
        "decoder_layers": len(sizes) - 3,
        "decoder_output": "fourier" if outputs == 2 else "hartley",
        "decoder_region": project.region,
    }
    if not any(name.startswith("encoder.") for name in state):
        return rows | decoder, remarks
    try:
        sizes = _sizes(network_tensors(state, "encoder.main."))
        if project.dataset.get("keepreal") or model.get("encode_mode") != "resid":
            raise ValueError(f"encode mode {model.get('encode_mode')}")
        mask = model.get("enc_mask") or project.box // 2
        if mask < 1:
            raise ValueError("without a mask")
    except ValueError as error:
        return rows | decoder, [*remarks, f"Its encoder is of a kind that is not read ({error})."]
    window = project.dataset.get("window_r", 0.85) if project.dataset.get("window", True) else None
    encoder = {
        "posterior": "cryodrgn",
        "z_dim": z_dim,
        "encoder_width": sizes[1],
        "encoder_layers": len(sizes) - 3,
        "encoder_mask": mask,
        "window_radius": window,
    }
    return encoder | decoder, remarks


def assembled(
    project: Project,
    config: TrainConfig,
    distribution: Distribution,
    stack: ParticleStack | None,
    watch: Watch,
) -> tuple[System, list[str]]:
    """A project's networks, and whether they give its latents and images again.

    Args:
        project: The project.
        config: Its parts.
        distribution: Its latents.
        stack: Its particles, if they are at hand.
        watch: Told of the progress.

    Returns:
        The parts, and what has to be said.

    Raises:
        InputError: If the weights are not those of the configuration.
    """
    options = config.resolved()
    if stack is None:
        geometry = Geometry(project.box, project.box // 2 - 1)
        setting = flat_setting(geometry, len(distribution.mean), _z_dim(distribution))
    else:
        setting, _ = measured(options, stack, watch)
    system, state = build(options, setting), project.state
    decoder, posterior = system.model.decoder, system.posterior
    try:
        if isinstance(decoder, CryodrgnDecoder):
            decoder.take(state, _prefix(state), project.scale)
        if isinstance(posterior, CryodrgnEncoder):
            posterior.take(state, project.scale)
        if isinstance(posterior, Imported):
            posterior.take(distribution)
    except (ValueError, RuntimeError) as error:
        raise InputError(
            project.needed("weights"),
            f"weights of other networks ({str(error).splitlines()[-1].strip()})",
            "those of its configuration",
            "Import its z.pkl with cryolatent import latents.",
        ) from None
    return system, [] if stack is None else doubts(system, as_shown(options, stack), distribution)


@torch.no_grad()
def doubts(system: System, stack: ParticleStack, distribution: Distribution) -> list[str]:
    """Compute some latents and images again.

    Args:
        system: The parts.
        stack: The particles, as the posterior is shown them.
        distribution: The latents that were recorded.

    Returns:
        What does not come out as it should.
    """
    index = torch.linspace(0, len(stack) - 1, min(CHECKED, len(stack))).long()
    batch, z, found = stack.batch(index), distribution.mean, []
    again = system.posterior(batch, system.model).mean
    off = (again - z[index]).square().mean().sqrt() / z.std().clamp(min=1e-9)
    if off > AGREES:
        found.append(
            f"Its encoder gives other latents than z.pkl: {off:.2g} of their standard deviation. "
            "Are stack, poses, transfer functions and selection those that it was trained on?"
        )
    predicted = system.model.predict(z[index], batch)
    if (batch.images.conj() * predicted).real.sum() <= 0:
        found.append("Its volumes explain the images better upside down: check the contrast.")
    return found


def _z_dim(distribution: Distribution) -> int:
    return distribution.mean.shape[1]


def _prefix(state: Mapping[str, Tensor]) -> str:
    """What the decoder's names begin with: nothing where there is no encoder."""
    return "decoder." if any(name.startswith("decoder.decoder.") for name in state) else ""


def _sizes(network: Mapping[str, Tensor]) -> list[int]:
    """Numbers of units from input to output."""
    weights = [tensor for name, tensor in network.items() if name.endswith("weight")]
    return [weights[0].shape[1], *(weight.shape[0] for weight in weights)]
