"""Audits that train models of their own, put together."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from cryolatent.analysis.clusters import Clusters, clusters_of
from cryolatent.audits.base import Audit
from cryolatent.audits.classes import Classes, Distinctness, distinctness, indicators
from cryolatent.audits.confirmation import Confirmation
from cryolatent.audits.halves import Agreement, Reality
from cryolatent.audits.null import Null
from cryolatent.config.training import TrainConfig
from cryolatent.data import ParticleStack
from cryolatent.runs.run import Run
from cryolatent.sessions.claims import claims, homogeneous, replica, showing
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
    watch: Callable[[str], Watch] = lambda name: Watch(),
) -> list[Audit]:
    """Train models of each half of the particles, and prepare what is asked of them.

    Args:
        subject: Whose latents are put to the test.
        stack: Its particles, in the order of its latents.
        config: Options of a run of them, which give how they are read.
        folder: Where the controls' runs belong; what is finished there is kept.
        run: The subject's run, if it is one of this program.
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

    def repeated(number: int) -> Run:
        path = folder / f"null-{subject.name}-{number}"
        same = homogeneous(stack, halves, seed + number)
        told = watch(f"without differences, {number + 1}")
        return trained(opened(path, config, same), path, config, same, told)

    def apart(shown: ParticleStack, models: tuple[Half, Half], found: Clusters) -> Distinctness:
        latents = indicators(found.labels)
        return distinctness(claims(shown, models, latents, seed, latents.shape[1]), found.labels)

    def made_of_nothing(number: int) -> float:
        again = repeated(number)
        found = clusters_of(again, None, seed)
        if not found.are_states or len(found.medoids) < 2:
            return 0.0
        same = homogeneous(stack, halves, seed + number)
        gains = apart(same, showing(halves, same), found)
        return max((float(gain.mean()) for gain in gains.values()), default=0.0)

    asked: list[Audit] = [
        reality,
        Null(run=run, repeated=repeated),
        confirmation,
        Agreement(read=read, seed=seed),
    ]
    states = None if run is None else clusters_of(run, None, seed)
    if states is not None and states.are_states:
        several = apart(stack, halves, states) if len(states.medoids) > 1 else None
        asked.append(Classes(distinctness=several, nothing=made_of_nothing, seed=seed))
    return asked
