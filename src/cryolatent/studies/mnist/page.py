"""The page: every figure of appendix B beside its numbers."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from cryolatent.report.colours import DIGITS
from cryolatent.report.formats import decimal, duration, integer, option_value, sentence_list
from cryolatent.report.pictures import curves_picture, grid_picture
from cryolatent.report.study import (
    NOTHING,
    Amount,
    Entry,
    Line,
    Panel,
    Picture,
    Study,
    map_picture,
    render_study,
)
from cryolatent.studies.mnist.experiments import COMMON, Experiment
from cryolatent.studies.mnist.judging import Bench, Number, Outcome
from cryolatent.studies.mnist.measures import Measures
from cryolatent.studies.mnist.notes import lead, notes
from cryolatent.studies.mnist.work import FITTED, GRID, best_of
from cryolatent.studies.training import PICTURES

SYSTEM = "Digits"
REPORTED_KL = {"vae": 660, "table": 950}


@dataclass(frozen=True)
class Results:
    """What all trainings gave.

    Args:
        folder: Where the runs lie, as ``experiment/seed``.
        measures: Numbers of each run by that name.
        counts: Digits trained on and kept aside.
        source: What the digits are.
    """

    folder: Path
    measures: Mapping[str, Measures]
    counts: tuple[int, int]
    source: str


def write_page(
    experiments: Collection[Experiment], results: Results, command: str, output: Path
) -> Path:
    """Judge every experiment and write the page.

    Args:
        experiments: In the order of the page.
        results: What came of them.
        command: The command that was given.
        output: The file.

    Returns:
        The page.
    """
    bench = bench_of(experiments, results)
    entries = tuple(
        Entry(
            name=experiment.name,
            label=experiment.label,
            title=experiment.title,
            saw=experiment.saw,
            question=experiment.claim.value,
            options=_options(experiment),
            panels=(_panel(experiment, bench, results),),
        )
        for experiment in experiments
    )
    study = Study(
        eyebrow="YALEU/TR-1565, appendix B",
        title="The digits of appendix B, measured",
        lead=lead(results.source, results.counts),
        systems=(SYSTEM,),
        entries=entries,
        legend=tuple((str(digit), colour) for digit, colour in enumerate(DIGITS)),
        notes=notes(bench),
        command=command,
    )
    return render_study(study, output)


def bench_of(experiments: Collection[Experiment], results: Results) -> Bench:
    """Gather the outcomes.

    Args:
        experiments: The experiments.
        results: What all trainings gave.

    Returns:
        Outcomes, ready to be judged.
    """
    outcomes = {}
    for experiment in experiments:
        if experiment.move is None:
            names = [f"{experiment.name}/{seed}" for seed in experiment.seeds]
            found = [results.measures[name] for name in names if name in results.measures]
            finite = tuple(m for m in found if not m.diverged)
            outcomes[experiment.name] = Outcome(experiment, finite, len(found) - len(finite))
    return Bench(outcomes)


def _panel(experiment: Experiment, bench: Bench, results: Results) -> Panel:
    verdict = bench.judge(experiment)
    if experiment.move is not None:
        lines = _move_lines(experiment, bench)
        pictures = _move_pictures(experiment, results)
        facts = f"The trained encoders of {experiment.against}; nothing is trained."
    else:
        outcome = bench.outcomes[experiment.name]
        lines = _lines(outcome, bench.outcomes[experiment.against])
        pictures = _pictures(experiment, results)
        facts = _facts(outcome, bench.stuck(experiment))
    return Panel(SYSTEM, verdict.word, verdict.reason, facts, tuple(lines), tuple(pictures))


def _facts(outcome: Outcome, stuck: int) -> str:
    count, trained = outcome.diverged + len(outcome.measures), outcome.measures
    seeds = f"{count} seeds" if count > 1 else "One seed"
    fate = f"{outcome.diverged} diverged, {stuck} stuck in a poor minimum"
    if not trained:
        return f"{seeds}: {fate}."
    cost = sum(m.core_seconds for m in trained) / len(trained)
    return f"{seeds}: {fate}. {integer(trained[0].steps)} steps, {duration(cost)} of one core each."


def _estimate(name: str) -> Number:
    def number(measures: Measures) -> float | None:
        found = getattr(measures, name)
        return getattr(found, "value", found)

    return number


LINES: tuple[tuple[str, Number, int, str], ...] = (
    ("ELBO", _estimate("bound"), 2, "nats per picture"),
    ("Reconstruction", _estimate("reconstruction"), 2, "nats per picture"),
    ("KL", _estimate("kl"), 2, "nats per picture"),
    ("Digit told by neighbours", _estimate("labels"), 3, "in latent space, itself left out"),
    ("Right reconstructions", _estimate("correct"), 3, "as read by a classifier of originals"),
    (
        "Held out: ELBO",
        _estimate("held_bound"),
        2,
        f"tables: {FITTED} fitted, decoder frozen",
    ),
    ("Held out: digit told", _estimate("held_labels"), 3, "by neighbours among the trained"),
    ("Held out: right", _estimate("held_correct"), 3, "reconstructions"),
    ("Amortisation gap", _estimate("gap"), 2, "nats that a fit of each posterior adds"),
    ("Not normal", _estimate("not_normal"), 3, "Kolmogorov's distance of the latents, 0 if normal"),
)


def _lines(outcome: Outcome, other: Outcome) -> list[Line]:
    alone = outcome.experiment.name == other.experiment.name
    lines = _summed(outcome, other, alone)
    for label, number, decimals, hint in LINES:
        values, others = outcome.numbers(number), other.numbers(number)
        if values:
            beside = NOTHING if alone or not others else Amount.of_seeds(others, decimals)
            lines.append(Line(label, Amount.of_seeds(values, decimals), beside, hint))
    return lines


def _summed(outcome: Outcome, other: Outcome, alone: bool) -> list[Line]:
    """The terms as the report gives them: summed over a batch, at the end of the training."""
    size = COMMON["batch_size"]
    lines = []
    for label, key in (("Reconstruction of a batch", "reconstructions"), ("KL of a batch", "kls")):
        if key == "kls" and not outcome.numbers(_estimate("kl")):
            continue
        values, others = (
            [size * getattr(m, key)[-1] for m in each.measures if getattr(m, key)]
            for each in (outcome, other)
        )
        beside = NOTHING if alone or not others else Amount.of_seeds(others, 0)
        reported = REPORTED_KL.get(outcome.experiment.name) if key == "kls" else None
        said = f"; about {reported} in the report" if reported else ""
        hint = f"summed over {size} pictures, last epoch{said}"
        lines.append(Line(label, Amount.of_seeds(values, 0), beside, hint))
    return lines


def _move_lines(experiment: Experiment, bench: Bench) -> list[Line]:
    measures = bench.outcomes[experiment.against].measures
    found = [m.moves[experiment.name] for m in measures if experiment.name in m.moves]
    moved = [m.displacement.value for m in found if m.displacement is not None]
    null = [m.null.value for m in found if m.null is not None]
    plain = bench.outcomes[experiment.against].numbers(_estimate("correct"))
    return [
        Line(
            "Displacement",
            Amount.of_seeds(moved),
            Amount(f"{decimal(null[0], 3)} if shuffled") if null else NOTHING,
            "median over pictures, in distances of random pairs",
        ),
        Line(
            "Right reconstructions",
            Amount.of_seeds([m.correct.value for m in found]),
            Amount.of_seeds(plain) if plain else NOTHING,
            "as read by a classifier of originals; beside them those of the unmoved",
        ),
    ]


def _options(experiment: Experiment) -> str:
    reading = f" This is the reading of {experiment.reading}." if experiment.reading else ""
    if experiment.move is not None:
        move = experiment.move
        words = [f"{move.columns} column{'s' * (move.columns > 1)}, wrapped around"]
        if move.noise_variance:
            words = [f"noise of mean {move.noise_mean:g}, variance {move.noise_variance:g}"]
        return f"The encoders of {experiment.against} with {words[0]}.{reading}"
    words = [
        f"{key.replace('_', ' ')} {option_value(value)}"
        for key, value in experiment.options.items()
    ]
    text = sentence_list(words) if words else "as the notes say"
    start = f", started from {experiment.pretrained}" if experiment.pretrained else ""
    against = "" if experiment.name == "vae" else f"; compared with {experiment.against}"
    return f"{text}{start}{against}.{reading}"


def _arrays(results: Results, experiment: str) -> dict[str, np.ndarray]:
    """What the best seed's run has kept."""
    runs = tuple(
        results.folder / name
        for name, measures in results.measures.items()
        if name.startswith(f"{experiment}/") and not measures.diverged
    )
    if not runs:
        return {}
    path = best_of(runs) / PICTURES
    with np.load(path) as arrays:
        return dict(arrays)


