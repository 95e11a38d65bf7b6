"""Optimisers by name, and their states as flat tensors."""

import torch
from torch import Tensor
from torch.optim import SGD, Adam, Optimizer, SparseAdam

from cryolatent.models.system import System
from cryolatent.train.row_adam import RowAdam

ROW_OPTIMISERS = {"row-adam": RowAdam, "sparse-adam": SparseAdam, "sgd": SGD, "adam": Adam}


def build_optimisers(system: System, learning_rate: float) -> list[Optimizer]:
    """Make an optimiser for the networks and, if the posterior has rows, one for the rows.

    A learning rate of zero freezes the rows.

    Args:
        system: The parts.
        learning_rate: Of the networks; rows have their own (`Posterior.row_optimiser`).

    Returns:
        One or two optimisers.
    """
    name, row_rate = system.posterior.row_optimiser or ("row-adam", 0.0)
    rows = system.posterior.row_parameters()
    in_rows = {id(parameter) for parameter in rows}
    parameters = [*system.model.parameters(), *system.posterior.parameters()]
    networks = [parameter for parameter in parameters if id(parameter) not in in_rows]
    fused = all(parameter.device.type != "meta" for parameter in networks)
    optimisers: list[Optimizer] = [Adam(networks, lr=learning_rate, fused=fused)]
    if rows and row_rate:
        optimisers.append(ROW_OPTIMISERS[name](rows, lr=row_rate))
    for parameter in rows:
        # gradients that no optimiser empties would pile up, step after step
        parameter.requires_grad_(bool(row_rate))
    return optimisers


def optimiser_tensors(optimisers: list[Optimizer]) -> dict[str, Tensor]:
    """The states of optimisers as named tensors.

    Args:
        optimisers: From `build_optimisers`.

    Returns:
        ``optimiser.{optimiser}.{parameter}.{name}``.
    """
    tensors = {}
    for number, optimiser in enumerate(optimisers):
        for parameter, values in optimiser.state_dict()["state"].items():
            for name, value in values.items():
                tensors[f"optimiser.{number}.{parameter}.{name}"] = torch.as_tensor(value).cpu()
    return tensors


def load_optimiser_tensors(optimisers: list[Optimizer], tensors: dict[str, Tensor]) -> None:
    """Set the states of optimisers.

    Args:
        optimisers: From `build_optimisers` with the same configuration.
        tensors: What `optimiser_tensors` gave; other names are passed over.
    """
    for number, optimiser in enumerate(optimisers):
        state: dict[int, dict[str, Tensor | int]] = {}
        for key, tensor in tensors.items():
            if key.startswith(f"optimiser.{number}."):
                _, _, parameter, name = key.split(".")
                counter = isinstance(optimiser, SparseAdam) and name == "step"
                value = int(tensor) if counter else tensor
                state.setdefault(int(parameter), {})[name] = value
        groups = optimiser.state_dict()["param_groups"]
        optimiser.load_state_dict({"state": state, "param_groups": groups})
