"""Verdicts on the report's claims, from made-up outcomes."""

from dataclasses import replace

import pytest

from cryolatent.runs.finding import Estimate, Finding
from cryolatent.studies.reproduce.experiments import BY_NAME, EXPERIMENTS
from cryolatent.studies.reproduce.judging import Bench, Outcome, moved
from cryolatent.studies.reproduce.measures import Measures


def exactly(value: float) -> Estimate:
    return Estimate(value=value, low=value, high=value)


def outcome(name: str, *quality: float, **measures: float) -> Outcome:
    wrapped = {
        key: exactly(value) if key in ("heterogeneity", "fsc_area") else value
        for key, value in measures.items()
    }
    made = tuple(Measures.model_validate(wrapped) for _ in quality)
    return Outcome(BY_NAME[name], made, quality, 0)


def bench(*others: Outcome, baseline: tuple[float, ...] = (0.9, 0.92, 0.88)) -> Bench:
    found = [outcome("baseline", *baseline, heterogeneity=0.9, fsc_area=0.3), *others]
    return Bench({o.experiment.name: o for o in found}, 1.0, "ARI")


@pytest.mark.parametrize(
    ("quality", "word"),
    [((0.85, 0.86, 0.87), "agrees"), ((0.1, 0.12, 0.11), "differs"), ((0.7,), "inconclusive")],
)
def test_alike(quality: tuple[float, ...], word: str) -> None:
    made = bench(outcome("table-random", *quality), outcome("table-zero", 0.5, 0.6))
    assert made.judge(BY_NAME["table-random"]).word == word


@pytest.mark.parametrize(
    ("quality", "word"), [((0.4, 0.41, 0.42), "agrees"), ((1.0, 1.0, 1.0), "differs")]
)
def test_poorer(quality: tuple[float, ...], word: str) -> None:
    assert bench(outcome("small", *quality)).judge(BY_NAME["small"]).word == word


@pytest.mark.parametrize(("share", "word"), [(0.01, "agrees"), (0.8, "differs")])
def test_consensus_and_heterogeneous_are_opposites(share: float, word: str) -> None:
    frozen = [
        outcome(name, 0.0, 0.0, heterogeneity=share)
        for name in ("frozen-random", "frozen-pretrained")
    ]
    made = bench(*frozen)
    opposite = {"agrees": "differs", "differs": "agrees"}
    assert made.judge(BY_NAME["frozen-random"]).word == word
    assert made.judge(BY_NAME["frozen-pretrained"]).word == opposite[word]


@pytest.mark.parametrize(("area", "word"), [(0.2, "agrees"), (0.35, "differs")])
def test_blurred(area: float, word: str) -> None:
    made = bench(outcome("no-encoding", 0.5, fsc_area=area))
    assert made.judge(BY_NAME["no-encoding"]).word == word


def finding(name: str, value: float) -> Finding:
    return Finding(
        name=name,
        question="?",
        particles=10,
        statistic=Estimate(value=value, low=value - 0.05, high=value + 0.05),
        null=exactly(1.0),
        threshold=0.25,
        verdict="fail",
    )


@pytest.mark.parametrize(
    ("value", "word"), [(0.9, "agrees"), (0.1, "differs"), (0.5, "inconclusive")]
)
def test_moved_images(value: float, word: str) -> None:
    made = bench()
    baseline = made.outcomes["baseline"]
    with_moves = tuple(
        m.model_copy(update={"moves": (finding("shift-raw", value),)}) for m in baseline.measures
    )
    made.outcomes["baseline"] = replace(baseline, measures=with_moves)
    assert made.judge(BY_NAME["shift"]).word == word
    assert made.judge(BY_NAME["rotation"]).word == "inconclusive"


def test_displacements_of_seeds_are_joined() -> None:
    measures = [Measures(moves=(finding("shift-raw", value),)) for value in (0.2, 0.6)]
    found = moved(measures, "shift-raw")
    assert found is not None
    assert (found.value, found.low, found.high) == pytest.approx((0.4, 0.15, 0.65))


def test_nothing_is_judged_against_a_baseline_that_fails() -> None:
    made = bench(outcome("table-random", 0.9, 0.9), baseline=(0.5, 0.51))
    words = {made.judge(BY_NAME[name]).word for name in ("baseline", "table-random", "shift")}
    assert words == {"underpowered"}


def test_additions_are_measured_not_judged() -> None:
    verdict = bench(outcome("aligned", 0.95, 0.97)).judge(BY_NAME["aligned"])
    assert verdict.word == "measured"
    assert verdict.reason.startswith("ARI differs by 0.060")


def test_training_that_diverges_breaks() -> None:
    broken = replace(outcome("table-wide"), diverged=3)
    assert bench(broken).judge(BY_NAME["table-wide"]).word == "agrees"


def test_trainings_without_numbers_are_judged_last() -> None:
    broken = [replace(outcome(name), diverged=3) for name in ("table-random", "aligned")]
    made = bench(*broken)
    assert made.judge(BY_NAME["table-random"]).word == "differs"
    assert made.judge(BY_NAME["aligned"]).word == "measured"
    assert bench(*broken, baseline=(0.1, 0.1)).judge(BY_NAME["table-random"]).word == "underpowered"


def test_collapsed_trainings_lend_no_certainty() -> None:
    baseline, table = (0.917, 0.921, 0.921), (0.839, 0.878, 0.698)
    still = [
        outcome(name, 0.0, 0.0, 0.0)
        for name in ("frozen-random", "frozen-zero", "frozen-permuted", "frozen-clusters")
    ]
    alone = bench(outcome("table-random", *table), baseline=baseline)
    beside = bench(outcome("table-random", *table), *still, baseline=baseline)
    verdicts = {made.judge(BY_NAME["table-random"]) for made in (alone, beside)}
    # Student's t with 4 degrees of freedom and the deviation of the two groups
    assert {v.reason for v in verdicts} == {
        "ARI differs by \N{MINUS SIGN}0.115 [\N{MINUS SIGN}0.267, 0.037], "
        "to be above \N{MINUS SIGN}0.18"
    }


def test_one_seed_borrows_no_scatter_of_collapsed_trainings() -> None:
    still = outcome("frozen-zero", 0.0, 0.0, 0.0)
    reasons = {
        bench(outcome("table-zero", 0.95), *others).judge(BY_NAME["table-zero"]).reason
        for others in ((), (still,))
    }
    assert len(reasons) == 1


def test_clouds_that_have_nothing_in_common_agree_with_nothing() -> None:
    found = [outcome("baseline", 0.001, -0.001), outcome("table-random", 0.0, 0.001)]
    made = Bench({o.experiment.name: o for o in found}, None, "agreement")
    assert {made.judge(o.experiment).word for o in found} == {"underpowered"}
    found = [outcome("baseline", 0.032, 0.030), outcome("table-random", 0.031, 0.030)]
    made = Bench({o.experiment.name: o for o in found}, None, "agreement")
    assert [made.judge(o.experiment).word for o in found] == ["measured", "agrees"]


def test_every_figure_of_the_report_has_its_experiment() -> None:
    figures = {number for experiment in EXPERIMENTS for number in experiment.figures}
    assert figures == {3, 5, 7, 8, 9, 10, 19, 20, 21, 22, 23, 24, 25, 26}
    assert {e.appendix for e in EXPERIMENTS} == {"", "C.1", "C.1.1"}
