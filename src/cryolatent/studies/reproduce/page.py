"""The page: each experiment with what the report saw, the numbers, the pictures, the verdict."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from cryolatent.analysis.agreement import knn_overlap, linear_cka, procrustes
from cryolatent.report.colours import state_colour
from cryolatent.report.formats import NONE, decimal, duration, integer, sentence_list
from cryolatent.report.maps import DENSITY_COLOUR
from cryolatent.report.study import (
    Entry,
    Line,
    Panel,
    Picture,
    Study,
    map_picture,
    render_study,
    seeds_line,
    volume_pictures,
)
from cryolatent.runs.finding import Estimate, Finding
from cryolatent.runs.run import Run
from cryolatent.simulate.truth import Truth
from cryolatent.studies.reproduce.experiments import Claim, Experiment
from cryolatent.studies.reproduce.judging import Bench, Outcome
from cryolatent.studies.reproduce.measures import Measures
from cryolatent.studies.reproduce.notes import lead, notes
from cryolatent.studies.reproduce.scales import Scale
from cryolatent.studies.reproduce.work import MOVED_VOLUMES, PICTURES, Particles

SYSTEMS = {"mlp": "Coordinate network", "subspace": "Subspace decoder"}
NEIGHBOURS, COMPARED = 20, 2000


@dataclass(frozen=True)
class Results:
    """What all trainings gave.

    Args:
        folder: Where the runs lie, as ``decoder/experiment/seed``.
        measures: Numbers of each run by that name.
        particles: The data.
        best: The oracle's adjusted Rand index, if the truth is known.
    """

    folder: Path
    measures: dict[str, Measures]
    particles: Particles
    best: Estimate | None

    def of(self, experiment: str, decoder: str) -> dict[int, Measures]:
        """Numbers of an experiment's seeds that have not diverged."""
        start = f"{decoder}/{experiment}/"
        found = {int(n[len(start) :]): m for n, m in self.measures.items() if n.startswith(start)}
        return {seed: m for seed, m in sorted(found.items()) if not m.diverged}

    def latents(self, experiment: str, decoder: str, seed: int) -> np.ndarray:
        """Posterior means of a run's first particles."""
        return _latents(self.folder / decoder / experiment / str(seed))


@cache
def _latents(path: Path) -> np.ndarray:
    return Run.open(path).latents().distribution.mean[:COMPARED].double().numpy()


def write_page(
    experiments: Collection[Experiment],
    decoders: Sequence[str],
    scale: Scale,
    results: Results,
    command: str,
) -> Path:
    """Judge every experiment and write ``reproduce.html``.

    Args:
        experiments: In the order of the page.
        decoders: In the order of the columns.
        scale: What was run.
        results: What came of it.
        command: The command that was given.

    Returns:
        The page.
    """
    benches = {decoder: bench(experiments, decoder, results) for decoder in decoders}
    truth = results.particles.truth and Truth.load(results.particles.truth)
    entries = tuple(
        Entry(
            name=experiment.name,
            label=experiment.label,
            title=experiment.title,
            saw=experiment.saw,
            question="" if experiment.claim is Claim.NONE else experiment.claim.value,
            options=_options(experiment),
            panels=tuple(
                _panel(experiment, decoder, benches[decoder], results, truth or None)
                for decoder in decoders
                if decoder in experiment.decoders
            ),
        )
        for experiment in experiments
    )
    names = [] if truth is None else list(truth.state_names)
    study = Study(
        eyebrow="YALEU/TR-1565, experiment by experiment",
        title="What the report saw, measured",
        lead=lead(scale, results.particles, truth or None, results.best),
        systems=tuple(SYSTEMS[decoder] for decoder in decoders),
        entries=entries,
        legend=tuple((name, state_colour(state)) for state, name in enumerate(names)),
        notes=notes(scale, benches),
        command=command,
    )
    return render_study(study, results.folder.parent / "reproduce.html")


def bench(experiments: Collection[Experiment], decoder: str, results: Results) -> Bench:
    """Gather the outcomes on a decoder.

    Args:
        experiments: The experiments.
        decoder: The decoder.
        results: What all trainings gave.

    Returns:
        Outcomes, ready to be judged.
    """
    outcomes = {}
    for experiment in experiments:
        if experiment.move is not None or decoder not in experiment.decoders:
            continue
        found = results.of(experiment.name, decoder)
        if results.best is not None:
            quality = [m.ari.value for m in found.values() if m.ari is not None]
        else:
            quality = [_agreement(experiment.name, decoder, s, results)[0] for s in found]
        total = sum(n.startswith(f"{decoder}/{experiment.name}/") for n in results.measures)
        outcomes[experiment.name] = Outcome(
            experiment, tuple(found.values()), tuple(quality), total - len(found)
        )
    if results.best is not None:
        return Bench(outcomes, results.best.value, "ARI")
    return Bench(outcomes, float(np.mean(outcomes["baseline"].quality)), "agreement")


