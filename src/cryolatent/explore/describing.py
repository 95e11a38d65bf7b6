"""What the page is told of a run before anything is asked."""

import re
from pathlib import Path
from typing import Any

from cryolatent.analysis.export import export_kinds
from cryolatent.analysis.words import found
from cryolatent.explore.explored import Explored
from cryolatent.explore.marks import read_marks
from cryolatent.report.maps import axis_names
from cryolatent.runs.finding import Finding

TITLES = {"umap": "UMAP", "pca": "PCA"}
HEIGHTS = {
    "certainty_log_odds": ("certainty", "Certainty (log10 of its odds)"),
    "evidence": ("evidence", "Evidence (nats)"),
    "elbo": ("ELBO", "Evidence lower bound (nats)"),
    "log_joint": ("density", "Log joint density (nats)"),
    "spread": ("", "Spread evenly, without a meaning"),
}
"""Columns that a map of groups or of one dimension may have for height, and what they are."""
MOST_HEIGHTS = 2


def described(explored: Explored, exports: Path) -> dict[str, Any]:
    """Everything that is shown of a run at first.

    Args:
        explored: The run.
        exports: Folder of the exports.

    Returns:
        JSON values.
    """
    findings, run = explored.findings, explored.run
    trust, manifest = explored.trust, run.manifest
    return {
        "name": findings.label,
        "path": str(run.path),
        "found": _sentence(found(run)),
        "particles": explored.rows,
        "posterior": findings.summary.posterior,
        "box": manifest.box,
        "pixel_size_angstrom": manifest.pixel_size_angstrom,
        "verdict": None if trust is None else trust.verdict,
        "verdict_sentence": "" if trust is None else trust.sentence,
        "audits": [] if trust is None else [_audit(finding) for finding in trust.findings],
        "renders": run.config.decoder.renders,
        "path_through": run.config.decoder.renders and explored.is_continuous,
        "group": group_name(explored),
        "states": [_state(explored, number) for number in range(len(findings.summary.clusters))],
        "maps": _maps(explored),
        "columns": [column.described() for column in explored.columns()],
        "export_kinds": export_kinds(run),
        "exports": str(exports),
        "marks": read_marks(explored.marks_path(exports)).model_dump(),
        "taken": sorted({path.stem for path in exports.glob("*")}),
    }


def _audit(finding: Finding) -> dict[str, Any]:
    return {
        "name": finding.name,
        "verdict": finding.verdict,
        "question": finding.question,
        "note": finding.note,
    }


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + "."


def _state(explored: Explored, position: int) -> dict[str, Any]:
    cluster = explored.findings.summary.clusters[position]
    measured = cluster.measured
    return {
        "number": cluster.number,
        "size": cluster.size,
        "population": cluster.size / explored.rows,
        "colour": explored.shades[cluster.number].colour,
        "nearest_state": cluster.nearest_state if cluster.purity else None,
        "volume": cluster.volume,
        "measured": None if measured is None else measured.file,
        "resolution_angstrom": None if measured is None else measured.resolution_angstrom,
    }


def _maps(explored: Explored) -> list[dict[str, str]]:
    """The maps, the best for a first look first."""
    findings, discrete = explored.findings, explored.latents.distribution.is_discrete
    names = {column.name for column in explored.columns()}
    planes = [_plane(explored, kind) for kind in findings.maps if f"{kind}_1" in names]
    known = [name for name in HEIGHTS if name in names]
    heights = [name for name in known if name != "spread"][:MOST_HEIGHTS] or known
    group = group_name(explored)
    strips = [_strip("strip", f"{group}s", f"{group}s side by side", name) for name in heights]
    if findings.summary.z_dim == 1 and not discrete:
        line = [_strip("pca_0", "Latent", "Latent", name) for name in heights]
        return line + strips
    return strips + planes if discrete else planes + strips


def _strip(column: str, name: str, title: str, height: str) -> dict[str, str]:
    short, full = HEIGHTS[height]
    name = f"{name} by {short}" if short else name
    return {"name": name, "x": column, "y": height, "xname": title, "yname": full}


def group_name(explored: Explored) -> str:
    """What the clusters of a run are: states that it has found, or clusters of its latents.

    Args:
        explored: The run.

    Returns:
        ``State`` or ``Cluster``.
    """
    asked = explored.findings.summary.clusters_asked
    states = explored.latents.distribution.is_discrete or explored.run.states() is not None
    return "State" if states and asked is None else "Cluster"


def _plane(explored: Explored, kind: str) -> dict[str, str]:
    names = axis_names(explored.findings, kind)
    axes = [re.sub(r"\s+", " ", name) for name in names]
    return {
        "name": TITLES[kind],
        "x": f"{kind}_0",
        "y": f"{kind}_1",
        "xname": axes[0],
        "yname": axes[1],
    }
