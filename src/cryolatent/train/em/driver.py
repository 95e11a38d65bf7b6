"""Expectation maximisation: a plan of steps, each of which ends with a checkpoint."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from itertools import accumulate
from math import isfinite

import torch
from torch import Tensor

from cryolatent.data import FilteredStack, FilteredTogether, ParticleStack, Source, scan
from cryolatent.data.shell_store import free_bytes
from cryolatent.errors import InputError, NonFiniteError
from cryolatent.models.options import ObjectiveOptions
from cryolatent.models.posteriors import Posterior
from cryolatent.models.setting import Setting
from cryolatent.models.system import System
from cryolatent.train.choice import NOTHING, Choice
from cryolatent.train.em import states as classes
from cryolatent.train.em import subspace as linear
from cryolatent.train.em.choice import (
    CONTINUUM,
    choose_dimensions,
    choose_reading,
    choose_states,
    mixture_of,
)
from cryolatent.train.em.doubts import Doubts
from cryolatent.train.em.march import marching
from cryolatent.train.em.results import (
    Both,
    State,
    finished,
    first_tensors,
    from_tensors,
    start_search,
    to_tensors,
)
from cryolatent.train.em.search import Search
from cryolatent.train.em.states import States
from cryolatent.train.em.subspace import Subspace
from cryolatent.train.inference import infer
from cryolatent.train.memory import keep_freed_memory
from cryolatent.train.method import Method
from cryolatent.train.options import EmOptions
from cryolatent.train.progress import Progress, Stopwatch, Watch
from cryolatent.train.recorder import SEARCHING, STATES, Checkpoint, Recorder
from cryolatent.train.stopping import stopping

LEAST_HELD = 2
LATE_PASSES = 3
FIRST_SURVEYS = (4, 6, 8, 8)
"""Shells at which the consensus corrects poses before anything else is looked for."""

MASK_SHELLS = 8
"""Shells from which the consensus shows where the molecule is."""


@dataclass(frozen=True)
class Step:
    """A step of the plan.

    Args:
        work: From what the step before found to what this one finds.
        shells: Last shell that it works with.
        passes: Passes over the particles.
    """

    work: Callable[[State | None], State]
    shells: int
    passes: int = 1

    @property
    def effort(self) -> int:
        """About how long it takes, in coefficients passed over."""
        return self.passes * self.shells**2


class ExpectationMaximisation(Method):
    """Posteriors in closed form, and volumes solved for voxel by voxel.

    Args:
        options: How subspace and states are found.
        seed: Fixes every random choice.
        radius_angstrom: Radius of the particle, in Å; 45 % of the box if left out.
    """

    def __init__(
        self, options: EmOptions, *, seed: int = 0, radius_angstrom: float | None = None
    ) -> None:
        self.options, self.seed, self.radius_angstrom = options, seed, radius_angstrom

    @classmethod
    def build(
        cls, options: EmOptions, setting: Setting, objective: ObjectiveOptions | None
    ) -> "ExpectationMaximisation":
        """With the setting's seed and radius; there is no objective but the evidence."""
        radius = setting.particle_radius_angstrom
        return cls(options, seed=setting.seed, radius_angstrom=radius)

    def check(self, system: System, source: Source) -> None:
        """The posterior is in closed form, and the examples are particles."""
        if not system.posterior.is_closed_form:
            raise InputError(
                "`method`",
                f"em with {type(system.posterior).__name__}",
                "a posterior in closed form",
                "Train it by gradient.",
            )
        if not isinstance(source, ParticleStack):
            raise InputError(
                "`method`", "em", "a method for pictures", "Choose encoder or table: gradient."
            )
        if self.options.pose_search == "global" and len(source.images) != len(source):
            found = f"global, of {len(source.images)} images of {len(source)} particles"
            raise InputError(
                "`pose_search`",
                found,
                "one image of each particle",
                "Poses of tilted images are found together, which is not built. Choose local.",
            )

    def first_tensors(self, source: Source, setting: Setting) -> dict[str, Tensor]:
        """Spectra and masks."""
        stack = _particles(source)
        half = stack.disc.box / 2
        radius = 0.9 * half
        if self.radius_angstrom is not None:
            radius = self.radius_angstrom / stack.pixel_size_angstrom
        spectra = setting.statistics or scan(stack, radius).statistics
        masks = {"mask": self.options.mask, "focus": self.options.focus_mask}
        return first_tensors(stack, spectra, radius, masks)

    def train(self, system: System, source: Source, recorder: Recorder, watch: Watch) -> System:
        """Go through the steps of the plan that are left."""
        stack, checkpoint = _particles(source), _begun(recorder)
        progress = Progress(**checkpoint.position)
        keep_freed_memory()
        recorder.rewind_log(progress.epoch)
        recorder.forget_results()
        search = self._search(system, stack, recorder, watch)
        posterior = system.posterior
        work = Expedition(self, posterior, stack, search, recorder, progress, watch)
        plan = work.plan()
        state = from_tensors(work.search, checkpoint.tensors) if progress.batch else None
        if progress.batch >= work.joined_from:
            work.join()
        effort = [0, *accumulate(step.effort for step in plan)]
        watch.stage("searching", effort[-1])
        watch.advance(effort[progress.batch])
        with stopping(watch.stopping) as stop:
            while progress.batch < len(plan):
                state = plan[progress.batch].work(state)
                progress.batch += 1
                watch.advance(effort[progress.batch])
                work.save(state)
                stop.obey()
        if state is None:
            raise ValueError("an empty plan")
        main, states = work.systems(state)
        # with the search, so that a training cut short from here on can end again
        tensors = main.tensors() | to_tensors(work.search, state)
        if states is not None:
            tensors |= {f"{STATES}.{name}": t for name, t in states.tensors().items()}
        done = Checkpoint(tensors, asdict(progress), main.posterior.z_dim)
        recorder.save_checkpoint(progress.epoch + 1, done)
        if states is not None:
            recorder.write_latents(infer(states, source, self.seed, watch), STATES)
        recorder.write_latents(infer(main, source, self.seed, watch))
        return main

    def _search(
        self, system: System, stack: ParticleStack, recorder: Recorder, watch: Watch
    ) -> Search:
        checkpoint = _begun(recorder)
        parts, held = stack.hold_out(self.options.hold_out, self.seed)
        if len(held) < LEAST_HELD or len(parts) < LEAST_HELD:
            raise InputError(
                stack.source,
                f"{len(stack)} particles, {len(held)} of them kept aside",
                f"at least {LEAST_HELD}",
                "Give more particles or a larger `hold_out`.",
            )
        device, contrast = system.device, system.model.likelihood.contrast
        memory = self.options.memory
        room = free_bytes() / 2 if memory is None else memory * 1e9
        kept, aside = (
            FilteredStack(stack, rows, int(room * len(rows) / len(stack)), device, recorder.folder)
            for rows in (parts, held)
        )
        watch.stage("filtering images", len(stack))
        kept.read(watch.advance)
        aside.read(lambda done: watch.advance(len(kept) + done))
        doubts = Doubts.of(self.options, contrast)
        return start_search(
            kept, aside, checkpoint.tensors, contrast, doubts, seed=self.seed, device=device
        )


