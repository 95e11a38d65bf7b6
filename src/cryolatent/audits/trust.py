"""What several audits say of a run together."""

from collections.abc import Sequence

from cryolatent.runs.finding import Finding, Record, Verdict

WORDS: dict[Verdict, str] = {
    "pass": "Models that have not seen a particle confirm what the run says of it.",
    "fail": "The run's latents are not to be trusted",
    "inconclusive": "The audits do not decide whether the run's latents can be trusted.",
}


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
        Fail if an audit fails; pass if the reality of the heterogeneity passes and nothing fails;
        inconclusive else.
    """
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
