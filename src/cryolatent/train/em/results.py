"""Between a search and its recorder: masks and checkpoints in, a trained system out."""

from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from cryolatent.data import Filtered, ParticleStack, Placing, StackStatistics
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
from cryolatent.models.nuisances import Nuisances
from cryolatent.models.system import System
from cryolatent.physics import Interpolation
from cryolatent.physics.devices import on_device
from cryolatent.physics.grid import CPU
from cryolatent.physics.masks import soft_sphere
from cryolatent.train.em.corrections import Corrections
from cryolatent.train.em.doubts import TRUST, Doubts
from cryolatent.train.em.power import signal_of
from cryolatent.train.em.search import Search
from cryolatent.train.em.states import States
from cryolatent.train.em.subspace import Subspace


@dataclass(frozen=True)
class Both:
    """A subspace, and the states read from it.

    Args:
        subspace: Coordinates.
        states: Volumes and weights.
        noise: Noise of the subspace's residuals, once it has come to the last shell.
    """

    subspace: Subspace
    states: States
    noise: Float[Tensor, " shells"] | None = None


State = Subspace | States | Both


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
    doubts: Doubts = TRUST,
    *,
    seed: int = 0,
    device: torch.device = CPU,
) -> Search:
    """What a search knows when it begins or continues.

    Args:
        parts: The particles that volumes are made from.
        held: The particles that are kept for checks.
        tensors: The newest checkpoint's.
        contrast: Prior of the particles' contrast, where it is known.
        doubts: Which inputs may be wrong.
        seed: Fixes the draws of poses.
        device: Where it works.

    Returns:
        The search.
    """
    focus, spectra = tensors.get("search.focus"), StackStatistics(*tensors["search.spectra"])
    first = signal_of(spectra, spectra.background)
    if "corrections.moved" in tensors:
        nuisances = Nuisances.from_tensors(_of("search", tensors))
        corrections = Corrections.from_tensors(_of("corrections", tensors), device)
    else:
        nuisances = doubts.begin(contrast, first)
        corrections = Corrections.none(parts.stack, device)
    search = Search(
        parts,
        held,
        StackStatistics(*tensors["search.spectra"].to(device)),
        tensors["search.noise"].clone().to(device),
        tensors["search.mask"].to(device),
        None if focus is None else focus.to(device),
        lambda entry: None,
        tensors.get("search.spectrum", first).clone().to(device),
        doubts,
        nuisances,
        corrections,
        seed,
        int(tensors.get("search.passes", torch.tensor(0))),
        told=_told(tensors),
    )
    if "placing.moves" in tensors:
        search.place(on_device(Placing(**_of("placing", tensors)), device))
    return search


def _told(tensors: dict[str, Tensor]) -> list[str]:
    """Remarks that had not come to the log yet."""
    return bytes(tensors.get("search.told", torch.zeros(0)).int().tolist()).decode().splitlines()


def _of(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    start = f"{prefix}."
    return {n.removeprefix(start): t for n, t in tensors.items() if n.startswith(start)}


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
        "search.curve": torch.tensor(search.curve),
        "search.passes": torch.tensor(search.passes),
        "search.spectrum": search.spectrum,
    }
    nuisances = search.nuisances.to_tensors(len(search.noise) - 1)
    corrections = search.corrections.to_tensors() if search.doubts else {}
    tensors |= {f"search.{name}": tensor for name, tensor in nuisances.items()}
    tensors |= {f"corrections.{name}": tensor for name, tensor in corrections.items()}
    if search.placing is not None:
        tensors |= {f"placing.{name}": tensor for name, tensor in vars(search.placing).items()}
    if search.focus is not None:
        tensors["search.focus"] = search.focus
    if search.told:
        tensors["search.told"] = torch.tensor(list("\n".join(search.told).encode()))
    if isinstance(state, Both):
        tensors |= _tensors("search", state.subspace) | _tensors("states", state.states)
        if state.noise is not None:
            tensors["subspace.noise"] = state.noise
    else:
        tensors |= _tensors("search", state)
    return {name: tensor.cpu() for name, tensor in tensors.items()}


def from_tensors(search: Search, tensors: dict[str, Tensor]) -> State:
    """The volumes of a checkpoint.

    Args:
        search: The search; its curve is set.
        tensors: The checkpoint's.

    Returns:
        The volumes.
    """
    search.curve = int(tensors["search.curve"])
    tensors = {name: tensor.to(search.device) for name, tensor in tensors.items()}
    found = _volumes(search, tensors, "search")
    if "states.fields" not in tensors:
        return found
    states = _volumes(search, tensors, "states")
    if not isinstance(found, Subspace) or not isinstance(states, States):
        raise TypeError("a checkpoint of two readings holds a subspace and states")
    return Both(found, states, tensors.get("subspace.noise"))


def _tensors(prefix: str, state: Subspace | States) -> dict[str, Tensor]:
    tensors = {
        "fields": state.fields,
        "mixing": state.space.mixing,
        "prior": state.space.prior,
        "shells": torch.tensor(state.lattice.disc.radius),
    }
    if isinstance(state, States):
        tensors["log_weights"] = state.log_weights
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}


def _volumes(search: Search, tensors: dict[str, Tensor], prefix: str) -> Subspace | States:
    fields, mixing = tensors[f"{prefix}.fields"], tensors[f"{prefix}.mixing"]
    lattice = search.lattice(int(tensors[f"{prefix}.shells"]))
    space = search.space(lattice, fields.new_ones(len(fields) - 1), mixing)
    space = type(space)(space.lattice, space.mask, tensors[f"{prefix}.prior"], mixing)
    if f"{prefix}.log_weights" in tensors:
        return States(space, fields, tensors[f"{prefix}.log_weights"])
    return Subspace(space, fields, 0.0)


def finished(stack: ParticleStack, search: Search, state: Subspace | States) -> System:
    """The system that a search ended with.

    Args:
        stack: The particles.
        search: Knows noise and contrast.
        state: The volumes.

    Returns:
        Linear subspace and normal posterior; or one volume per state and responsibilities, the
        state of the most particles first.
    """
    spectra, volumes = search.spectra, state.lattice.to_volumes(state.values(), 1)
    device = search.device
    if isinstance(state, States):
        order = state.log_weights.argsort(descending=True, stable=True)
        volumes = volumes[order]
        coefficients = Shares(len(volumes))
        posterior = Categorical(len(volumes), state.log_weights[order])
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
    likelihood = FourierGaussian(stack.disc, noise, power, search.nuisances)
    return GenerativeModel(decoder, likelihood)
