"""Between a search and its recorder: masks and checkpoints in, a trained system out."""

from pathlib import Path

import torch
from torch import Tensor

from cryolatent.data import Filtered, ParticleStack, StackStatistics
from cryolatent.io import read_mask
from cryolatent.models import (
    Categorical,
    Decoder,
    ExactGaussian,
    FourierGaussian,
    GenerativeModel,
    SubspaceDecoder,
)
from cryolatent.models.contrast import Contrast
from cryolatent.models.decoders.coefficients import Linear, Shares
from cryolatent.models.system import System
from cryolatent.physics import Interpolation
from cryolatent.physics.grid import CPU
from cryolatent.physics.masks import soft_sphere
from cryolatent.train.em.search import Search
from cryolatent.train.em.states import States
from cryolatent.train.em.subspace import Subspace

State = Subspace | States


def first_tensors(
    stack: ParticleStack,
    spectra: StackStatistics,
    radius_pixels: float,
    masks: dict[str, Path | None],
) -> dict[str, Tensor]:
    """What a search begins with: spectra and masks.

    Args:
        stack: The particles.
        spectra: Mean spectra of the data.
        radius_pixels: Radius of the particle, in pixels; the mask where none is given.
        masks: Files of ``mask`` and ``focus``.

    Returns:
        Tensors by name.

    Raises:
        InputError: If a file is no mask of the particles' box.
    """
    box, pixel_size = stack.disc.box, stack.pixel_size_angstrom
    ball = soft_sphere(box, pixel_size, pixel_size * radius_pixels, 2 * pixel_size)
    tensors = {
        "search.noise": spectra.background,
        "search.spectra": torch.stack([spectra.power, spectra.background, spectra.ctf_squared]),
        "search.mask": ball,
    }
    for name, path in masks.items():
        if path is not None:
            tensors[f"search.{name}"] = torch.from_numpy(read_mask(path, box, pixel_size))
    return tensors


def start_search(
    parts: Filtered,
    held: Filtered,
    tensors: dict[str, Tensor],
    contrast: Contrast,
    device: torch.device = CPU,
) -> Search:
    """What a search knows when it begins or continues.

    Args:
        parts: The particles that volumes are made from.
        held: The particles that are kept for checks.
        tensors: The newest checkpoint's.
        contrast: Prior of the particles' contrast.
        device: Where it works.

    Returns:
        The search.
    """
    focus = tensors.get("search.focus")
    return Search(
        parts,
        held,
        StackStatistics(*tensors["search.spectra"].to(device)),
        tensors["search.noise"].clone().to(device),
        tensors["search.mask"].to(device),
        None if focus is None else focus.to(device),
        lambda entry: None,
        contrast,
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
    return {name: tensor.cpu() for name, tensor in tensors.items()}


def from_tensors(search: Search, tensors: dict[str, Tensor]) -> State:
    """The volumes of a checkpoint.

    Args:
        search: The search; its curve is set.
        tensors: The checkpoint's.

    Returns:
        The volumes.
    """
    shells, search.curve = tensors["search.counts"].tolist()
    tensors = {name: tensor.to(search.device) for name, tensor in tensors.items()}
    fields, mixing = tensors["search.fields"], tensors["search.mixing"]
    others = fields.new_ones(len(fields) - 1)
    space = search.space(search.lattice(shells), others, mixing)
    space = type(space)(space.lattice, space.mask, tensors["search.prior"], mixing)
    if "search.log_weights" in tensors:
        return States(space, fields, tensors["search.log_weights"])
    return Subspace(space, fields, 0.0)


def finished(stack: ParticleStack, search: Search, state: State) -> System:
    """The system that a search ended with.

    Args:
        stack: The particles.
        search: Knows noise and contrast.
        state: The volumes.

    Returns:
        Linear subspace and normal posterior, or one volume per state and responsibilities.
    """
    spectra, volumes = search.spectra, state.lattice.to_volumes(state.values(), 1)
    device = search.device
    if isinstance(state, States):
        coefficients = Shares(len(volumes))
        posterior = Categorical(len(volumes), state.log_weights.clone())
    else:
        coefficients = Linear(len(volumes) - 1)
        posterior = ExactGaussian(len(volumes) - 1)
    amplitude = spectra.signal_amplitude.cpu()
    decoder = SubspaceDecoder(
        stack.disc, coefficients, amplitude, interpolation=Interpolation.NEAREST
    )
    system = System(_model(decoder, stack, search), posterior).to(device)
    decoder.set_volumes(volumes)
    return system


def _model(decoder: Decoder, stack: ParticleStack, search: Search) -> GenerativeModel:
    noise, power = search.noise.cpu(), search.spectra.power.cpu()
    likelihood = FourierGaussian(stack.disc, noise, power, search.contrast)
    return GenerativeModel(decoder, likelihood)
