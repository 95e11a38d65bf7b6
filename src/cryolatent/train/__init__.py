"""The visible optimisation loop and its optimisers."""

from cryolatent.train.inference import infer
from cryolatent.train.loop import prepare, processor_threads, train
from cryolatent.train.progress import Watch
from cryolatent.train.row_adam import RowAdam

__all__ = ["RowAdam", "Watch", "infer", "prepare", "processor_threads", "train"]
