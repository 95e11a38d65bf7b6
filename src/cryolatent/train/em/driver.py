"""Training of exact posteriors: a plan of steps, each of which ends with a checkpoint."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from math import isfinite

from cryolatent.data import FilteredStack, FilteredTogether, ParticleStack
from cryolatent.errors import InputError, NonFiniteError
from cryolatent.models.exact import Contrast
from cryolatent.runs.config import TrainConfig
from cryolatent.runs.run import Checkpoint, Run
from cryolatent.runs.system import System, assemble
from cryolatent.train.em import states as classes
from cryolatent.train.em import subspace as linear
from cryolatent.train.em.choice import choose_dimensions, choose_states, mixture_of
from cryolatent.train.em.results import (
    State,
    finished,
    from_tensors,
    read_latents,
    start_search,
    to_tensors,
)
from cryolatent.train.em.search import Search, marching
from cryolatent.train.em.states import States
from cryolatent.train.em.subspace import Subspace
from cryolatent.train.memory import keep_freed_memory
from cryolatent.train.progress import Progress, Stopwatch, Watch

LEAST_HELD = 2
LATE_PASSES = 3
MASK_SHELLS = 8
"""Shells from which the consensus shows where the molecule is."""

Step = Callable[[State | None], State]


def train_exact(run: Run, stack: ParticleStack, watch: Watch) -> None:
    """Train a run with an exact posterior, from its newest checkpoint to the end.

    Args:
        run: Where configuration, checkpoints, log and latents live.
        stack: The particles.
        watch: Told of the progress.

    Raises:
        NonFiniteError: If the evidence is not finite.
        InputError: If there are too few particles.
    """
    checkpoint = run.checkpoint()
    progress = Progress(**checkpoint.position)
    keep_freed_memory()
    run.rewind_log(progress.epoch)
    run.forget_results()
    work = Expedition(run, stack, _search(run, stack, checkpoint), progress, watch)
    system = assemble(run.config, stack.disc, len(stack), work.search.spectra)
    plan = work.plan()
    state = from_tensors(work.search, checkpoint.tensors) if progress.batch else None
    if progress.batch >= work.joined_from:
        work.join()
    watch.stage("searching", len(plan))
    while progress.batch < len(plan):
        state = plan[progress.batch](state)
        progress.batch += 1
        watch.advance(progress.batch)
        work.save(system, state)
    if state is None:
        raise ValueError("an empty plan")
    run, system = finished(run, stack, work.search, state)
    # with the search, so that a training cut short from here on can end again
    tensors = system.tensors() | to_tensors(work.search, state)
    run.save_checkpoint(progress.epoch + 1, Checkpoint(tensors, asdict(progress)))
    run.write_latents(read_latents(work.search, state, work.contrast, stack.ids))


def _search(run: Run, stack: ParticleStack, checkpoint: Checkpoint) -> Search:
    options = run.config
    parts, held = stack.hold_out(options.search.hold_out, options.optimisation.seed)
    if len(held) < LEAST_HELD or len(parts) < LEAST_HELD:
        raise InputError(
            stack.source,
            f"{len(stack)} particles, {len(held)} of them kept aside",
            f"at least {LEAST_HELD}",
            "Give more particles or a larger --hold-out.",
        )
    return start_search(FilteredStack(stack, parts), FilteredStack(stack, held), checkpoint.tensors)


@dataclass
class Expedition:
    """One training by expectation maximisation.

    Args:
        run: Where everything is written.
        stack: The particles.
        search: What is known of them so far.
        progress: Where the training stands.
        watch: Told of the progress.
    """

    run: Run
    stack: ParticleStack
    search: Search
    progress: Progress
    watch: Watch

    def __post_init__(self) -> None:
        self.config: TrainConfig = self.run.config
        self.contrast = Contrast.of_spread(self.config.model.contrast_spread)
        self.seed = self.config.optimisation.seed
        self.stopwatch = Stopwatch(self.progress)
        self.search.tell = self.record

    def record(self, entry: dict) -> None:
        """Log a pass.

        Args:
            entry: What the search tells of it.

        Raises:
            NonFiniteError: If the evidence is not finite.
        """
        self.stopwatch.lap()
        progress = self.progress
        if not isfinite(entry["objective"]):
            raise NonFiniteError(
                f"pass {progress.epoch}, shells {entry['shells']}: the evidence is "
                f"{entry['evidence']}. Check the particles with a smaller --shells."
            )
        entry = {
            "epoch": progress.epoch,
            "step": progress.epoch,
            "reconstruction": -entry["evidence"] - entry["kl"],
            **entry,
            "noise_spectrum": [round(float(value), 6) for value in self.search.noise],
            "seconds": round(progress.seconds, 3),
            "cpu_seconds": round(progress.cpu_seconds, 3),
        }
        self.run.log(entry)
        self.watch.epoch(entry)
        progress.epoch += 1

    def plan(self) -> list[Step]:
        """The steps from nothing to the volumes at the last shell."""
        last = self.stack.disc.radius
        first = marching(min(self.config.search.search_shells, last))
        halts = marching(last, first[-1])
        steps: list[Step] = [partial(self.begin, shells=first[0])]
        steps += [partial(self.march, shells=shells) for shells in first[1:]]
        self.joined_from = len(steps) + 1
        if self.config.model.posterior == "exact":
            steps.append(self.choose_dimensions)
            late = partial(self.march, passes=LATE_PASSES)
            return steps + [partial(late, shells=shells) for shells in halts[1:]]
        return [*steps, self.choose_states, *(partial(self.refine, shells=s) for s in halts)]

    def begin(self, _: State | None, shells: int) -> State:
        """Find a subspace at few shells."""
        model, search = self.config.model, self.config.search
        return linear.begin(
            self.search, shells, model.z_dim, self.contrast, starts=search.starts, seed=self.seed
        )

    def march(self, state: State | None, shells: int, passes: int = linear.PASSES) -> State:
        """Take the subspace to more shells."""
        found = _subspace(state)
        if shells >= MASK_SHELLS and not self.is_joined:
            found = self.pruned(found)
        if shells >= MASK_SHELLS and self.config.search.mask is None:
            self.search.tighten(self.search.lattice(shells))
        return linear.march(self.search, found, shells, self.contrast, passes)

    def pruned(self, state: Subspace) -> Subspace:
        """Drop dimensions that particles kept aside do not support, all but one."""
        ordered = linear.by_power(self.search, state)
        held = linear.read_terms(self.search, self.search.held, ordered)
        best = choose_dimensions(held, self.contrast).best
        return linear.truncated(self.search, ordered, min(best + 1, len(state.fields) - 1))

    def choose_dimensions(self, state: State | None) -> State:
        """Keep as many dimensions as particles kept aside support; use all particles from here."""
        ordered = linear.by_power(self.search, _subspace(state))
        held = linear.read_terms(self.search, self.search.held, ordered)
        choice = choose_dimensions(held, self.contrast)
        self.run.write_choices([choice])
        self.join()
        return linear.truncated(self.search, ordered, choice.chosen)

    def choose_states(self, state: State | None) -> State:
        """Read a mixture from the subspace; use all particles from here."""
        found, search = _subspace(state), self.search
        train = linear.read_terms(search, search.parts, found)
        states = self.config.search.states
        if states is None:
            held = linear.read_terms(search, search.held, found)
            choice, mixture = choose_states(train, held, self.contrast, self.seed)
            self.run.write_choices([choice])
        else:
            mixture = mixture_of(train, states, self.contrast, self.seed)
        self.join()
        return classes.from_mixture(search, found, mixture)

    def refine(self, state: State | None, shells: int) -> State:
        """Take the states' volumes to more shells."""
        if not isinstance(state, States):
            raise TypeError(f"expected states, found {type(state)}")
        last = shells == self.stack.disc.radius
        return classes.march(self.search, state, shells, self.contrast, last=last)

    @property
    def is_joined(self) -> bool:
        """Whether the choice is made and all particles are used."""
        return isinstance(self.search.parts, FilteredTogether)

    def join(self) -> None:
        """Use the particles that were kept aside too."""
        parts, held = self.search.parts, self.search.held
        if isinstance(parts, FilteredStack) and isinstance(held, FilteredStack):
            self.search.parts = FilteredTogether((parts, held))

    def save(self, system: System, state: State) -> None:
        """Write a checkpoint of the search.

        Args:
            system: The parts as they began.
            state: The volumes now.
        """
        self.stopwatch.lap()
        tensors = system.tensors() | to_tensors(self.search, state)
        self.run.save_checkpoint(self.progress.epoch, Checkpoint(tensors, asdict(self.progress)))


def _subspace(state: State | None) -> Subspace:
    if not isinstance(state, Subspace):
        raise TypeError(f"expected a subspace, found {type(state)}")
    return state
