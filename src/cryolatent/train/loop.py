"""Training any system by any method."""

from dataclasses import asdict

from cryolatent.data import Source
from cryolatent.models.setting import Setting
from cryolatent.models.system import System
from cryolatent.train.memory import flushing_denormals
from cryolatent.train.method import Method
from cryolatent.train.progress import Progress, Watch
from cryolatent.train.recorder import Checkpoint, Recorder


def train(
    system: System,
    source: Source,
    method: Method,
    recorder: Recorder,
    watch: Watch | None = None,
    *,
    setting: Setting | None = None,
) -> System:
    """Train a system; a recorder that holds a checkpoint continues from there.

    Args:
        system: Decoder, likelihood and posterior; they may be changed in place.
        source: The examples, as the posterior is to be shown them.
        method: Gradient descent, expectation maximisation, or another.
        recorder: Where checkpoints, log and latents go: a run, or memory.
        watch: Told of the progress.
        setting: What the system was built for, for methods that need the data's spectra at first.

    Returns:
        The trained system.

    Raises:
        NonFiniteError: If something of a particle is not finite.
        InputError: If the method cannot train the system on the examples.
    """
    method.check(system, source)
    checkpoint = recorder.checkpoint()
    if checkpoint is None:
        setting = setting or Setting(source.geometry, len(source), system.posterior.z_dim)
        recorder.save_checkpoint(0, first_checkpoint(system, source, method, setting))
    elif checkpoint.z_dim in (None, system.posterior.z_dim):
        system.load(checkpoint.tensors)
    with flushing_denormals():
        return method.train(system, source, recorder, watch or Watch())


def first_checkpoint(
    system: System, source: Source, method: Method, setting: Setting
) -> Checkpoint:
    """The state before the first step.

    Args:
        system: The parts at their start.
        source: The examples.
        method: May keep more than the system's tensors.
        setting: What the system was built for.

    Returns:
        The checkpoint.
    """
    tensors = system.tensors() | method.first_tensors(source, setting)
    return Checkpoint(tensors, asdict(Progress()))
