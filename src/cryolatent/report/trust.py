"""The trust sheet: one page of what audits found, to be put beside a paper."""

from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

import cryolatent
from cryolatent.audits.trust import Trust
from cryolatent.io.files import write_text_atomically
from cryolatent.report import formats
from cryolatent.report.rendering import environment
from cryolatent.runs.latents import damaged

CLASSES = {"pass": "agrees", "fail": "differs"}


def write_trust(found: Trust, folder: Path) -> Path:
    """Write ``audit.json`` and ``audit.html``.

    Args:
        found: What the audits say.
        folder: Where to write.

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
    return folder / "audit.html"


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
