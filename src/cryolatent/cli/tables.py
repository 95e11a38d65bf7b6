"""Findings as a table on the terminal."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from cryolatent.analysis import Estimate, Summary
from cryolatent.runs.run import Run


def print_comparison(runs: Sequence[Run], summaries: Sequence[Summary]) -> None:
    """Print one row per run: evidence, agreement with the truth, volumes, time.

    Args:
        runs: Analysed runs.
        summaries: Their findings.
    """
    table = Table(title="nats per particle; [95 % interval]", title_style="dim")
    for column in ("run", "ELBO", "ARI", "oracle ARI", "FSC area", "time"):
        table.add_column(column, justify="left" if column == "run" else "right", no_wrap=True)
    for run, summary in zip(runs, summaries, strict=True):
        truth, entries = summary.truth, run.entries()
        against = ["-", "-", "-"]
        if truth is not None:
            against = [
                _text(truth.ari, 2),
                f"{truth.oracle_ari.value:.2f}",
                f"{truth.fsc_area.value:.3f} of {truth.fsc_area_ceiling:.3f}",
            ]
        time = f"{entries[-1]['seconds']:.0f} s" if entries else "-"
        table.add_row(run.name, _text(summary.elbo, 1), *against, time)
    Console().print(table)


def _text(estimate: Estimate, digits: int) -> str:
    low, high = estimate.low, estimate.high
    return f"{estimate.value:.{digits}f} \\[{low:.{digits}f}, {high:.{digits}f}]"
