"""Findings as a table on the terminal."""

import sys
from collections.abc import Callable, Sequence

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from cryolatent.analysis import Cluster, Estimate, Summary
from cryolatent.analysis.words import named_bound
from cryolatent.audits.trust import Trust
from cryolatent.data.contrast import DOUBT, contrast_evidence
from cryolatent.prepare.checks import ParticleFinding
from cryolatent.prepare.packing import Packed
from cryolatent.report.formats import interval_of, value_of
from cryolatent.runs.run import Run
from cryolatent.studies.reproduce.experiments import Experiment

ARI = "ARI of the clusters against the true states, and the Bayes oracle's at the true poses"
MOTION = (
    "motion: share of the true angle's variance that neighbours in latent space predict, and that "
    "the Bayes oracle does at the true poses"
)
FINDINGS = 20
WIDE = 120
AREA = "mean area under the per-image FSC of the largest possible"


def print_comparison(runs: Sequence[Run], summaries: Sequence[Summary]) -> None:
    """Print one row per run: agreement with the truth where it is known, evidence, time.

    Args:
        runs: Analysed runs.
        summaries: Their findings.
    """
    truths = [summary.truth for summary in summaries]
    known = any(truths)
    moves = any(truth and truth.motion for truth in truths)
    sorts = any(truth and truth.ari for truth in truths)
    measures = ["ARI", "oracle"] * sorts + ["motion", "oracle"] * moves + ["FSC area"] * known
    of_scores: dict[str, Callable[[Summary], Estimate | None]] = {
        named_bound(runs): lambda summary: summary.elbo,
        "log joint density (MAP)": lambda summary: summary.log_joint,
    }
    scores = [name for name, of in of_scores.items() if any(map(of, summaries))]
    notes = [*[ARI] * sorts, *[MOTION] * moves, *[AREA] * known]
    notes += [*[f"{name} in nats per particle" for name in scores], "± half of the 95 % interval"]
    table = Table(
        caption="; ".join(notes),
        caption_justify="left",
        box=SIMPLE,
        collapse_padding=True,
        pad_edge=False,
    )
    for column in ["run", *measures, *scores, "time", "CPU"]:
        table.add_column(column, justify="left" if column == "run" else "right", no_wrap=True)
    for run, summary, truth in zip(runs, summaries, truths, strict=True):
        against = ["-"] * len(measures)
        if truth is not None:
            area = "-"
            if truth.fsc_area is not None:
                area = f"{truth.fsc_area.value:.3f} of {truth.fsc_area_ceiling:.3f}"
            motion = truth.motion
            against = [
                *_beside(truth.ari, truth.oracle_ari) * sorts,
                *_beside(motion and motion.r2, motion and motion.oracle_r2) * moves,
                area,
            ]
        last = run.entries()[-1:]
        keys = ("seconds", "cpu_seconds")
        times = [f"{last[0][key]:.0f} s" for key in keys] if last else ["-", "-"]
        found = [of_scores[name](summary) for name in scores]
        values = ["-" if score is None else _text(score, 1) for score in found]
        table.add_row(run.name, *against, *values, *times)
    Console().print(table)


def print_groups(summary: Summary) -> None:
    """Print one row per state or cluster: population, certainty, and the map of its own particles.

    Args:
        summary: The findings of a run.
    """
    maps = any(cluster.measured for cluster in summary.clusters)
    sure = any(cluster.certainty for cluster in summary.clusters)
    columns = [summary.word, "population", *["certain"] * sure, "particles"]
    columns += ["effective", "FSC 0.143", "others"] * maps
    table = Table(box=SIMPLE, collapse_padding=True, pad_edge=False)
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    for cluster in summary.clusters:
        row = [str(cluster.number), _share(cluster.population)]
        row += [f"{cluster.certainty.value:.3f}" if cluster.certainty else "-"] * sure
        row += [f"{cluster.size:,}", *_map_cells(cluster) * maps]
        table.add_row(*row)
    Console().print(table)


def _map_cells(cluster: Cluster) -> list[str]:
    measured = cluster.measured
    if measured is None:
        return ["-", "no map", "-"]
    resolution = measured.resolution_angstrom
    reached = "nothing" if resolution is None else f"{resolution:.1f} Å"
    return [f"{measured.effective_particles:.0f}", reached, f"{100 * measured.others:.1f} %"]


