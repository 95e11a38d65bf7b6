"""The command line: parses, calls one library function, returns an exit code."""

from cryolatent.cli.main import main

__all__ = ["main"]
