"""The numbers of an experiment as the lines of a table."""

from collections.abc import Sequence

from cryolatent.report.formats import decimal
from cryolatent.report.study import NOTHING, Amount, Line
from cryolatent.runs.finding import Estimate, Finding
from cryolatent.studies.reproduce.experiments import Experiment
from cryolatent.studies.reproduce.judging import Bench, Outcome
from cryolatent.studies.reproduce.results import Results

ALWAYS = (
    ("Spread of volumes", "spread", 3, "deviation from their mean, over the mean's own"),
    ("ELBO, trained", "bound", 1, "nats per particle"),
    ("ELBO, held out", "held_out", 1, "nats per particle"),
    ("KL", "kl", 2, "nats per particle"),
)
AGAINST_TRUTH = (
    ("Adjusted Rand index", "ari", 3, "against the true states"),
    ("FSC area", "fsc_area", 3, "mean of per-image curves"),
    ("Recovered share", "heterogeneity", 3, "1 is the truth"),
)
AGREEMENT = (
    ("Neighbours shared with the encoder", "neighbours", "beyond chance"),
    ("CKA with the encoder", "cka", "1: equal up to rotation and scale"),
    ("Procrustes with the encoder", "procrustes", "share of variance explained"),
)


def outcome_lines(
    outcome: Outcome, bench: Bench, decoder: str, results: Results
) -> tuple[Line, ...]:
    """The numbers of an experiment beside those of what it is compared with.

    Args:
        outcome: The experiment.
        bench: All experiments on the decoder.
        decoder: The decoder.
        results: What all trainings gave.

    Returns:
        One line per number.
    """
    other = bench.outcomes[outcome.experiment.against]
    kinds = ALWAYS if results.best is None else (*AGAINST_TRUTH, *ALWAYS)
    lines = []
    for label, key, decimals, hint in kinds:
        beside = [] if other is outcome else _column(other, key)
        lines.append(
            Line(
                label,
                Amount.of_seeds(_column(outcome, key), decimals),
                Amount.of_seeds(beside, decimals) if beside else NOTHING,
                _hint(key, hint, outcome, results.best),
            )
        )
    return (*lines, *_agreement_lines(outcome, decoder, results))


def _column(outcome: Outcome, key: str) -> list[float]:
    found = [getattr(measures, key) for measures in outcome.measures]
    return [e.value if isinstance(e, Estimate) else e for e in found if e is not None]


def _hint(key: str, hint: str, outcome: Outcome, best: Estimate | None) -> str:
    if key == "ari" and best is not None:
        return f"{hint}; the oracle's is {decimal(best.value, 3)}"
    nulls = [m.heterogeneity for m in outcome.measures if m.heterogeneity is not None]
    if key == "heterogeneity" and nulls:
        low, high = min(e.low for e in nulls), max(e.high for e in nulls)
        return f"{hint}; by chance {decimal(low, 2)} to {decimal(high, 2)}"
    return hint


def _agreement_lines(outcome: Outcome, decoder: str, results: Results) -> list[Line]:
    name = outcome.experiment.name
    mine, between = (
        [results.agreement(experiment, decoder, seed) for seed in results.of(experiment, decoder)]
        for experiment in (name, "baseline")
    )
    lines = []
    for label, key, hint in AGREEMENT:
        values = [row[key] for row in mine if key in row]
        others = [row[key] for row in between if key in row]
        beside = NOTHING
        if others and name != "baseline":
            beside = Amount(Amount.of_seeds(others).text, "between its own seeds")
        if values:
            lines.append(Line(label, Amount.of_seeds(values), beside, hint))
    return lines


def move_lines(experiment: Experiment, move: str, bench: Bench) -> tuple[Line, ...]:
    """What became of moved images.

    Args:
        experiment: The experiment.
        move: Which move.
        bench: All experiments on the decoder.

    Returns:
        Displacement and retrieval, with the image alone moved and with pose and CTF along.
    """
    measures = bench.outcomes[experiment.against].measures
    lines: list[Line] = []
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
            Amount.of_seeds(statistic),
            Amount(Amount.of_seeds(null[:1]).text, "if pairs are shuffled"),
            "median over particles, in distances of random pairs",
        ),
        Line(
            f"Nearest to itself, {text}",
            Amount.of_seeds(own),
            Amount(Amount.of_seeds(chance[:1], 4).text, "by chance"),
            "share of moved particles whose nearest neighbour is their own unmoved self",
        ),
    ]
