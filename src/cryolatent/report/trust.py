"""The trust sheet: one page of what audits found, to be put beside a paper."""

from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

import cryolatent
from cryolatent.audits.stability import Stability
from cryolatent.audits.trust import Trust
from cryolatent.io.files import void, write_atomically, write_text_atomically
from cryolatent.report import formats
from cryolatent.report.rendering import environment
from cryolatent.runs.latents import damaged

CLASSES = {"pass": "agrees", "fail": "differs"}


def write_trust(found: Trust, folder: Path, stability: Stability | None = None) -> Path:
    """Write ``audit.json`` and ``audit.html``; of runs compared ``stability.parquet`` too.

    Args:
        found: What the audits say.
        folder: Where to write.
        stability: Runs that were compared.

    Returns:
        The page.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_text_atomically(folder / "audit.json", found.model_dump_json(indent=1) + "\n")
    templates = environment()
    templates.filters |= {"value": formats.value_of, "interval": formats.interval_of}
    html = templates.get_template("trust.html.j2").render(
        found=found,
        classes=CLASSES,
        version=cryolatent.__version__,
        date=datetime.now(UTC).strftime("%d %B %Y, %H:%M UTC"),
    )
    write_text_atomically(folder / "audit.html", html)
    if stability is not None:
        write_groups(stability, folder)
    return folder / "audit.html"


def write_groups(stability: Stability, folder: Path) -> Path:
    """Write ``stability.parquet``: what several runs say of each particle.

    Args:
        stability: Runs of the same particles.
        folder: Where to write.

    Returns:
        The file, with columns ``id``, ``label_entropy`` and, for every run, ``label NAME``.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {"id": stability.members[0].ids, "label_entropy": stability.entropy}
    for member, labels in zip(stability.members, stability.labels, strict=True):
        columns[f"label {member.name}"] = labels
    path, table = folder / "stability.parquet", pa.table(columns)
    write_atomically(path, lambda partial: void(pq.write_table(table, partial)))
    return path


def read_trust(folder: Path) -> Trust | None:
    """Read what `write_trust` wrote.

    Args:
        folder: Where it was written.

    Returns:
        What the audits say; None if there is nothing.

    Raises:
        InputError: If it is damaged.
    """
    path = folder / "audit.json"
    try:
        return Trust.model_validate_json(path.read_bytes()) if path.is_file() else None
    except ValidationError as error:
        raise damaged(path, error) from None
