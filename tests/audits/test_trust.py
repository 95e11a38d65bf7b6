"""Several audits together: Holm's procedure on cases worked by hand."""

import pytest

from cryolatent.audits.trust import holm, trust
from cryolatent.runs.finding import Estimate, Finding, Verdict, p_beyond

ONE = Estimate(value=1.0, low=0.5, high=1.5)


def finding(name: str, verdict: Verdict, p_value: float | None = None) -> Finding:
    return Finding(
        name=name,
        question="",
        particles=1,
        statistic=ONE,
        null=None,
        threshold=0,
        verdict=verdict,
        p_value=p_value,
    )


@pytest.mark.parametrize(
    ("p_values", "kept"),
    [
        # of four that could fail: 0.025 / 4, / 3, / 2, / 1
        ([0.006, 0.008, 0.012, 0.024], 4),
        ([0.006, 0.014, 0.001], 2),
        ([0.007, 0.008], 0),
        ([None, 0.01], 1),
        ([None, 0.008], 2),
    ],
)
def test_failures_of_four_audits(p_values: list[float | None], kept: int) -> None:
    failed = [finding(f"audit{n}", "fail", p) for n, p in enumerate(p_values)]
    others = [finding(f"other{n}", "pass") for n in range(4 - len(failed))]
    beside = finding("beside", "not applicable")
    found = holm([*failed, *others, beside])
    assert [f.name for f in found] == [f.name for f in [*failed, *others, beside]]
    assert sum(f.verdict == "fail" for f in found) == kept
    for f in found[: len(failed)]:
        assert (f.verdict == "fail") or "of 4 audits one may by chance" in f.note


def test_a_failure_by_chance_does_not_fail_the_run() -> None:
    others = [finding(f"other{n}", "pass") for n in range(7)]
    alone = trust("run", [finding("reality", "pass"), finding("shift", "fail", 0.02), *others])
    assert alone.verdict == "pass"
    sure = trust("run", [finding("reality", "pass"), finding("shift", "fail", 1e-4), *others])
    assert (sure.verdict, "shift" in sure.sentence) == ("fail", True)


def test_p_values_are_those_of_the_interval() -> None:
    # an interval that just touches the threshold has the tail of a 95 % interval
    assert p_beyond(ONE, 0.5) == pytest.approx(0.025, abs=1e-6)
    assert p_beyond(ONE, 1.5) == pytest.approx(0.025, abs=1e-6)
    # of two standard errors 0.0228, whichever side they are wide on
    lopsided = Estimate(value=1.0, low=0.0, high=1.000001)
    assert p_beyond(lopsided, 1.0 - 2 / 1.959964) == pytest.approx(0.02275, abs=1e-5)
    assert p_beyond(Estimate(value=1.0, low=1.0, high=1.0), 0.5) == 0
    assert p_beyond(ONE, 1.0) == 0.5
