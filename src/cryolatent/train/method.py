"""The contract of every method of training."""

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor

from cryolatent.data import Source
from cryolatent.models.options import ObjectiveOptions
from cryolatent.models.setting import Setting
from cryolatent.models.system import System
from cryolatent.train.progress import Watch
from cryolatent.train.recorder import Recorder


class Method(ABC):
    """How a system is trained."""

    @classmethod
    @abstractmethod
    def build(cls, options: Any, setting: Setting, objective: ObjectiveOptions | None) -> "Method":
        """Make the method from its options.

        Args:
            options: Those of the class that it is registered with, resolved.
            setting: What the system is built for: seed, particle radius.
            objective: Options of the objective, resolved, if the method takes one.

        Returns:
            The method.
        """

    def check(self, system: System, source: Source) -> None:
        """Make sure that the method can train the system on the examples.

        Args:
            system: The parts.
            source: The examples.

        Raises:
            InputError: If an option does not fit them.
        """

    def first_tensors(self, source: Source, setting: Setting) -> dict[str, Tensor]:
        """What a first checkpoint holds beside the system's tensors.

        Args:
            source: The examples.
            setting: What the system was built for.

        Returns:
            By default nothing.

        Raises:
            InputError: If a file that an option names cannot be used.
        """
        return {}

    @abstractmethod
    def train(self, system: System, source: Source, recorder: Recorder, watch: Watch) -> System:
        """Train from the recorder's newest checkpoint to the end; the recorder gets the latents.

        Args:
            system: The parts; they may be changed in place.
            source: The examples, as the posterior is to be shown them.
            recorder: Where the training's state and results are kept. It holds a checkpoint.
            watch: Told of the progress.

        Returns:
            The trained parts.

        Raises:
            NonFiniteError: If something of a particle is not finite.
        """