def _agreement(
    experiment: str, decoder: str, seed: int, results: Results
) -> tuple[float, float, float]:
    """Mean neighbour overlap, CKA and Procrustes of a run with the baseline's other seeds."""
    mine = results.latents(experiment, decoder, seed)
    others = [
        results.latents("baseline", decoder, other)
        for other in results.of("baseline", decoder)
        if (experiment, seed) != ("baseline", other)
    ]
    if not others:
        return float("nan"), float("nan"), float("nan")
    k = min(NEIGHBOURS, len(mine) - 2)
    rows = [
        (float(knn_overlap(mine, z, k).mean()), linear_cka(mine, z), procrustes(mine, z))
        for z in others
    ]
    overlap, cka, turned = np.mean(rows, axis=0).tolist()
    return overlap, cka, turned


def _panel(
    experiment: Experiment, decoder: str, bench: Bench, results: Results, truth: Truth | None
) -> Panel:
    verdict = bench.judge(experiment)
    if experiment.move is not None:
        lines = _move_lines(experiment, experiment.move, bench)
        pictures = _move_pictures(experiment, experiment.move, decoder, results, truth)
        facts = f"The trained runs of {experiment.against}, nothing is trained."
    else:
        outcome = bench.outcomes[experiment.name]
        lines = _lines(outcome, bench, decoder, results)
        pictures = _pictures(experiment.name, decoder, results, truth)
        facts = _facts(outcome)
    return Panel(SYSTEMS[decoder], verdict.word, verdict.reason, facts, lines, pictures)


def _facts(outcome: Outcome) -> str:
    measures = list(outcome.measures)
    if not measures:
        return f"{outcome.diverged} of {outcome.diverged} trainings ended in values not finite."
    seeds = f"{len(measures)} seeds" if len(measures) > 1 else "One seed"
    cost = sum(m.core_seconds for m in measures) / len(measures)
    lost = f" {outcome.diverged} more diverged." if outcome.diverged else ""
    steps = integer(measures[0].steps)
    return f"{seeds}, {steps} steps and {duration(cost)} of one core each.{lost}"


def _lines(outcome: Outcome, bench: Bench, decoder: str, results: Results) -> tuple[Line, ...]:
    name, other = outcome.experiment.name, bench.outcomes[outcome.experiment.against]
    alone = name == other.experiment.name

    def line(label: str, values: Sequence[float], others: Sequence[float], *text: Any) -> Line:
        decimals, hint = text
        return Line(label, seeds_line(values, decimals), _beside(alone, others, decimals), hint)

    def column(of: Outcome, key: str) -> list[float]:
        found = [getattr(m, key) for m in of.measures]
        return [getattr(e, "value", e) for e in found if e is not None]

    lines = []
    if results.best is not None:
        best = f"the oracle's is {decimal(results.best.value, 3)}"
        null = _null(outcome)
        lines = [
            line("Adjusted Rand index", outcome.quality, other.quality, 3, best),
            line("FSC area", outcome.fsc_areas, other.fsc_areas, 3, "mean of per-image curves"),
            line("Recovered share", outcome.heterogeneity, other.heterogeneity, 3, null),
        ]
    lines += [
        line("Spread of volumes", column(outcome, "spread"), column(other, "spread"), 3, ""),
        line("ELBO, trained", column(outcome, "bound"), column(other, "bound"), 1, "nats"),
        line("ELBO, held out", column(outcome, "held_out"), column(other, "held_out"), 1, "nats"),
        line("KL", column(outcome, "kl"), column(other, "kl"), 2, "nats"),
    ]
    return tuple(lines) + _agreement_lines(outcome, decoder, results)


def _null(outcome: Outcome) -> str:
    found = [m.heterogeneity for m in outcome.measures if m.heterogeneity is not None]
    if not found:
        return ""
    low, high = min(e.low for e in found), max(e.high for e in found)
    return f"1 is the truth; by chance {decimal(low, 2)} to {decimal(high, 2)}"


def _beside(alone: bool, values: Sequence[float], decimals: int) -> str:
    return "" if alone or not values else seeds_line(values, decimals)


