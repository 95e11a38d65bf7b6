"""What the loop leaves to the field that the data come from."""

from abc import ABC, abstractmethod
from typing import Any, Generic

from jaxtyping import Int
from torch import Tensor

from cryolatent.data import Batch
from cryolatent.data.source import AnySource
from cryolatent.errors import InputError
from cryolatent.runs.config import OptimisationConfig, TrainConfig
from cryolatent.runs.run import Run
from cryolatent.runs.system import System
from cryolatent.train.progress import Progress, Watch


class Training(ABC, Generic[AnySource]):
    """How examples of one field begin and enter a training; the loop itself knows none."""

    @abstractmethod
    def begin(
        self, config: TrainConfig, source: AnySource, watch: Watch
    ) -> tuple[System, dict[str, Tensor]]:
        """Check the data and build the parts at their start.

        Args:
            config: Resolved options.
            source: The examples.
            watch: Told of the progress.

        Returns:
            The parts, and tensors that a first checkpoint holds beside theirs.

        Raises:
            InputError: If the data are not usable, or an option does not fit them.
        """

    def batch(
        self, source: AnySource, index: Int[Tensor, " n"], options: OptimisationConfig, at: Progress
    ) -> Batch:
        """Read the examples of a step.

        Args:
            source: The examples.
            index: Those of the step.
            options: Resolved options.
            at: Where the training stands.

        Returns:
            By default the examples as they are.
        """
        return source.batch(index)

    def entry(self, source: AnySource, options: OptimisationConfig, epoch: int) -> dict[str, Any]:
        """What the log says of an epoch beside its losses.

        Args:
            source: The examples.
            options: Resolved options.
            epoch: Counted from zero.

        Returns:
            JSON values; by default none.
        """
        return {}

    def infer_exactly(self, run: Run, source: AnySource, watch: Watch) -> None:
        """Train a run whose posterior is known in closed form, without gradients.

        Args:
            run: The run.
            source: The examples.
            watch: Told of the progress.

        Raises:
            InputError: If there is no closed form in this field.
        """
        raise InputError(
            "--posterior",
            run.config.model.posterior,
            "a posterior that is trained by gradients",
            "Choose encoder or table.",
        )
