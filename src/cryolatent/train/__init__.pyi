from .inference import infer
from .loop import processor_threads, train
from .method import Method
from .progress import Watch
from .recorder import Checkpoint, Memory, Recorder
from .row_adam import RowAdam

__all__ = [
    "Checkpoint",
    "Memory",
    "Method",
    "Recorder",
    "RowAdam",
    "Watch",
    "infer",
    "processor_threads",
    "train",
]
