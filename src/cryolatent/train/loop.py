"""The training loop."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import torch
from torch.optim import Optimizer

from cryolatent.data import Batch, Source
from cryolatent.errors import NonFiniteError
from cryolatent.models import LossTerms, Objective
from cryolatent.runs.config import TrainConfig
from cryolatent.runs.latents import penalty_name
from cryolatent.runs.manifest import Manifest
from cryolatent.runs.run import Checkpoint, Run
from cryolatent.runs.system import System, as_shown, objective, restore
from cryolatent.runs.warm import start as set_start
from cryolatent.train.domain import Training
from cryolatent.train.inference import infer
from cryolatent.train.memory import flushing_denormals, keep_freed_memory
from cryolatent.train.optimisers import (
    build_optimisers,
    load_optimiser_tensors,
    optimiser_tensors,
)
from cryolatent.train.particles import ParticleTraining
from cryolatent.train.pixels import PixelTraining
from cryolatent.train.progress import Progress, Stopwatch, Watch
from cryolatent.train.randomness import epoch_order, seeded

TRAININGS: dict[str, Training] = {"particles": ParticleTraining(), "digits": PixelTraining()}


def train(run: Run, stack: Source, watch: Watch | None = None) -> None:
    """Train a run from its newest checkpoint to its last epoch.

    Every random choice is drawn from the seed, the epoch and the step, so a training that was
    killed continues to the same result, bit for bit, on the same number of threads.

    Args:
        run: Where configuration, checkpoints, log and latents live.
        stack: The examples; the posterior is shown the twin that the options ask for.
        watch: Told of the progress.

    Raises:
        NonFiniteError: If the loss of a particle is not finite.
        InputError: If another process trains the run now.
    """
    with run.locked(), processor_threads(run.manifest.threads), flushing_denormals():
        run.set_status("running")
        try:
            training = TRAININGS[stack.domain]
            shown, watch = as_shown(run.config, stack), watch or Watch()
            if run.config.model.is_exact:
                training.infer_exactly(run, shown, watch)
            else:
                _train(run, shown, training, watch)
        except BaseException as error:
            run.set_status("failed" if isinstance(error, NonFiniteError) else "interrupted")
            raise
        run.set_status("finished")


def _train(run: Run, stack: Source, training: Training, watch: Watch) -> None:
    options = run.config.optimisation
    checkpoint = run.checkpoint()
    system, progress = restore(run), Progress(**checkpoint.position)
    optimisers = build_optimisers(system, run.config)
    load_optimiser_tensors(optimisers, checkpoint.tensors)
    run.rewind_log(progress.epoch)
    if progress.epoch < options.epochs:
        run.forget_results()
    keep_freed_memory()
    stopwatch, saved = Stopwatch(progress), time.monotonic()
    watch.stage("training", options.epochs * len(stack))
    while progress.epoch < options.epochs:
        loss_of = objective(run.config, progress.epoch)
        order = epoch_order(len(stack), options.seed, progress.epoch)
        for index in order.split(options.batch_size)[progress.batch :]:
            batch = training.batch(stack, index, options, progress)
            terms = step(loss_of, batch, system, optimisers, seeded(options.seed, progress.step))
            check_finite(terms, batch, stack, progress)
            progress.count(terms)
            watch.advance(progress.epoch * len(stack) + progress.batch * options.batch_size)
            if time.monotonic() - saved > 60 * options.checkpoint_minutes:
                stopwatch.lap()
                save(run, system, optimisers, progress)
                saved = time.monotonic()
        system.model.likelihood.refit()
        stopwatch.lap()
        entry = epoch_entry(progress, len(stack), system)
        entry |= training.entry(stack, options, progress.epoch)
        run.log(entry)
        watch.epoch(entry)
        progress.next_epoch()
        save(run, system, optimisers, progress)
        saved = time.monotonic()
    run.write_latents(infer(system, stack, options.seed, watch))


def step(
    loss_of: Objective,
    batch: Batch,
    system: System,
    optimisers: list[Optimizer],
    generator: torch.Generator,
) -> LossTerms:
    """Make one step of stochastic gradient descent.

    A loss that is not finite makes no step.

    Args:
        loss_of: The objective.
        batch: The particles.
        system: The parts that are trained.
        optimisers: Their optimisers.
        generator: Source of randomness of the posterior sample.

    Returns:
        The loss of each particle before the step.
    """
    for optimiser in optimisers:
        optimiser.zero_grad()
    terms = loss_of(batch, system.posterior, system.model, generator)
    loss = terms.total.mean()
    if loss.isfinite():
        loss.backward()
        for optimiser in optimisers:
            optimiser.step()
    return terms


def prepare(path: Path, config: TrainConfig, stack: Source, watch: Watch) -> Run:
    """Check the data, assemble the parts, and begin a run; nothing is written before that.

    Args:
        path: New folder.
        config: Options.
        stack: The particles.
        watch: Told of the progress.

    Returns:
        The run, with a checkpoint of its start.

    Raises:
        InputError: If the folder is taken or the data are not usable.
    """
    Run.check_free(path)
    data = config.data.located(stack.datadir)
    config = config.model_copy(update={"data": data}).resolved()
    stack = as_shown(config, stack)
    system, tensors = TRAININGS[stack.domain].begin(config, stack, watch)
    options = config.optimisation
    threads = options.threads or torch.get_num_threads()
    table = set_start(system, config, stack)
    start = Checkpoint(system.tensors() | tensors, asdict(Progress()))
    return Run.create(path, config, Manifest.of(stack, options.seed, threads), start, table)


def check_finite(terms: LossTerms, batch: Batch, stack: Source, progress: Progress) -> None:
    """Stop when the loss of a particle is not finite.

    Args:
        terms: The losses.
        batch: Their particles.
        stack: Knows the particles' names.
        progress: Where the training stands.

    Raises:
        NonFiniteError: Names epoch, step, particle and the parts of its loss.
    """
    bad = torch.nonzero(~terms.total.isfinite())
    if len(bad) == 0:
        return
    row = int(bad[0, 0])
    parts = (terms.total, terms.reconstruction, terms.kl)
    total, reconstruction, kl = (float(part[row].detach()) for part in parts)
    raise NonFiniteError(
        f"epoch {progress.epoch}, step {progress.step}: the loss of particle "
        f"{stack.ids[int(batch.index[row])]} is {total} (reconstruction {reconstruction}, "
        f"prior term {kl}). Begin a new run with a lower --learning-rate."
    )


def epoch_entry(progress: Progress, particles: int, system: System) -> dict:
    """The log entry of a finished epoch.

    Args:
        progress: Sums over the epoch.
        particles: Number of particles.
        system: Knows the noise.

    Returns:
        JSON values: means per particle, in nats for the evidence objective.
    """
    spectrum = system.model.likelihood.noise_by_shell()
    return {
        "epoch": progress.epoch,
        "step": progress.step,
        "reconstruction": progress.reconstruction / particles,
        penalty_name(system.posterior.is_bound): progress.kl / particles,
        "noise_spectrum": [round(float(value), 6) for value in spectrum],
        "seconds": round(progress.seconds, 3),
        "cpu_seconds": round(progress.cpu_seconds, 3),
    }


def save(
    run: Run, system: System, optimisers: list[torch.optim.Optimizer], progress: Progress
) -> None:
    """Write a checkpoint.

    Args:
        run: The run.
        system: The parts.
        optimisers: Their optimisers.
        progress: Where the training stands.

    Raises:
        NonFiniteError: If a tensor is not finite; the checkpoint before is kept.
    """
    tensors = system.tensors() | optimiser_tensors(optimisers)
    bad = [name for name, tensor in tensors.items() if not tensor.isfinite().all()]
    if bad:
        raise NonFiniteError(
            f"epoch {progress.epoch}, step {progress.step}: {bad[0]} is not finite. "
            "Begin a new run with a lower --learning-rate."
        )
    run.save_checkpoint(progress.step, Checkpoint(tensors, asdict(progress)))


@contextmanager
def processor_threads(count: int) -> Iterator[None]:
    """Limit PyTorch's threads for a while.

    Args:
        count: Number of threads; 0 changes nothing.

    Yields:
        Nothing.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
