"""The contract of every audit."""

from abc import ABC, abstractmethod

from cryolatent.data import ParticleStack
from cryolatent.runs.finding import Finding
from cryolatent.runs.run import Run


class Audit(ABC):
    """A question that can be asked of any finished run."""

    @abstractmethod
    def run(self, run: Run, stack: ParticleStack | None = None) -> Finding:
        """Ask it.

        Args:
            run: A run with a checkpoint; nothing is written to it.
            stack: The run's particles, perhaps with other evidence; opened, with the twin that the
                run was trained on if any, if left out.

        Returns:
            The answer.

        Raises:
            InputError: If the particles cannot be opened or are not the run's.
            NonFiniteError: If a latent is not finite.
        """
