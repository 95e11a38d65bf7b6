"""Findings as a table on the terminal."""

from collections.abc import Sequence

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from cryolatent.analysis import Estimate, Summary
from cryolatent.runs.run import Run

COLUMNS = ("run", "ELBO", "ARI", "oracle", "FSC area", "time", "CPU")
CAPTION = (
    "ELBO in nats per particle; ARI of the clusters against the true states, and the Bayes "
    "oracle's at the recorded poses; mean area under the per-image FSC of the largest possible; "
    "± half of the 95 % interval"
)


def print_comparison(runs: Sequence[Run], summaries: Sequence[Summary]) -> None:
    """Print one row per run: evidence, agreement with the truth, volumes, time.

    Args:
        runs: Analysed runs.
        summaries: Their findings.
    """
    table = Table(
        caption=CAPTION, caption_justify="left", box=SIMPLE, collapse_padding=True, pad_edge=False
    )
    for column in COLUMNS:
        table.add_column(column, justify="left" if column == "run" else "right", no_wrap=True)
    for run, summary in zip(runs, summaries, strict=True):
        truth, entries = summary.truth, run.entries()
        against = ["-"] * 3
        if truth is not None:
            against = [
                _text(truth.ari, 3),
                f"{truth.oracle_ari.value:.3f}",
                f"{truth.fsc_area.value:.3f} of {truth.fsc_area_ceiling:.3f}",
            ]
        times = [f"{entries[-1][key]:.0f} s" for key in ("seconds", "cpu_seconds")]
        table.add_row(run.name, _text(summary.elbo, 1), *against, *times)
    Console().print(table)


def _text(estimate: Estimate, digits: int) -> str:
    half_width = (estimate.high - estimate.low) / 2
    return f"{estimate.value:.{digits}f} ± {half_width:.{digits}f}"