def _particles(source: Source) -> ParticleStack:
    if not isinstance(source, ParticleStack):
        raise TypeError(f"expected particles, found {type(source)}")
    return source


def _begun(recorder: Recorder) -> Checkpoint:
    checkpoint = recorder.checkpoint()
    if checkpoint is None:
        raise ValueError("a recorder without a first checkpoint")
    return checkpoint


@dataclass
class Expedition:
    """One training by expectation maximisation.

    Args:
        method: Its options.
        posterior: What is wanted: a subspace of at most so many dimensions, or states.
        stack: The particles.
        search: What is known of them so far.
        recorder: Where everything is written.
        progress: Where the training stands.
        watch: Told of the progress.
    """

    method: ExpectationMaximisation
    posterior: Posterior
    stack: ParticleStack
    search: Search
    recorder: Recorder
    progress: Progress
    watch: Watch

    def __post_init__(self) -> None:
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
        progress, geometry = self.progress, self.stack.geometry
        if not isfinite(entry["objective"]):
            raise NonFiniteError(
                f"pass {progress.epoch}, shells {entry['shells']}: the evidence is "
                f"{entry['evidence']}. Check the particles with a smaller `shells`."
            )
        entry = {
            "epoch": progress.epoch,
            "step": progress.epoch,
            "reconstruction": -entry["evidence"] - entry["kl"],
            **entry,
            "angstrom": round(geometry.box * geometry.pixel_size_angstrom / entry["shells"], 2),
            "noise_spectrum": [round(float(value), 6) for value in self.search.noise],
            "seconds": round(progress.seconds, 3),
            "cpu_seconds": round(progress.cpu_seconds, 3),
        }
        if self.search.told:
            entry["remarks"], self.search.told = self.search.told, []
        self.recorder.log(entry)
        self.watch.epoch(entry)
        progress.epoch += 1

    def plan(self) -> list[Step]:
        """The steps from nothing to the volumes at the last shell."""
        last, starts = self.stack.disc.radius, self.method.options.starts
        first = marching(min(self.method.options.search_shells, last))
        halts = marching(last, first[-1])
        begun = partial(self.begin, shells=first[0])
        steps = [Step(begun, first[0], starts * linear.FIRST_PASSES)]
        steps += [Step(partial(self.march, shells=n), n, linear.PASSES) for n in first[1:]]
        self.joined_from = len(steps) + 1
        refined = [Step(partial(self.refine, shells=n), n, classes.PASSES) for n in halts]
        if self.posterior.gives_states:
            return [*steps, Step(self.choose_states, first[-1]), *refined]
        late = partial(self.march, passes=LATE_PASSES)
        marched = [Step(partial(late, shells=n), n, LATE_PASSES) for n in halts[1:]]
        return [*steps, Step(self.choose_both, first[-1]), *marched, *refined]

    def begin(self, _: State | None, shells: int) -> State:
        """Find a subspace at few shells."""
        method, starts = self.method, self.method.options.starts
        for at in FIRST_SURVEYS if self.search.doubts else ():
            lattice = self.search.lattice(min(at, self.stack.disc.radius))
            self.search.survey_consensus(lattice)
        most = self.posterior.z_dim
        return linear.begin(self.search, shells, most, starts=starts, seed=method.seed)

    def march(self, state: State | None, shells: int, passes: int = linear.PASSES) -> State:
        """Take the subspace to more shells; states that were read from it stay."""
        if isinstance(state, Both):
            return replace(state, subspace=_subspace(self.march(state.subspace, shells, passes)))
        found = _subspace(state)
        if shells >= MASK_SHELLS and not self.is_joined:
            found = self.pruned(found)
        if shells >= MASK_SHELLS and self.method.options.mask is None:
            self.search.tighten(self.search.lattice(shells))
        return linear.march(self.search, found, shells, passes)

    def pruned(self, state: Subspace) -> Subspace:
        """Drop dimensions that particles kept aside do not support, all but one."""
        held = linear.read_terms(self.search, self.search.held, state)
        choice, axes = self.dimensions_of(held)
        # their lengths are left as they are: with more shells they may show more
        turn = axes / axes.norm(dim=0)
        kept = min(choice.enough(NOTHING / 4) + 1, len(axes))
        return linear.truncated(self.search, linear.turned(state, turn), kept)

    def dimensions_of(self, held: linear.Terms) -> tuple[Choice, Tensor]:
        """`choose_dimensions` over the quarters."""
        return choose_dimensions(held, self.search.nuisances.contrast, self.quarters[held.index])

    @cached_property
    def quarters(self) -> Tensor:
        """One of four parts for each particle of the stack, the same for copies of one."""
        part = torch.zeros(len(self.stack), dtype=torch.long)
        for bit in (1, 2):
            part[self.stack.hold_out(0.5, self.method.seed + bit)[1]] += bit
        return part

    def choose_both(self, state: State | None) -> State:
        """Keep as many dimensions as particles kept aside support, and read states from them.

        Distinct states are kept if particles kept aside are clearly better explained by them than
        by a normal distribution over the same subspace. All particles are used from here.
        """
        search = self.search
        found = _subspace(state)
        held = linear.read_terms(search, search.held, found)
        dimensions, axes = self.dimensions_of(held)
        chosen = linear.truncated(search, linear.turned(found, axes), dimensions.chosen)
        if not dimensions.chosen:
            self.recorder.write_choices([dimensions])
            self.join()
            return chosen
        train, held = (
            linear.read_terms(search, part, chosen) for part in (search.parts, search.held)
        )
        states, mixture = choose_states(train, held, search.nuisances.contrast, self.method.seed)
        reading = choose_reading(held, mixture, search.nuisances.contrast)
        self.recorder.write_choices([dimensions, states, reading])
        self.join()
        if reading.chosen == CONTINUUM or states.chosen == 1:
            return chosen
        return Both(chosen, classes.from_mixture(search, chosen, mixture))

    def choose_states(self, state: State | None) -> State:
        """Read a mixture from the subspace; use all particles from here."""
        found, search = _subspace(state), self.search
        train = linear.read_terms(search, search.parts, found)
        states, seed = self.posterior.states_asked, self.method.seed
        if states is None:
            held = linear.read_terms(search, search.held, found)
            choice, mixture = choose_states(train, held, search.nuisances.contrast, seed)
            self.recorder.write_choices([choice])
        else:
            mixture = mixture_of(train, states, search.nuisances.contrast, seed)
        self.join()
        return classes.from_mixture(search, found, mixture)

    def refine(self, state: State | None, shells: int) -> State:
        """Take the states' volumes to more shells; of a subspace without states nothing is left."""
        if isinstance(state, Subspace):
            return state
        if isinstance(state, Both):
            noise = self.search.noise.clone() if state.noise is None else state.noise
            refined = self.refine(state.states, shells)
            if not isinstance(refined, States):
                raise TypeError(f"expected states, found {type(refined)}")
            return Both(state.subspace, refined, noise)
        if not isinstance(state, States):
            raise TypeError(f"expected states, found {type(state)}")
        last = shells == self.stack.disc.radius
        found = classes.march(self.search, state, shells, last=last)
        # so many as were asked for are kept, whatever they hold
        asked = self.posterior.states_asked is not None
        return found if asked else classes.without_empty(self.search, found)

    @property
    def is_joined(self) -> bool:
        """Whether the choice is made and all particles are used."""
        return isinstance(self.search.parts, FilteredTogether)

    def join(self) -> None:
        """Use the particles that were kept aside too."""
        parts, held = self.search.parts, self.search.held
        if isinstance(parts, FilteredStack) and isinstance(held, FilteredStack):
            self.search.parts = FilteredTogether((parts, held))

    def systems(self, state: State) -> tuple[System, System | None]:
        """What the search ended with.

        Args:
            state: The volumes.

        Returns:
            The system that was asked for, and of a subspace the one of its states, if it has any.
        """
        if not isinstance(state, Both):
            return finished(self.stack, self.search, state), None
        states = finished(self.stack, self.search, state.states)
        noise = self.search.noise if state.noise is None else state.noise
        return finished(self.stack, replace(self.search, noise=noise), state.subspace), states

    def save(self, state: State) -> None:
        """Keep a checkpoint of the search.

        Args:
            state: The volumes now.
        """
        self.stopwatch.lap()
        tensors = to_tensors(self.search, state)
        checkpoint = Checkpoint(tensors, asdict(self.progress), SEARCHING)
        self.recorder.save_checkpoint(self.progress.epoch, checkpoint)


def _subspace(state: State | None) -> Subspace:
    if not isinstance(state, Subspace):
        raise TypeError(f"expected a subspace, found {type(state)}")
    return state