def _colours(labels: np.ndarray) -> list[str]:
    return [DIGITS[int(label)] for label in labels]


def _square(rows: Float[np.ndarray, "n k"]) -> Float[np.ndarray, "n y x"]:
    side = round(rows.shape[1] ** 0.5)
    return rows.reshape(-1, side, side)


def _paired(inputs: Float[np.ndarray, "n k"], outputs: Float[np.ndarray, "n k"]) -> np.ndarray:
    """Rows of ten inputs, each above its reconstructions."""
    half = len(inputs) // 2
    parts = [inputs[:half], outputs[:half], inputs[half:], outputs[half:]]
    return _square(np.concatenate(parts))


def _figure(experiment: Experiment, position: int) -> str:
    return f"Figure {experiment.figures[position]}: " if experiment.figures else ""


def _pictures(experiment: Experiment, results: Results) -> list[Picture]:
    name = experiment.name
    curves = [
        results.measures[key].reconstructions
        for key in (f"{name}/{seed}" for seed in experiment.seeds)
        if key in results.measures
    ]
    totals = [
        _total(results.measures[f"{name}/{s}"])
        for s in experiment.seeds
        if f"{name}/{s}" in results.measures
    ]
    pictures = (
        [
            curves_picture(
                f"{_figure(experiment, 0)}loss", totals, "nats per picture", f"loss-{name}"
            )
        ]
        if any(curves)
        else []
    )
    arrays = _arrays(results, name)
    if not arrays:
        return pictures
    kind = "latents" if "manifold" in arrays else "latents, two principal components"
    points = map_picture(
        f"{_figure(experiment, 0)}{kind} by digit",
        arrays["plane"].astype(float),
        _colours(arrays["labels"]),
        f"map-{name}",
        numbered=0,
    )
    pairs = _paired(arrays["inputs"], arrays["outputs"])
    caption = f"{_figure(experiment, 1)}pictures, and below each its reconstruction"
    pictures += [points, grid_picture(caption, pairs, len(arrays["inputs"]) // 2)]
    if "manifold" in arrays:
        pictures.append(
            grid_picture(
                "The decoder over the middle 96 % of the latents",
                _square(arrays["manifold"]),
                GRID,
                gap_pixels=0,
            )
        )
    return pictures


def _total(measures: Measures) -> Sequence[float]:
    if not measures.kls:
        return measures.reconstructions
    return [a + b for a, b in zip(measures.reconstructions, measures.kls, strict=True)]


def _move_pictures(experiment: Experiment, results: Results) -> list[Picture]:
    arrays, name = _arrays(results, experiment.against), experiment.name
    if f"{name}-after" not in arrays:
        return []
    after, before = (arrays[f"{name}-{key}"].astype(float) for key in ("after", "before"))
    colours = _colours(arrays[f"{name}-labels"])
    first = arrays[f"{name}-first"][:10]
    points = map_picture(
        f"{_figure(experiment, 0)}latents of the moved pictures by digit",
        after,
        colours,
        f"map-{name}",
        numbered=0,
    )
    links = map_picture(
        "Ten pictures, red, joined to their moved selves, green",
        np.concatenate([before[first], np.delete(before, first, axis=0)]),
        [colours[i] for i in first] + [c for i, c in enumerate(colours) if i not in set(first)],
        f"links-{name}",
        moved=np.concatenate([after[first], np.delete(after, first, axis=0)]),
    )
    pairs = _paired(arrays[f"{name}-inputs"], arrays[f"{name}-outputs"])
    caption = f"{_figure(experiment, 1)}moved pictures, and below each its reconstruction"
    return [points, links, grid_picture(caption, pairs, len(arrays[f"{name}-inputs"]) // 2)]


def one_line(measures: Measures) -> str:
    """A training in a line of progress.

    Args:
        measures: Its numbers.

    Returns:
        Text.
    """
    if measures.diverged:
        return "diverged"
    kl = "     -" if measures.kl is None else f"{measures.kl:6.2f}"
    return (
        f"reconstruction {decimal(measures.reconstruction, 1):>6}  KL {kl}  "
        f"digits {measures.labels:4.0%}  {measures.core_seconds:5.0f} core-s"
    )
