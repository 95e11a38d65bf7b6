from .inference import infer
from .loop import train
from .method import Method
from .progress import Watch
from .recorder import Checkpoint, Memory, Recorder
from .row_adam import RowAdam
from .threads import free_threads, processor_threads

__all__ = [
    "Checkpoint",
    "Memory",
    "Method",
    "Recorder",
    "RowAdam",
    "Watch",
    "free_threads",
    "infer",
    "processor_threads",
    "train",
]
