"""The table of findings: written as JSON and parquet, and as one line where it stops the work."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from cryolatent.errors import InputError
from cryolatent.io.files import write_atomically, write_text_atomically
from cryolatent.prepare.checks import ParticleFinding

SCHEMA = pa.schema(
    [
        ("particle", pa.string()),
        ("row", pa.int64()),
        ("check", pa.string()),
        ("found", pa.string()),
        ("expected", pa.string()),
        ("bad", pa.bool_()),
    ]
)


def write_findings(folder: Path, findings: Sequence[ParticleFinding]) -> None:
    """Write ``findings.json`` and ``findings.parquet``; rows are counted from one, as in messages.

    Args:
        folder: Where to write.
        findings: What was found; there may be nothing.
    """
    entries = [asdict(finding) | {"row": finding.row + 1} for finding in findings]
    write_text_atomically(folder / "findings.json", json.dumps(entries, indent=1) + "\n")
    table = pa.Table.from_pylist(entries, SCHEMA)
    write_atomically(folder / "findings.parquet", lambda partial: pq.write_table(table, partial))


def count_checks(findings: Sequence[ParticleFinding]) -> str:
    """Say how often each check failed.

    Args:
        findings: What was found.

    Returns:
        ``3 scale, 1 defocus``.
    """
    counts = Counter(finding.check for finding in findings)
    return ", ".join(f"{count} {check}" for check, count in counts.most_common())


def refuse(source: Path, findings: Sequence[ParticleFinding], particles: int) -> None:
    """Stop if a particle should not be used.

    Args:
        source: The particle file.
        findings: What was found.
        particles: Number of particles.

    Raises:
        InputError: Names the first finding and the number of particles.
    """
    bad = [finding for finding in findings if finding.bad]
    if not bad:
        return
    first, count = bad[0], len({finding.row for finding in bad})
    raise InputError(
        source,
        f"{first.found}; in all {count} of {particles} particles with findings "
        f"({count_checks(bad)})",
        first.expected,
        'Correct the file, or leave these particles out with `on_bad="drop"`.',
        row=f"particle row {first.row + 1} ({first.particle})",
    )
