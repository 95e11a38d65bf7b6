"""Where tensors lie: frozen records moved whole to another device, and devices by name."""

from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

import torch
from torch import Tensor

Record = TypeVar("Record")


def on_device(record: Record, device: torch.device) -> Record:
    """Move every tensor of a frozen record, and of the records in it.

    Args:
        record: A dataclass such as a batch, poses, or transfer functions.
        device: Where the tensors are to lie.

    Returns:
        The same record if everything lies there already.
    """
    changed: dict[str, Any] = {}
    for field in fields(record):  # pyright: ignore[reportArgumentType]
        value = getattr(record, field.name)
        if isinstance(value, Tensor):
            moved = value.to(device)
        elif is_dataclass(value) and not isinstance(value, type):
            moved = on_device(value, device)
        else:
            continue
        if moved is not value:
            changed[field.name] = moved
    return replace(record, **changed) if changed else record  # pyright: ignore[reportArgumentType]


def device_named(name: str) -> torch.device:
    """The device of a name.

    Args:
        name: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``; auto is CUDA where there is one.

    Returns:
        The device.

    Raises:
        ValueError: If it is not there.
    """
    available = torch.cuda.is_available()
    if name == "auto":
        return torch.device("cuda" if available else "cpu")
    device = torch.device(name)
    if device.type == "cuda" and (
        not available or (device.index or 0) >= torch.cuda.device_count()
    ):
        raise ValueError(f"no {name} on this machine")
    return device
