"""What the page is told of a run before anything is asked."""

import re
from pathlib import Path
from typing import Any

from cryolatent.analysis.export import export_kinds
from cryolatent.explore.explored import Explored
from cryolatent.report.maps import axis_names
from cryolatent.runs.found import found

TITLES = {"umap": "UMAP", "pca": "PCA", "strip": "States side by side"}


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
        "found": _sentence(found(run)),
        "particles": explored.rows,
        "posterior": findings.summary.posterior,
        "box": manifest.box,
        "pixel_size_angstrom": manifest.pixel_size_angstrom,
        "verdict": None if trust is None else trust.verdict,
        "verdict_sentence": "" if trust is None else trust.sentence,
        "renders": run.config.decoder.renders,
        "states": [_state(explored, number) for number in range(len(findings.summary.clusters))],
        "maps": _maps(explored),
        "columns": [column.described() for column in explored.columns()],
        "export_kinds": export_kinds(run),
        "exports": str(exports),
    }


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + "."


def _state(explored: Explored, position: int) -> dict[str, Any]:
    cluster = explored.findings.summary.clusters[position]
    return {
        "number": cluster.number,
        "size": cluster.size,
        "population": cluster.size / explored.rows,
        "colour": explored.shades[cluster.number].colour,
        "nearest_state": cluster.nearest_state if cluster.purity else None,
        "has_volume": cluster.volume is not None,
    }


def _maps(explored: Explored) -> list[dict[str, str]]:
    """The maps, the best for a first look first."""
    findings, discrete = explored.findings, explored.latents.distribution.is_discrete
    names = {column.name for column in explored.columns()}
    height = next((n for n in ("certainty", "evidence", "elbo", "log_joint") if n in names), "")
    plane = [_plane(explored, kind) for kind in findings.maps if f"{kind}_1" in names]
    flat = findings.summary.z_dim < 2
    side = {"x": "pca_0" if flat and not discrete else "strip", "y": height}
    title = "Latent" if flat and not discrete else TITLES["strip"]
    titles = {"xname": title, "yname": height.replace("_", " "), "name": title}
    strips = [side | titles] if height else []
    return strips + plane if discrete or flat else plane + strips


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
