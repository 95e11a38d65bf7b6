"""The entry point: exit codes and errors."""

import errno
import io
import re
import shlex
import signal
import sys
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any

from cryolatent.cli.commands import app
from cryolatent.cli.helping import HELP_ALL, show_all
from cryolatent.errors import CryolatentError, InputWarning, with_flags

SMALLER = (
    "Ask for less: a smaller --memory (exact posteriors) or --batch-size (networks), fewer "
    "--shells, images made smaller by cryolatent prepare --downsample."
)
"""What helps where there is not enough memory."""
DONE, BAD_INPUT, INTERNAL, INTERRUPTED, TERMINATED = 0, 2, 4, 130, 143


class Terminated(BaseException):
    """The process was asked to end."""


def main(tokens: Sequence[str] | None = None) -> None:
    """Run a command and leave with its exit code.

    Codes: 0 done, 1 and 3 those of an audit, 2 bad input or usage, 4 internal error or non-finite
    training, 130 interrupted, 143 terminated.

    Args:
        tokens: Command line without the program's name; the process's own if left out.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # an Å on a terminal without one must not end a finished computation
            stream.reconfigure(errors="replace")
    sys.exit(run(sys.argv[1:] if tokens is None else tokens))


def run(tokens: Sequence[str]) -> int:
    """Run a command.

    Args:
        tokens: Command line without the program's name.

    Returns:
        The exit code.
    """
    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        if HELP_ALL in tokens:
            show_all()
            return DONE
        command, bound, _ = app.parse_args(list(tokens), exit_on_error=False, print_error=False)
        with shown_warnings():
            code = command(*bound.args, **bound.kwargs)
    except BaseException as error:
        code, message = explain(error, tokens)
        print(f"cryolatent: {message}", file=sys.stderr)
        return code
    finally:
        signal.signal(signal.SIGTERM, before)
    return DONE if code is None else code


@contextmanager
def shown_warnings() -> Iterator[None]:
    """Show what looks wrong in an input as one line, once, above the results.

    Yields:
        Nothing.
    """
    shown: set[str] = set()
    usual = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], *place: Any) -> None:
        if not issubclass(category, InputWarning):
            usual(message, category, *place)
        elif str(message) not in shown:
            shown.add(str(message))
            print(f"warning: {with_flags(str(message))}.", flush=True)

    with warnings.catch_warnings():
        warnings.simplefilter("always", InputWarning)
        warnings.showwarning = show
        yield


def explain(error: BaseException, tokens: Sequence[str]) -> tuple[int, str]:
    """Find the exit code and the line for what ended a command.

    Args:
        error: What was raised; an unexpected error is printed with its traceback. Its note, if it
            has one, is the command that goes on.
        tokens: Command line without the program's name, which goes on otherwise.

    Returns:
        Exit code and message.

    Raises:
        BaseException: The error itself, if it is the interpreter's own request to leave.
    """
    from cyclopts import CycloptsError

    go_on = (*getattr(error, "__notes__", ()), shlex.join(["cryolatent", *tokens]))[0]
    if lacks_memory(error):
        return BAD_INPUT, f"not enough memory ({first_line(error)}). {SMALLER} To go on: {go_on}"
    match error:
        case CycloptsError():
            return BAD_INPUT, f"{usage_message(error)} See --help."
        case CryolatentError():
            return error.exit_code, with_flags(str(error))
        case OSError():
            return BAD_INPUT, f"{error}. Check permissions and free space; then: {go_on}"
        case KeyboardInterrupt() | Terminated():
            interrupted = isinstance(error, KeyboardInterrupt)
            code, what = (INTERRUPTED, "interrupted") if interrupted else (TERMINATED, "terminated")
            return code, f"{what}. To go on: {go_on}"
        case Exception():
            traceback.print_exception(error)
            return INTERNAL, "internal error; please report it with the lines above"
    raise error


def lacks_memory(error: BaseException) -> bool:
    """Whether an error is one of a lack of memory, in the processor's or a device's.

    Args:
        error: What was raised; PyTorch tells it from others by its words alone.

    Returns:
        True for errors of Python, NumPy, PyTorch and the system.
    """
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    told = isinstance(error, RuntimeError) and re.search("alloc.* memory|out of memory", str(error))
    return isinstance(error, MemoryError) or bool(told)


def first_line(error: BaseException) -> str:
    """The first line of what an error says.

    Args:
        error: What was raised.

    Returns:
        The line; the kind of error if it says nothing.
    """
    return next(iter(str(error).splitlines()), type(error).__name__)


def usage_message(error: Exception) -> str:
    """Say in one line what is wrong with a command line.

    Args:
        error: What the parser raised.

    Returns:
        A sentence that names the option.
    """
    from pydantic import ValidationError

    cause = error.__cause__
    if isinstance(cause, ValidationError):
        first = cause.errors()[0]
        if not first["loc"]:
            return f"{first['msg']}."
        option = "--" + str(first["loc"][-1]).replace("_", "-")
        return f"{option}: found {first['input']}; expected: {first['msg']}."
    return " ".join(str(error).split())


def _terminate(signum: int, frame: FrameType | None) -> None:
    raise Terminated
