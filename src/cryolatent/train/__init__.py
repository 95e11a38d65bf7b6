"""The visible optimisation loop and its optimisers."""

from cryolatent.train.inference import infer
from cryolatent.train.loop import prepare, processor_threads, train
from cryolatent.train.progress import Watch
from cryolatent.train.row_adam import RowAdam
from cryolatent.train.unseen import infer_unseen, open_unseen

__all__ = [
    "RowAdam",
    "Watch",
    "infer",
    "infer_unseen",
    "open_unseen",
    "prepare",
    "processor_threads",
    "train",
]
