"""The page: each experiment with what the report saw, the numbers, the pictures, the verdict."""

from collections.abc import Collection, Sequence
from pathlib import Path

from cryolatent.report.colours import state_colour
from cryolatent.report.formats import duration, integer, sentence_list
from cryolatent.report.study import Entry, Panel, Study, render_study
from cryolatent.simulate.truth import Truth
from cryolatent.studies.reproduce.experiments import Claim, Experiment
from cryolatent.studies.reproduce.judging import Bench, Outcome
from cryolatent.studies.reproduce.notes import lead, notes
from cryolatent.studies.reproduce.pictures import move_pictures, run_pictures
from cryolatent.studies.reproduce.results import Results
from cryolatent.studies.reproduce.scales import Scale
from cryolatent.studies.reproduce.tables import move_lines, outcome_lines

SYSTEMS = {"mlp": "Coordinate network", "subspace": "Subspace decoder"}


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
    folder = results.particles.truth
    truth = None if folder is None else Truth.load(folder)
    entries = tuple(
        Entry(
            name=experiment.name,
            label=experiment.label,
            title=experiment.title,
            saw=experiment.saw,
            question="" if experiment.claim is Claim.NONE else experiment.claim.value,
            options=setting(experiment),
            panels=tuple(
                _panel(experiment, decoder, benches[decoder], results, truth)
                for decoder in decoders
                if decoder in experiment.decoders
            ),
        )
        for experiment in experiments
    )
    names = () if truth is None else truth.state_names
    study = Study(
        eyebrow="YALEU/TR-1565, experiment by experiment",
        title="What the report saw, measured",
        lead=lead(scale, results.particles, truth, results.best),
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
        name = experiment.name
        found = results.of(name, decoder)
        if results.best is not None:
            quality = [m.ari.value for m in found.values() if m.ari is not None]
        else:
            rows = [results.agreement(name, decoder, seed) for seed in found]
            quality = [row["neighbours"] for row in rows if row]
        outcomes[name] = Outcome(
            experiment, tuple(found.values()), tuple(quality), results.diverged(name, decoder)
        )
    if results.best is not None:
        return Bench(outcomes, results.best.value, "ARI")
    return Bench(outcomes, None, "agreement")


def _panel(
    experiment: Experiment, decoder: str, bench: Bench, results: Results, truth: Truth | None
) -> Panel:
    verdict, identity = bench.judge(experiment), f"map-{decoder}-{experiment.name}"
    if experiment.move is not None:
        how = "consistent" if experiment.claim is Claim.NONE else "raw"
        run = results.folder / decoder / experiment.against / "0"
        lines = move_lines(experiment, experiment.move, bench)
        pictures = move_pictures(run, f"{experiment.move}-{how}", identity, truth)
        facts = f"The trained runs of {experiment.against}; nothing is trained."
    else:
        outcome = bench.outcomes[experiment.name]
        lines = outcome_lines(outcome, bench, decoder, results)
        run = results.folder / decoder / experiment.name / "0"
        pictures = run_pictures(run, identity, truth)
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


def setting(experiment: Experiment) -> str:
    """Say how an experiment differs from what it is compared with.

    Args:
        experiment: The experiment.

    Returns:
        A sentence.
    """
    if experiment.move is not None:
        return f"The runs of {experiment.against}, with their images moved."
    words = [
        f"{key.replace('_', ' ')} {f'{value:g}' if isinstance(value, float) else value}"
        for key, value in experiment.options.items()
        if (key, value) != ("twin_ctf", "own")
    ]
    text = sentence_list(words) if words else "posterior encoder"
    start = f", started from {experiment.pretrained}" if experiment.pretrained else ""
    against = "" if experiment.name == "baseline" else f"; compared with {experiment.against}"
    return f"{text}{start}{against}."
