"""What audits, analyses and reports ask of: a run, or whatever else gave particles latents."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

import numpy as np

from cryolatent.data import ParticleStack, Source
from cryolatent.errors import InputError
from cryolatent.models.latents import Latents
from cryolatent.models.system import System
from cryolatent.runs.run import Run
from cryolatent.sessions.systems import as_shown, restore

Need = Literal[
    "latents", "particles", "system", "a posterior that reads images", "calibrated widths"
]


class Subject(ABC):
    """Particles with latents, and as much of what gave them as there is.

    What is missing is None, and `missing` says why in words.
    """

    name: str

    @property
    @abstractmethod
    def ids(self) -> np.ndarray:
        """Names of the particles."""

    @abstractmethod
    def latents(self) -> Latents | None:
        """What is believed of each particle."""

    @abstractmethod
    def particles(self) -> Source | None:
        """The particles, as the posterior is shown them."""

    @abstractmethod
    def system(self) -> System | None:
        """Decoder, likelihood and posterior."""

    @property
    def parents(self) -> tuple[str, ...]:
        """What this one started from, by name."""
        return ()

    @property
    def calibrated(self) -> bool:
        """Whether widths of posteriors are meant as standard deviations of what is believed."""
        return True

    def missing(self, needs: tuple[Need, ...]) -> str:
        """Why something cannot be asked.

        Args:
            needs: What the question needs, each after what it needs itself.

        Returns:
            A sentence about the first need that is not met; empty if all are.
        """
        for need in needs:
            if need == "a posterior that reads images":
                system = self.system()
                if system is None or not system.posterior.reads_images:
                    return "This posterior does not read images."
            elif need == "calibrated widths":
                if not self.calibrated:
                    return "Its widths are not meant to say how sure a latent is."
            elif getattr(self, need)() is None:
                return f"{self.name} has no {need}."
        return ""


@dataclass(frozen=True)
class RunSubject(Subject):
    """A run of this program.

    Args:
        run: The run; nothing is written to it.
        stack: Its particles, perhaps with other evidence; opened as the run was trained if left
            out.
    """

    run: Run
    stack: ParticleStack | None = None

    @property
    def name(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The directory's name."""
        return self.run.name

    @property
    def ids(self) -> np.ndarray:
        """Names of the particles."""
        return self.run.latents().ids

    def latents(self) -> Latents | None:
        """The finished run's; None before."""
        return self.run.latents() if self.run.is_finished else None

    def particles(self) -> ParticleStack | None:
        """The run's own; None of latents that were imported alone.

        Raises:
            InputError: If they cannot be opened, or their number, box or shells are not the run's.
        """
        run, manifest = self.run, self.run.manifest
        if manifest.domain == "latents" and self.stack is None:
            return None
        stack = as_shown(run.config, run.open_stack()) if self.stack is None else self.stack
        found = (len(stack), stack.disc.box, stack.disc.radius)
        expected = (manifest.particles, manifest.box, manifest.shells)
        if found != expected:
            raise InputError(
                stack.source,
                "{} particles, box {}, {} shells".format(*found),
                "{} particles, box {}, {} shells".format(*expected),
                f"Give the particles that {run.path} was trained on.",
            )
        return stack

    def system(self) -> System | None:
        """The parts as the newest checkpoint holds them; None if there is no decoder."""
        return restore(self.run) if self.run.config.decoder.renders else None

    def missing(self, needs: tuple[Need, ...]) -> str:
        """Why something cannot be asked, and where the run comes from."""
        reason, origin = super().missing(needs), self.run.manifest.origin
        return f"{reason} It was imported from {origin}." if reason and origin else reason

    @property
    def parents(self) -> tuple[str, ...]:
        """Runs that it started from."""
        return self.run.manifest.parents

    @property
    def calibrated(self) -> bool:
        """As the posterior's options say."""
        return self.run.config.posterior.calibrated
