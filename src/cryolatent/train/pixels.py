"""How digits begin and enter a training."""

from torch import Tensor

from cryolatent.data import DigitSet
from cryolatent.errors import InputError
from cryolatent.runs.config import TrainConfig
from cryolatent.runs.system import System, assemble_pixels
from cryolatent.train.domain import Training
from cryolatent.train.progress import Watch


class PixelTraining(Training[DigitSet]):
    """Nothing is measured first, and a step sees whole images."""

    def begin(
        self, config: TrainConfig, source: DigitSet, watch: Watch
    ) -> tuple[System, dict[str, Tensor]]:
        """Build the parts; options that only particles have are refused."""
        options = config.optimisation
        unfit = {
            "--decoder": (config.model.decoder != "pixel", "pixel"),
            "--posterior": (config.model.is_exact, "one that is trained by gradients"),
            "--coefficient-fraction": (options.coefficient_fraction != 1, "1"),
            "--marching": (options.marching != 0, "0"),
            "--augment": (options.augment, "no augmentation"),
            "--precision": (options.precision != "float32", "float32"),
        }
        for option, (wrong, expected) in unfit.items():
            if wrong:
                raise InputError(option, "an option of particles", expected, "These are digits.")
        return assemble_pixels(config, source.geometry.box, len(source)), {}
