"""Audits that train models of their own, put together."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from cryolatent.analysis.clusters import Clusters, clusters_of
from cryolatent.audits.base import Audit
from cryolatent.audits.classes import Classes, distinctness, indicators
from cryolatent.audits.confirmation import Confirmation
from cryolatent.audits.halves import Agreement, Reality
from cryolatent.audits.null import REPLICAS, Null
from cryolatent.config.training import TrainConfig
from cryolatent.data import ParticleStack
from cryolatent.runs.run import Run
from cryolatent.sessions.claims import Claim, claims, homogeneous, replica, showing
from cryolatent.sessions.crossread import Half, HalfRead, cross_read, half_models
from cryolatent.sessions.subject import Subject
from cryolatent.sessions.training import opened, trained
from cryolatent.train import Watch


def controls(
    subject: Subject,
    stack: ParticleStack,
    config: TrainConfig,
    folder: Path,
    *,
    run: Run | None = None,
    replicas: int = REPLICAS,
    watch: Callable[[str], Watch] = lambda name: Watch(),
) -> list[Audit]:
    """Train models of each half of the particles, and prepare what is asked of them.

    Args:
        subject: Whose latents are put to the test.
        stack: Its particles, in the order of its latents.
        config: Options of a run of them, which give how they are read.
        folder: Where the controls' runs belong; what is finished there is kept.
        run: The subject's run, if it is one of this program.
        replicas: How many times it is repeated on particles that do not differ.
        watch: Told of the progress of each, by name.

    Returns:
        The audits. Replicas are trained when `Reality` and `Null` are asked, and only if the answer
        needs one.

    Raises:
        InputError: If the folder holds a run of other particles or options, or something else.
    """
    seed = config.session.seed
    halves = half_models(stack, config, folder / "halves", watch=watch)
    read, latents = cross_read(halves, seed, watch=watch), subject.latents()
    z = np.zeros((len(stack), 0))
    if latents is not None:
        z = latents.distribution.mean.double().numpy()
    pair = claims(stack, halves, z, seed) if z.shape[1] and z.std(axis=0).max() > 0 else None
    confirmation = Confirmation(claims=pair, seed=seed)

    def again() -> tuple[HalfRead, HalfRead] | None:
        if pair is None or confirmation.ask(subject).verdict == "fail":
            return None
        made = replica(stack, halves, pair, z, seed)

        def named(name: str) -> Watch:
            return watch(f"as claimed, {name}")

        models = half_models(made, config, folder / f"claimed-{subject.name}", watch=named)
        return cross_read(models, seed, watch=named)

    reality = Reality(read=read, replica=again, seed=seed)

    nothing = Nothing(stack, halves, config, folder / f"null-{subject.name}", watch)
    asked: list[Audit] = [
        reality,
        Null(run=run, repeated=nothing.run, replicas=replicas),
        confirmation,
        Agreement(read=read, seed=seed),
    ]
    states = None if run is None else clusters_of(run, None, seed)
    if states is not None and states.are_states:
        several = None
        if len(states.medoids) > 1:
            several = distinctness(told(stack, halves, states, seed), states.labels)
        asked.append(
            Classes(
                distinctness=several, nothing=nothing.most_distinct, replicas=replicas, seed=seed
            )
        )
    return asked


@dataclass(frozen=True)
class Nothing:
    """A run repeated on replicas of its data in which particles do not differ.

    Args:
        stack: The data.
        halves: Models of each half.
        config: The run's own options.
        folder: Where the runs belong; a number is added.
        watch: Told of the progress of each, by name.
        made: Replicas so far.
    """

    stack: ParticleStack
    halves: tuple[Half, Half]
    config: TrainConfig
    folder: Path
    watch: Callable[[str], Watch]
    made: dict[int, ParticleStack] = field(default_factory=dict)

    def images(self, number: int) -> ParticleStack:
        """The replica of a number, which is made once."""
        if number not in self.made:
            seed = self.config.session.seed + number
            self.made[number] = homogeneous(self.stack, self.halves, seed)
        return self.made[number]

    def run(self, number: int) -> Run:
        """The run on it; one that is finished is kept."""
        same, path = self.images(number), self.folder.with_name(f"{self.folder.name}-{number}")
        watch = self.watch(f"without differences, {number + 1}")
        return trained(opened(path, self.config, same), path, self.config, same, watch)

    def most_distinct(self, number: int) -> float:
        """What the most distinct state that it makes there gains; zero if it makes none."""
        seed = self.config.session.seed
        states = clusters_of(self.run(number), None, seed)
        if not states.are_states or len(states.medoids) < 2:
            return 0.0
        same = self.images(number)
        pair = told(same, showing(self.halves, same), states, seed)
        gains = distinctness(pair, states.labels)
        return max(float(gain.mean()) for gain in gains.values())


def told(
    stack: ParticleStack, halves: tuple[Half, Half], states: Clusters, seed: int
) -> tuple[Claim, Claim]:
    """What the labels of states foretell of the other half.

    Args:
        stack: All particles.
        halves: Models of each half.
        states: Of the particles.
        seed: Fixes draws.

    Returns:
        One claim per half.
    """
    latents = indicators(states.labels)
    return claims(stack, halves, latents, seed, latents.shape[1])
