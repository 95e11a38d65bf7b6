"""The page: everything the files say, in one HTML file without anything outside it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

import cryolatent
from cryolatent.analysis.agreement import Agreement, compare
from cryolatent.analysis.bootstrap import mean_estimate
from cryolatent.analysis.summary import Estimate
from cryolatent.analysis.words import compared, named_bound, stated
from cryolatent.io.files import write_text_atomically
from cryolatent.report import formats
from cryolatent.report.charts import warmup_of
from cryolatent.report.colours import (
    Shade,
    cluster_shades,
    prevailing_state,
    shared_counts,
    state_colour,
)
from cryolatent.report.findings import Findings, gather, labelled_particles
from cryolatent.report.provenance import commands, options
from cryolatent.report.rendering import environment
from cryolatent.report.volumes import cluster_cards
from cryolatent.runs.inputs import said_of_inputs, said_of_junk
from cryolatent.runs.run import Run

FILTERS = {
    "decimal": formats.decimal,
    "duration": formats.duration,
    "integer": formats.integer,
    "interval": formats.interval_of,
    "percent": formats.percent,
    "sentence": formats.sentence_list,
    "value": formats.value_of,
    "prevailing": prevailing_state,
    "warmup": warmup_of,
}


@dataclass(frozen=True)
class Pair:
    """How two runs agree.

    Args:
        first: A run.
        second: Another.
        agreement: Their agreement.
        discrete: Whether one has states, so that neighbours are ties.
        elbo_gain: How much larger the second's ELBO is on the same particles, in nats per
            particle; None if the two are not both lower bounds of the same images.
        counts: Number of particles in each pair of clusters.
    """

    first: Findings
    second: Findings
    agreement: Agreement
    discrete: bool
    elbo_gain: Estimate | None
    counts: list[list[int]]


def render(runs: Sequence[Run], output: Path) -> Path:
    """Write one self-contained HTML page about finished and analysed runs.

    One run has a page of its own; of several, each is compared with the first.

    Args:
        runs: Finished and analysed runs.
        output: The HTML file; an existing one is replaced.

    Returns:
        The file.

    Raises:
        InputError: If no run is given, one is not finished or not analysed, or two share no
            particles.
    """
    findings = gather(runs)
    templates = environment()
    templates.filters |= FILTERS
    html = templates.get_template("page.html.j2").render(context(findings, Path(output).name))
    write_text_atomically(Path(output), html)
    return Path(output)


def context(findings: Sequence[Findings], page: str) -> dict[str, Any]:
    """Everything that the template shows.

    Args:
        findings: All runs of the page.
        page: Name of the page's file.

    Returns:
        Values by the names that the template uses.
    """
    # Importing matplotlib takes longer than answering --help may.
    from cryolatent.report.charts import (
        choice_charts,
        climb_charts,
        fsc_chart,
        halves_chart,
        loss_charts,
        noise_chart,
    )
    from cryolatent.report.found import found_cards
    from cryolatent.report.maps import latent_maps

    shades = cluster_shades(findings)
    labelled = labelled_particles(findings)
    both = list(zip(findings, shades, strict=True))
    fsc = [fsc_chart(f, shade) for f, shade in zip(findings, shades, strict=True)]
    option_rows = options(findings)
    truths = [f.summary.truth for f in findings if f.summary.truth is not None]
    return {
        "findings": findings,
        "said": [stated(f.run, f.summary) for f in findings],
        "compared": [compared(f.summary) for f in findings],
        "groups": groups_title(findings),
        "halves": [halves_chart(f, shade) for f, shade in both],
        "drawn": {f.shape for f in findings},
        "umap": any("umap" in f.maps for f in findings if f.shape == "plane"),
        "first": findings[0],
        "shades": shades,
        "truth": next(iter(truths), None),
        "moves": next((truth.motion for truth in truths if truth.motion), None),
        "refined": any(truth.refined for truth in truths),
        "posteriors": sorted({f.summary.posterior for f in findings}),
        "points": any(f.summary.log_joint for f in findings),
        "bounds": any(f.summary.elbo for f in findings),
        "bound": named_bound([f.run for f in findings]),
        "same_input": len({f.run.manifest.input_sha256 for f in findings}) == 1,
        "comparable": all(comparable(findings[0], f) for f in findings),
        "maps": latent_maps(findings, shades, labelled),
        "labelled": labelled_rows(findings, shades, labelled),
        "states": state_legend(findings),
        "pairs": [pair(findings[0], other) for other in findings[1:]],
        "losses": loss_charts(findings),
        "climbs": climb_charts(findings),
        "inputs": [
            (f.label, said, said_of_junk(f.run))
            for f in findings
            if (said := said_of_inputs(f.run))
        ],
        "found": found_cards(findings),
        "choices": choice_charts(findings),
        "noise": noise_chart(findings),
        "cards": [cluster_cards(f, shade) for f, shade in zip(findings, shades, strict=True)],
        "fsc": fsc if any(fsc) else [],
        "options": option_rows,
        "differing": [o.flag[2:].replace("-", " ") for o in option_rows if o.differs],
        "commands": commands(findings, page),
        "version": cryolatent.__version__,
        "date": datetime.now(UTC).strftime("%d %B %Y, %H:%M UTC"),
    }


def groups_title(findings: Sequence[Findings]) -> str:
    """What the groups of all runs are called.

    Args:
        findings: All runs of the page.

    Returns:
        ``States``, ``Clusters`` or both.
    """
    words = dict.fromkeys(f"{f.summary.word}s" for f in findings)
    return " and ".join(words).capitalize()


def comparable(first: Findings, second: Findings) -> bool:
    """Whether two runs' evidence lower bounds are of the same images.

    Args:
        first: A run.
        second: Another.

    Returns:
        True if file, box, shells and contrast are the same.
    """
    a, b = first.run.manifest, second.run.manifest
    same_file = (a.input_sha256, a.box, a.shells) == (b.input_sha256, b.box, b.shells)
    inverted = [f.run.config.data.invert_contrast for f in (first, second)]
    return same_file and inverted[0] == inverted[1]


def pair(first: Findings, second: Findings) -> Pair:
    """Compare two runs.

    Args:
        first: A run.
        second: Another.

    Returns:
        Their agreement, particle by particle.

    Raises:
        InputError: If they share too few particles.
    """
    agreement = compare(first.run, second.run)
    gain = elbo_gain(first.run, second.run) if comparable(first, second) else None
    numbers = [[c.number for c in f.summary.clusters] for f in (first, second)]
    counts = shared_counts(first, second, *numbers).tolist()
    discrete = any(f.shape in ("states", "nothing") for f in (first, second))
    return Pair(first, second, agreement, discrete, gain, counts)


def elbo_gain(first: Run, second: Run) -> Estimate | None:
    """The mean difference of two runs' evidence lower bounds on the particles that they share.

    Particles differ more among themselves than runs do, so the interval of the difference is far
    narrower than those of the two means.

    Args:
        first: A run.
        second: Another.

    Returns:
        Second minus first, in nats per particle; None if one has points, which give no bound.
    """
    a, b = first.latents(), second.latents()
    if a.elbo is None or b.elbo is None:
        return None
    _, rows_a, rows_b = np.intersect1d(a.ids, b.ids, return_indices=True)
    return mean_estimate(b.elbo.double().numpy()[rows_b] - a.elbo.double().numpy()[rows_a])


def labelled_rows(
    findings: Sequence[Findings], shades: Sequence[dict[int, Shade]], labelled: Sequence[str]
) -> list[dict[str, Any]]:
    """The numbered particles as a table.

    Args:
        findings: All runs of the page.
        shades: Colours of each run's clusters.
        labelled: Names of the particles.

    Returns:
        Number, name, true state with its colour where it is known, and cluster in each run.
    """
    rows = []
    for number, name in enumerate(labelled, start=1):
        clusters = [int(f.clusters[f.rows[name]]) if name in f.rows else None for f in findings]
        cells = [
            None if c is None else (c, shade[c].colour)
            for c, shade in zip(clusters, shades, strict=True)
        ]
        rows.append(
            {"number": number, "name": name, "cells": cells, "state": _state(findings, name)}
        )
    return rows


def _state(findings: Sequence[Findings], name: str) -> tuple[str, str] | None:
    for f in findings:
        if f.states is not None and f.summary.truth is not None and name in f.rows:
            state = int(f.states[f.rows[name]])
            known = f.summary.truth.state_names
            return (known[state] if state >= 0 else "junk"), state_colour(state)
    return None


def state_legend(findings: Sequence[Findings]) -> list[tuple[str, str]]:
    """Names and colours of the true states.

    Args:
        findings: All runs of the page.

    Returns:
        One entry per state, and one for junk if there is any; nothing if the truth is not known.
    """
    truths = [f.summary.truth for f in findings if f.summary.truth is not None]
    if not truths:
        return []
    legend = [(name, state_colour(state)) for state, name in enumerate(truths[0].state_names)]
    return legend + ([("junk", state_colour(-1))] if any(t.junk for t in truths) else [])
