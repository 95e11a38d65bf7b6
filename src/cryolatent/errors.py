"""Errors that reach a user: one line that names the place, the finding and the way out."""

from pathlib import Path


class CryolatentError(Exception):
    """Base of every error that the command line turns into one line and an exit code."""

    exit_code = 4


class InputError(CryolatentError):
    """Something a user gave is wrong; nothing has been written.

    Args:
        file: The file, folder or option at fault.
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


class NonFiniteError(CryolatentError):
    """Training produced a value that is not finite; the message names the particle."""

    exit_code = 4
