"""The contract of every audit."""

from abc import ABC, abstractmethod
from typing import ClassVar

from cryolatent.runs.finding import Estimate, Finding, Table, Verdict, p_beyond
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
            return self.finding("not applicable", note=reason)
        return self.answer(subject)

    def finding(
        self,
        verdict: Verdict,
        statistic: Estimate | None = None,
        *,
        particles: int = 0,
        null: Estimate | None = None,
        threshold: float = 0.0,
        note: str = "",
        numbers: dict[str, Estimate] | None = None,
        tables: dict[str, Table] | None = None,
    ) -> Finding:
        """An answer under the audit's own name and question.

        Args:
            verdict: The verdict.
            statistic: The number that decides; None if it is not defined.
            particles: How many were asked.
            null: What the number would be if nothing were there.
            threshold: Where the verdict changes.
            note: Why the verdict is what it is, where the numbers do not say.
            numbers: Further numbers by name.
            tables: What the numbers were made of.

        Returns:
            The finding; the p-value of a failure follows from its distance to the threshold.
        """
        p_value = None
        if verdict == "fail" and statistic is not None:
            p_value = p_beyond(statistic, threshold)
        return Finding(
            name=self.name,
            question=self.question,
            particles=particles,
            statistic=statistic,
            null=null,
            threshold=threshold,
            verdict=verdict,
            p_value=p_value,
            note=note,
            numbers=numbers or {},
            tables=tables or {},
        )

    @abstractmethod
    def answer(self, subject: Subject) -> Finding:
        """The answer where every need is met.

        Args:
            subject: What is asked of.

        Returns:
            The answer.
        """