def _share(estimate: Estimate | None) -> str:
    if estimate is None:
        return "-"
    low, value, high = (100 * v for v in (estimate.low, estimate.value, estimate.high))
    return f"{value:.1f} % [{low:.1f}, {high:.1f}]"


def print_experiments(experiments: Sequence[Experiment]) -> None:
    """Print one row per experiment of the report.

    Args:
        experiments: What can be reproduced.
    """
    rows = []
    for experiment in experiments:
        figures = ", ".join(f"fig{number}" for number in experiment.figures)
        rows.append((figures or experiment.appendix or "added", experiment.name, experiment.title))
    print_rows(rows)


def print_rows(rows: Sequence[tuple[str, str, str]]) -> None:
    """Print a list of experiments.

    Args:
        rows: Where each stands in the report, its name and its title.
    """
    table = Table(box=SIMPLE, collapse_padding=True, pad_edge=False)
    for column in ("figure", "name", "experiment"):
        table.add_column(column, no_wrap=column != "experiment")
    for row in rows:
        table.add_row(*row)
    Console().print(table)


def print_findings(findings: Sequence[ParticleFinding]) -> None:
    """Print the first findings, one row each.

    Args:
        findings: What was found of particles; there may be nothing.
    """
    if not findings:
        return
    table = Table(box=SIMPLE, collapse_padding=True, pad_edge=False)
    for column in ("row", "particle", "check", "found", "expected"):
        table.add_column(column, overflow="fold", justify="right" if column == "row" else "left")
    for finding in findings[:FINDINGS]:
        check = finding.check if finding.bad else f"{finding.check} (remark)"
        row = str(finding.row + 1)
        table.add_row(row, finding.particle, check, finding.found, finding.expected)
    if len(findings) > FINDINGS:
        table.caption = f"and {len(findings) - FINDINGS} more"
    # a file has no width, and names of particles are long
    console = Console()
    (console if console.is_terminal else Console(width=160)).print(table)


def print_packed(packed: Packed) -> None:
    """Say what a folder of packed particles holds.

    Args:
        packed: What there is.
    """
    manifest, folder = packed.manifest, packed.folder
    if not packed.fresh:
        print(f"{folder}: already prepared from the same input with the same options")
    score = manifest.contrast_score
    if score is not None and score < DOUBT:
        print(f"warning: particles may be dark: {contrast_evidence(score)}")
    dropped = f", {manifest.dropped} dropped" if manifest.dropped else ""
    size = f"box {manifest.box}, {manifest.pixel_size_angstrom:.4g} Å per pixel"
    print(f"{manifest.particles} particles{dropped}, {size}, {manifest.dtype}")
    if packed.fresh:
        print(f"wrote {', '.join(str(path) for path in sorted(folder.iterdir()))}")
    print(f"Next: cryolatent train {folder} -o run")


def _beside(estimate: Estimate | None, oracle: Estimate | None) -> list[str]:
    if estimate is None or oracle is None:
        return ["-", "-"]
    return [_text(estimate, 3), f"{oracle.value:.3f}"]


def _text(estimate: Estimate, digits: int) -> str:
    half_width = (estimate.high - estimate.low) / 2
    return f"{estimate.value:.{digits}f} ± {half_width:.{digits}f}"


def print_trust(found: Trust) -> None:
    """Print one row per audit, and what they say together.

    Args:
        found: What the audits say.
    """
    table = Table(box=SIMPLE, collapse_padding=True, pad_edge=False)
    for column in ("audit", "verdict", "found", "nothing would give", "margin"):
        side = "left" if column in ("audit", "verdict") else "right"
        table.add_column(column, justify=side, no_wrap=True)
    for finding in found.findings:
        numbers = [
            "-" if number is None else f"{value_of(number)} {interval_of(number)}"
            for number in (finding.statistic, finding.null)
        ]
        table.add_row(finding.name, finding.verdict, *numbers, f"{finding.threshold:g}")
    # a row in a file is as long as it needs to be
    Console(width=None if sys.stdout.isatty() else WIDE).print(table)
    for finding in found.findings:
        if finding.note:
            print(f"{finding.name}: {finding.note}")
    print(f"{found.run}: {found.verdict}. {found.sentence}")
