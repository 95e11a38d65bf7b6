"""Errors that reach a user: one line that names the place, the finding and the way out.

An option stands in backticks as in a call: `` `datadir` ``, `` `on_bad="drop"` ``. The command line
shows it as the flag that it has there.
"""

import re
from pathlib import Path

OPTION = re.compile(r"`([a-z][a-z0-9_]*)(?:=\"?([^`\"]*)\"?)?`")


class CryolatentError(Exception):
    """Base of every error that the command line turns into one line and an exit code."""

    exit_code = 4


class InputError(CryolatentError):
    """Something a user gave is wrong; nothing has been written.

    Args:
        file: The file, folder or option (in backticks) at fault.
        found: What is there.
        expected: What should be there.
        way_out: What the user can do about it.
        row: Where in the file (``row 12``, ``particle 3@a.mrcs``), if the fault has a place.
    """

    exit_code = 2

    def __init__(
        self, file: str | Path, found: str, expected: str, way_out: str, *, row: str | None = None
    ) -> None:
        self.file, self.row = str(file), row
        self.found, self.expected, self.way_out = found, expected, way_out
        place = self.file if row is None else f"{self.file}, {row}"
        super().__init__(f"{place}: found {found}; expected {expected}. {way_out}")


class InputWarning(UserWarning):
    """Something a user gave looks wrong, but can be used; it is said and the work goes on."""


def with_flags(message: str) -> str:
    """Write the options that an error names as on the command line.

    Args:
        message: What the error says.

    Returns:
        The message with flags.

    >>> with_flags('Give `datadir`, `on_bad="drop"` or `invert_contrast=False`.')
    'Give --datadir, --on-bad drop or --no-invert-contrast.'
    """
    return OPTION.sub(_flag, message)


def _flag(option: re.Match[str]) -> str:
    name, value = option[1].replace("_", "-"), option[2]
    if value in ("True", "False"):
        return f"--{name}" if value == "True" else f"--no-{name}"
    return f"--{name}" if value is None else f"--{name} {value}"


class NonFiniteError(CryolatentError):
    """Training produced a value that is not finite; the message names the particle."""

    exit_code = 4