def _agreement_lines(outcome: Outcome, decoder: str, results: Results) -> tuple[Line, ...]:
    found = results.of(outcome.experiment.name, decoder)
    mine = [_agreement(outcome.experiment.name, decoder, seed, results) for seed in found]
    between = [_agreement("baseline", decoder, s, results) for s in results.of("baseline", decoder)]
    names = ("Neighbours shared with the encoder", "CKA with the encoder", "Procrustes")
    hints = ("beyond chance", "", "share of variance explained")
    alone = outcome.experiment.name == "baseline"
    lines = []
    for column, (name, hint) in enumerate(zip(names, hints, strict=True)):
        values = [row[column] for row in mine if np.isfinite(row[column])]
        others = [row[column] for row in between if np.isfinite(row[column])]
        if values:
            beside = "" if alone or not others else f"{seeds_line(others)} between its seeds"
            lines.append(Line(name, seeds_line(values), beside, hint))
    return tuple(lines)


def _options(experiment: Experiment) -> str:
    if experiment.move is not None:
        return f"The runs of {experiment.against}, with their images moved."
    words = [
        f"{key.replace('_', ' ')} {value:g}"
        if isinstance(value, float)
        else f"{key.replace('_', ' ')} {value}"
        for options in experiment.options.values()
        for key, value in options.items()
        if (key, value) != ("twin_ctf", "own")
    ]
    text = sentence_list(words) if words else "posterior encoder"
    against = "" if experiment.name == "baseline" else f"; compared with {experiment.against}"
    start = f", started from {experiment.pretrained}" if experiment.pretrained else ""
    return f"{text}{start}{against}."


def _pictures(
    name: str, decoder: str, results: Results, truth: Truth | None
) -> tuple[Picture, ...]:
    path = results.folder / decoder / name / "0" / PICTURES
    if not path.exists():
        return ()
    with np.load(path) as arrays:
        colours = _colours(arrays["ids"], truth)
        identity = f"map-{decoder}-{name}"
        drawn = map_picture("Latents of seed 0", arrays["plane"], colours, identity)
        sizes = np.bincount(arrays["labels"])
        captions = [f"Cluster {c}, {n} particles" for c, n in enumerate(sizes.tolist())]
        return (drawn, *volume_pictures(captions, arrays["projections"][: len(captions)]))


def _colours(ids: np.ndarray, truth: Truth | None) -> list[str]:
    if truth is None:
        return [DENSITY_COLOUR] * len(ids)
    return [state_colour(int(s)) for s in truth.state[truth.match(ids, Path("truth"))]]


def _move_lines(experiment: Experiment, move: str, bench: Bench) -> tuple[Line, ...]:
    measures = bench.outcomes[experiment.against].measures
    lines = []
    for how, text in (("raw", "image alone"), ("consistent", "pose and CTF along")):
        found = [f for m in measures for f in m.moves if f.name == f"{move}-{how}"]
        lines += _displacements(found, text)
    return tuple(lines)


def _displacements(found: Sequence[Finding], text: str) -> list[Line]:
    statistic = [f.statistic.value for f in found if f.statistic]
    null = [f.null.value for f in found if f.null]
    own = [f.numbers["retrieval"].value for f in found]
    chance = [f.numbers["retrieval_by_chance"].value for f in found]
    return [
        Line(
            f"Displacement, {text}",
            seeds_line(statistic) if statistic else NONE,
            f"{seeds_line(null[:1])} if pairs are shuffled" if null else "",
            "median over particles, in distances of random pairs",
        ),
        Line(
            f"Nearest to itself, {text}",
            seeds_line(own),
            f"{seeds_line(chance[:1], 4)} by chance",
            "share of moved particles whose nearest neighbour is their own unmoved self",
        ),
    ]


def _move_pictures(
    experiment: Experiment, move: str, decoder: str, results: Results, truth: Truth | None
) -> tuple[Picture, ...]:
    path = results.folder / decoder / experiment.against / "0" / PICTURES
    if not path.exists():
        return ()
    pictures: list[Picture] = []
    hows = ("raw",) if experiment.claim is not Claim.NONE else ("consistent",)
    with np.load(path) as arrays:
        for how in hows:
            key = f"{move}-{how}"
            pictures.append(
                map_picture(
                    "Unmoved particles, red; moved, green",
                    arrays[f"{key}-before"],
                    _colours(arrays[f"{key}-ids"], truth),
                    f"map-{decoder}-{experiment.name}",
                    moved=arrays[f"{key}-after"],
                )
            )
            captions = [
                f"Particle {number + 1}, {when}"
                for number in range(MOVED_VOLUMES)
                for when in ("as it is", "moved")
            ]
            pictures += volume_pictures(captions, arrays[f"{key}-projections"])
    return tuple(pictures)
