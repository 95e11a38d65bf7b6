"""The visible optimisation loop and its optimisers."""

from cryolatent.train.inference import infer
from cryolatent.train.loop import train
from cryolatent.train.progress import Watch
from cryolatent.train.row_adam import RowAdam

__all__ = ["RowAdam", "Watch", "infer", "train"]
