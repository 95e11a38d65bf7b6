"""A run that has not come to its end, or was not analysed: what it has written so far."""

from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from cryolatent.errors import InputError
from cryolatent.runs.run import Run
from cryolatent.sessions.systems import restore

MOST_VOLUMES = 12


class InTraining:
    """A run as it is now; nothing is written to it.

    Args:
        run: The run, as it was when it was opened.
        label: Its name on the page.
    """

    def __init__(self, run: Run, label: str) -> None:
        self.run, self.label = run, label

    @property
    def sentence(self) -> str:
        """How far it has come, and what to do, in words."""
        run = self.run
        if run.is_finished:
            return f"Finished, and not analysed yet: cryolatent analyze {run.path}"
        if run.trainer is not None:
            return f"In training ({run.trainer})."
        way_out = f"cryolatent train --resume -o {run.path}"
        return f"Not finished ({run.manifest.status}). Continue it: {way_out}"

    @cached_property
    @torch.no_grad()
    def volumes(self) -> list[Float[np.ndarray, "d d d"]]:
        """Each state's volume of now, or the one in the middle of a continuous latent space.

        None while a search has not come to any, and of latents that were imported alone.
        """
        try:
            system = restore(self.run)
        except InputError:
            return []
        decoder, states = system.model.decoder, system.posterior.gives_states
        z = torch.eye(decoder.z_dim)[:MOST_VOLUMES] if states else torch.zeros(1, decoder.z_dim)
        return [decoder.volume(one[None])[0].numpy() for one in z]

    def volume(self, number: int) -> Float[np.ndarray, "d d d"]:
        """One of them.

        Args:
            number: Counted from zero.

        Returns:
            Voxels in the order z, y, x.

        Raises:
            InputError: If there is none.
        """
        if number >= len(self.volumes):
            raise InputError(
                self.run.path, f"no volume {number} yet", "one", "Read it again later."
            )
        return self.volumes[number]

    def described(self) -> dict[str, Any]:
        """What the page is told; JSON values."""
        entries = self.run.entries()
        numbers = {
            name: [_number(entry.get(name)) for entry in entries]
            for name in dict.fromkeys(name for entry in entries for name in entry)
            if any(_number(entry.get(name)) is not None for entry in entries)
        }
        return {
            "name": self.label,
            "path": str(self.run.path),
            "training": self.sentence,
            "particles": self.run.manifest.particles,
            "posterior": self.run.config.posterior.kind,
            "log": numbers,
            "volumes": len(self.volumes),
        }


def _number(value: Any) -> float | None:
    known = isinstance(value, int | float) and not isinstance(value, bool) and np.isfinite(value)
    return float(value) if known else None
