"""Stochastic gradient descent: the visible loop."""

import time
from dataclasses import asdict
from functools import lru_cache

import torch
from torch.optim import Optimizer

from cryolatent.data import Batch, Source
from cryolatent.errors import InputError, NonFiniteError
from cryolatent.models import LossTerms, Objective
from cryolatent.models.latents import penalty_name
from cryolatent.models.options import ElboOptions, ObjectiveOptions
from cryolatent.models.registry import OBJECTIVES, Shared
from cryolatent.models.setting import Setting
from cryolatent.models.system import System
from cryolatent.physics import FourierDisc
from cryolatent.physics.devices import on_device
from cryolatent.train.augmentation import augment
from cryolatent.train.coefficients import last_shell, subset_of_step
from cryolatent.train.inference import infer
from cryolatent.train.memory import keep_freed_memory
from cryolatent.train.method import Method
from cryolatent.train.optimisers import (
    build_optimisers,
    load_optimiser_tensors,
    optimiser_tensors,
)
from cryolatent.train.options import GradientOptions
from cryolatent.train.progress import Progress, Stopwatch, Watch
from cryolatent.train.randomness import epoch_order, seeded
from cryolatent.train.recorder import Checkpoint, Recorder
from cryolatent.train.stopping import stopping


class Gradient(Method):
    """Adam on decoder and networks, and an optimiser of its own for rows of particles.

    Every random choice is drawn from the seed, the epoch and the step, so a training that was
    killed continues to the same result, bit for bit, on the same number of threads.

    Args:
        options: Epochs, steps and learning rate.
        objective: Options of the objective, resolved; the evidence lower bound if left out.
        seed: Fixes every random choice.
    """

    def __init__(
        self,
        options: GradientOptions,
        objective: ObjectiveOptions | None = None,
        *,
        seed: int = 0,
    ) -> None:
        shared = Shared(z_dim=1, epochs=options.epochs, solves_volumes=False)
        self.options, self.seed = options, seed
        self.objective = objective or ElboOptions().resolved(shared)

    @classmethod
    def build(
        cls, options: GradientOptions, setting: Setting, objective: ObjectiveOptions | None
    ) -> "Gradient":
        """With the setting's seed."""
        return cls(options, objective, seed=setting.seed)

    def check(self, system: System, source: Source) -> None:
        """Pixels have no Fourier coefficients to leave out, and no poses to turn."""
        if source.geometry.shells:
            return
        options = self.options
        unfit = {
            "`coefficient_fraction`": (options.coefficient_fraction != 1, "1"),
            "`marching`": (options.marching != 0, "0"),
            "`augment`": (system.posterior.augments, "no augmentation"),
        }
        for option, (wrong, expected) in unfit.items():
            if wrong:
                raise InputError(option, "an option of particles", expected, "These are pictures.")

    def train(self, system: System, source: Source, recorder: Recorder, watch: Watch) -> System:
        """Step through the epochs that are left."""
        options, checkpoint = self.options, recorder.checkpoint()
        progress = Progress() if checkpoint is None else Progress(**checkpoint.position)
        tensors = {} if checkpoint is None else checkpoint.tensors
        optimisers = build_optimisers(system, options.learning_rate)
        load_optimiser_tensors(optimisers, tensors)
        recorder.rewind_log(progress.epoch)
        if progress.epoch < options.epochs:
            recorder.forget_results()
        keep_freed_memory()
        stopwatch, saved = Stopwatch(progress), time.monotonic()
        watch.stage("training", options.epochs * len(source))
        with stopping(watch.stopping) as stop:
            while progress.epoch < options.epochs:
                loss_of = self.objective_at(progress.epoch)
                order = epoch_order(len(source), self.seed, progress.epoch)
                for index in order.split(options.batch_size)[progress.batch :]:
                    batch = self.batch(system, source, index, progress)
                    generator = seeded(self.seed, progress.step)
                    terms = step(loss_of, batch, system, optimisers, generator)
                    check_finite(terms, batch, source, progress)
                    progress.count(terms)
                    watch.advance(
                        progress.epoch * len(source) + progress.batch * options.batch_size
                    )
                    if stop.asked or time.monotonic() - saved > 60 * options.checkpoint_minutes:
                        stopwatch.lap()
                        save(recorder, system, optimisers, progress)
                        saved = time.monotonic()
                    stop.obey()
                system.model.likelihood.refit()
                stopwatch.lap()
                entry = epoch_entry(progress, len(source), system)
                if source.geometry.shells:
                    shells = source.geometry.shells
                    entry["shells"] = last_shell(shells, options.marching, progress.epoch)
                recorder.log(entry)
                watch.epoch(entry)
                progress.next_epoch()
                save(recorder, system, optimisers, progress)
                saved = time.monotonic()
        recorder.write_latents(infer(system, source, self.seed, watch))
        return system

    def objective_at(self, epoch: int) -> Objective:
        """The objective of an epoch.

        Args:
            epoch: Counted from zero.

        Returns:
            The objective, with the KL term's weight of that epoch.
        """
        options = self.objective
        full = 1.0 if options.beta is None else options.beta
        beta = full * min(1.0, (epoch + 1) / ((options.beta_warmup or 0) + 1))
        return OBJECTIVES.part(options.kind)(beta)

    def batch(
        self, system: System, source: Source, index: torch.Tensor, progress: Progress
    ) -> Batch:
        """Read the examples of a step.

        Args:
            system: The parts.
            source: The examples.
            index: Those of the step.
            progress: Where the training stands.

        Returns:
            The examples, of whose Fourier coefficients some may be compared; perhaps augmented.
        """
        batch = source.batch(index)
        if not source.geometry.shells:
            return on_device(batch, system.device)
        disc = _disc(source.geometry.box, source.geometry.shells)
        batch = batch.comparing(
            subset_of_step(disc, self.options, self.seed, progress.epoch, progress.step)
        )
        if system.posterior.augments:
            batch = augment(batch, disc, seeded(self.seed, progress.step, "augment"))
        return on_device(batch, system.device)


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
        f"prior term {kl}). Begin a new run with a lower `learning_rate`."
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


@lru_cache(maxsize=2)
def _disc(box: int, shells: int) -> FourierDisc:
    return FourierDisc(box, shells)


def save(
    recorder: Recorder, system: System, optimisers: list[Optimizer], progress: Progress
) -> None:
    """Write a checkpoint.

    Args:
        recorder: Where it is kept.
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
            "Begin a new run with a lower learning rate."
        )
    recorder.save_checkpoint(progress.step, Checkpoint(tensors, asdict(progress)))
