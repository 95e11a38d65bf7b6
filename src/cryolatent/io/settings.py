"""Settings that programs leave beside their results: the plain part of YAML, and pickled ones."""

import re
from pathlib import Path
from typing import Any

from cryolatent.errors import InputError
from cryolatent.io.pickles import read_pickles

ENTRY = re.compile(r"( *)([\w.]+):(?: (.*))?")
ITEM = re.compile(r"  - (.*)")
INDENT = 2
NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")
WORDS = {"": None, "null": None, "~": None, "true": True, "false": False}
LISTS = ("!!python/tuple", "[]")


def read_settings(path: str | Path) -> dict[str, Any]:
    """Read sections of settings.

    Args:
        path: A ``.yaml`` as `yaml.dump` writes it, or a ``.pkl`` of dictionaries.

    Returns:
        Sections by name, each with its settings by name: numbers, texts, None or lists of them.
        What lies deeper, and lists outside sections, are passed over.

    Raises:
        InputError: If the file is missing, is none, or asks for a Python object.
    """
    path = Path(path)
    if path.suffix == ".pkl":
        found = read_pickles(path, "settings", settings=True)[0]
        if not isinstance(found, dict):
            raise InputError(path, "no sections", "settings", "Give the config of a run.")
        return found
    try:
        text = path.read_text()
    except (OSError, ValueError) as error:
        raise InputError(path, f"no text ({error})", "settings", "Check the name.") from None
    sections: dict[str, Any] = {}
    section: dict[str, Any] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if "!!" in line and not line.endswith(LISTS):
            raise InputError(
                path,
                line.strip(),
                "numbers and texts; nothing else is read, and nothing was run",
                "Write the number that is meant in its place.",
                row=f"line {number}",
            )
        entry = ENTRY.fullmatch(line)
        if entry is None or entry[1]:
            _add(section, line, entry)
            continue
        section = {}
        sections[entry[2]] = _scalar(entry[3]) if entry[3] else section
    return sections


def _add(section: dict[str, Any], line: str, entry: re.Match[str] | None) -> None:
    """Read a line within a section."""
    last = next(reversed(section), "")
    if entry is not None and len(entry[1]) == INDENT:
        value = entry[3] or ""
        section[entry[2]] = [] if value.endswith(LISTS) else _scalar(value)
    elif entry is None and section and (item := ITEM.fullmatch(line)):
        section[last] = [*(section[last] or []), _scalar(item[1])]
    elif entry is None and line.startswith(" " * 2 * INDENT) and isinstance(section.get(last), str):
        # a long text goes on in the next line
        section[last] += f" {line.strip()}"


def _scalar(text: str) -> Any:
    text = text.strip()
    if text in WORDS:
        return WORDS[text]
    if NUMBER.fullmatch(text):
        return float(text) if re.search(r"[.eE]", text) else int(text)
    if text[0] == text[-1] == "'":
        return text[1:-1].replace("''", "'")
    return text[1:-1] if text[0] == text[-1] == '"' else text
