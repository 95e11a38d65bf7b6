"""What several audits say of a run together."""

from collections.abc import Sequence

from cryolatent.runs.finding import ALPHA, Finding, Record, Verdict

WORDS: dict[Verdict, str] = {
    "pass": "Models that have not seen a particle confirm what the run says of it.",
    "fail": "The run's latents are not to be trusted",
    "inconclusive": "The audits do not decide whether the run's latents can be trusted.",
}


CHANCE = "It fails alone, but of {count} audits one may by chance (Holm)."


class Trust(Record):
    """The outcome."""

    run: str
    """Name of the run."""

    verdict: Verdict
    """Of all audits together."""

    sentence: str
    """The same in words."""

    findings: tuple[Finding, ...]
    """What each audit found."""


def trust(run: str, findings: Sequence[Finding]) -> Trust:
    """Put verdicts together.

    Args:
        run: Name of the run.
        findings: At least one.

    Returns:
        Fail if an audit fails that many audits together would not fail by chance (`holm`); pass if
        the reality of the heterogeneity passes and nothing fails; inconclusive else.
    """
    findings = holm(findings)
    by_name = {finding.name: finding for finding in findings}
    failed = [finding.name for finding in findings if finding.verdict == "fail"]
    reality = by_name.get("reality")
    verdict: Verdict = "inconclusive"
    if failed:
        verdict = "fail"
    elif reality is not None and reality.verdict == "pass":
        verdict = "pass"
    sentence = WORDS[verdict]
    if failed:
        why = " ".join(f.note for f in findings if f.verdict == "fail" and f.note)
        sentence = f"{sentence}: {', '.join(failed)}. {why}".rstrip()
    elif reality is None:
        sentence += " Whether there is heterogeneity was not asked (--with-controls)."
    elif reality.verdict == "not applicable":
        sentence = "The run announces no heterogeneity, and unseen particles show none."
    return Trust(run=run, verdict=verdict, sentence=sentence, findings=tuple(findings))


def holm(findings: Sequence[Finding]) -> list[Finding]:
    """Keep the failures that are none by chance among all audits that could have failed.

    Args:
        findings: Of one run.

    Returns:
        The same, those that Holm's procedure does not reject *inconclusive*: the probability that
        any audit of a run with nothing wrong fails is at most 0.025, each tail of a 95 % interval.

    Source:
        Holm 1979, "A simple sequentially rejective multiple test procedure".
    """
    count = sum(f.verdict != "not applicable" for f in findings)
    # what nothing random decides is sure; the others' are above the level and never come first
    failed = sorted((f.p_value or 0.0, f.name) for f in findings if f.verdict == "fail")
    kept: set[str] = set()
    for place, (p_value, name) in enumerate(failed):
        if p_value > ALPHA / (count - place):
            break
        kept.add(name)
    return [f if f.verdict != "fail" or f.name in kept else _by_chance(f, count) for f in findings]


def _by_chance(finding: Finding, count: int) -> Finding:
    note = f"{finding.note} {CHANCE.format(count=count)}".strip()
    return finding.model_copy(update={"verdict": "inconclusive", "note": note})
