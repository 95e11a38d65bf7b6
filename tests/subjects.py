"""Subjects of audits that are no runs."""

from typing import Any

import numpy as np
import torch

from cryolatent.data import ParticleStack
from cryolatent.models import DiagonalNormal
from cryolatent.models.latents import Latents
from cryolatent.models.system import System
from cryolatent.sessions.crossread import HalfRead
from cryolatent.sessions.subject import Subject


class Known(Subject):
    """Latents and nothing else."""

    name = "known"

    def __init__(self, z: np.ndarray) -> None:
        self.z = torch.from_numpy(z).float()

    @property
    def ids(self) -> np.ndarray:
        return np.arange(len(self.z)).astype(str)

    def latents(self) -> Latents:
        q = DiagonalNormal(self.z, torch.zeros_like(self.z) - 4)
        return Latents(self.ids, q, None, q.kl())

    def particles(self) -> Any:
        return None

    def system(self) -> Any:
        return None


class Shown(Known):
    """A system and the particles that it reads."""

    def __init__(self, stack: ParticleStack, system: System) -> None:
        super().__init__(np.zeros((len(stack), system.posterior.z_dim)))
        self._stack, self._system = stack, system

    def particles(self) -> Any:
        return self._stack

    def system(self) -> Any:
        return self._system


def halves(latents: np.ndarray, gain: np.ndarray) -> tuple[HalfRead, HalfRead]:
    rows = np.arange(len(latents))
    first, second = (HalfRead(r, latents[r], gain[r]) for r in (rows[::2], rows[1::2]))
    return first, second
