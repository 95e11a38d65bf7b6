"""Between a search and its run: masks and checkpoints in, model and latents out."""

import numpy as np
import torch
from torch import Tensor

from cryolatent.data import Filtered, ParticleStack, StackStatistics
from cryolatent.io import read_mask
from cryolatent.models import FourierGaussian, GenerativeModel, SubspaceDecoder
from cryolatent.models.exact import Contrast, Moments
from cryolatent.models.posteriors import Categorical
from cryolatent.physics.masks import soft_sphere
from cryolatent.runs.config import TrainConfig
from cryolatent.runs.run import Latents, Run
from cryolatent.runs.system import System, assemble
from cryolatent.train.em.search import Search
from cryolatent.train.em.states import States
from cryolatent.train.em.step import ClassLatents, NormalLatents, statistics
from cryolatent.train.em.subspace import Subspace

State = Subspace | States


def first_tensors(
    config: TrainConfig, stack: ParticleStack, spectra: StackStatistics, radius_pixels: float
) -> dict[str, Tensor]:
    """What a search begins with: spectra and masks.

    Args:
        config: Options.
        stack: The particles.
        spectra: Mean spectra of the data.
        radius_pixels: Radius of the particle, in pixels; the mask where none is given.

    Returns:
        Tensors by name.
    """
    box, pixel_size = stack.disc.box, stack.pixel_size_angstrom
    ball = soft_sphere(box, pixel_size, pixel_size * radius_pixels, 2 * pixel_size)
    tensors = {
        "search.noise": spectra.background,
        "search.spectra": torch.stack([spectra.power, spectra.background, spectra.ctf_squared]),
        "search.mask": ball,
    }
    for name, path in (("mask", config.search.mask), ("focus", config.search.focus_mask)):
        if path is not None:
            tensors[f"search.{name}"] = torch.from_numpy(read_mask(path, box, pixel_size))
    return tensors


def start_search(parts: Filtered, held: Filtered, tensors: dict[str, Tensor]) -> Search:
    """What a search knows when it begins or continues.

    Args:
        parts: The particles that volumes are made from.
        held: The particles that are kept for checks.
        tensors: The newest checkpoint's.

    Returns:
        The search.
    """
    return Search(
        parts,
        held,
        StackStatistics(*tensors["search.spectra"]),
        tensors["search.noise"].clone(),
        tensors["search.mask"],
        tensors.get("search.focus"),
        lambda entry: None,
    )


def to_tensors(search: Search, state: State) -> dict[str, Tensor]:
    """What `from_tensors` and `start_search` need.

    Args:
        search: The search.
        state: The volumes now.

    Returns:
        Tensors by name.
    """
    spectra = search.spectra
    tensors = {
        "search.noise": search.noise,
        "search.mask": search.mask,
        "search.spectra": torch.stack([spectra.power, spectra.background, spectra.ctf_squared]),
        "search.fields": state.fields,
        "search.mixing": state.space.mixing,
        "search.prior": state.space.prior,
        "search.counts": torch.tensor([state.lattice.disc.radius, search.curve]),
    }
    if search.focus is not None:
        tensors["search.focus"] = search.focus
    if isinstance(state, States):
        tensors["search.log_weights"] = state.log_weights
    return tensors


def from_tensors(search: Search, tensors: dict[str, Tensor]) -> State:
    """The volumes of a checkpoint.

    Args:
        search: The search; its curve is set.
        tensors: The checkpoint's.

    Returns:
        The volumes.
    """
    shells, search.curve = tensors["search.counts"].tolist()
    fields, mixing = tensors["search.fields"], tensors["search.mixing"]
    others = torch.ones(len(fields) - 1)
    space = search.space(search.lattice(shells), others, mixing)
    space = type(space)(space.lattice, space.mask, tensors["search.prior"], mixing)
    if "search.log_weights" in tensors:
        return States(space, fields, tensors["search.log_weights"])
    return Subspace(space, fields, 0.0)


def finished(run: Run, stack: ParticleStack, search: Search, state: State) -> tuple[Run, System]:
    """The model that a search ended with.

    Args:
        run: The run; its configuration is told the number of latent dimensions.
        stack: The particles.
        search: Knows the noise.
        state: The volumes.

    Returns:
        The run, and the parts.
    """
    z_dim = len(state.fields) - isinstance(state, Subspace)
    model = run.config.model.model_copy(update={"z_dim": z_dim})
    run = run.set_config(run.config.model_copy(update={"model": model}))
    spectra = search.spectra
    system = assemble(run.config, stack.disc, len(stack), spectra)
    decoder = system.model.decoder
    if isinstance(decoder, SubspaceDecoder):
        decoder.set_volumes(state.lattice.to_volumes(state.values(), 1))
    if isinstance(state, States) and isinstance(system.posterior, Categorical):
        system.posterior.log_weights.copy_(state.log_weights)
    likelihood = FourierGaussian(stack.disc, search.noise, spectra.power)
    return run, System(GenerativeModel(decoder, likelihood), system.posterior)


def read_latents(search: Search, state: State, contrast: Contrast, ids: np.ndarray) -> Latents:
    """The exact posterior and evidence of every particle.

    Args:
        search: The particles.
        state: The volumes.
        contrast: Prior of the contrast.
        ids: The particles' names.

    Returns:
        One row per particle; the reconstruction term is the posterior's expectation.
    """
    lattice, values = state.lattice, state.values()
    noise = search.noise[: lattice.disc.radius + 1]
    latents = (
        ClassLatents(state.log_weights, contrast)
        if isinstance(state, States)
        else NormalLatents(contrast)
    )
    rows: list[tuple[Tensor, Tensor, Moments]] = []
    for part in search.parts.chunks(lattice.disc):
        found = statistics(part, values, noise, lattice, independent=latents.independent)
        rows.append((found.index, found.empty, latents.moments(found.gram, found.inner)))
    order = torch.cat([index for index, _, _ in rows]).argsort()

    def joined(columns: list[Tensor]) -> Tensor:
        return torch.cat(columns)[order]

    columns = [q.posterior.to_columns() for _, _, q in rows]
    names = columns[0]
    distribution = type(rows[0][2].posterior).from_columns(
        {name: joined([part[name] for part in columns]) for name in names}
    )
    evidence = joined([empty + q.gain for _, empty, q in rows])
    kl = distribution.kl()
    return Latents(ids, distribution, -evidence - kl, kl)
