"""The contract of every audit."""

from abc import ABC, abstractmethod
from typing import ClassVar

from cryolatent.runs.finding import Finding
from cryolatent.sessions.subject import Need, Subject


class Audit(ABC):
    """A question that can be asked of any run, of this program or another."""

    needs: ClassVar[tuple[Need, ...]]
    """What a subject must have, each after what it needs itself."""

    @property
    @abstractmethod
    def name(self) -> str:
        """Name of the audit."""

    @property
    @abstractmethod
    def question(self) -> str:
        """What is asked, in a sentence."""

    def ask(self, subject: Subject) -> Finding:
        """Ask it.

        Args:
            subject: A run, or what is known of one; nothing is written to it.

        Returns:
            The answer: *not applicable*, with the reason, where the subject lacks a need.

        Raises:
            InputError: If the particles cannot be opened or are not the run's.
            NonFiniteError: If a latent is not finite.
        """
        reason = subject.missing(self.needs)
        if reason:
            return Finding(
                name=self.name,
                question=self.question,
                particles=0,
                statistic=None,
                null=None,
                threshold=0.0,
                verdict="not applicable",
                note=reason,
            )
        return self.answer(subject)

    @abstractmethod
    def answer(self, subject: Subject) -> Finding:
        """The answer where every need is met.

        Args:
            subject: What is asked of.

        Returns:
            The answer.
        """
