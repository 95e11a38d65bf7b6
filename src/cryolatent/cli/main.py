"""The entry point: exit codes and errors."""

import signal
import sys
from collections.abc import Sequence
from types import FrameType

from cryolatent.cli.commands import app
from cryolatent.errors import CryolatentError

DONE, BAD_INPUT, INTERNAL, INTERRUPTED, TERMINATED = 0, 2, 4, 130, 143


class Terminated(BaseException):
    """The process was asked to end."""


def main(tokens: Sequence[str] | None = None) -> None:
    """Run a command and leave with its exit code.

    Codes: 0 done, 2 bad input or usage, 4 internal error or non-finite training, 130 interrupted,
    143 terminated.

    Args:
        tokens: Command line without the program's name; the process's own if left out.
    """
    sys.exit(run(sys.argv[1:] if tokens is None else tokens))


def run(tokens: Sequence[str]) -> int:
    """Run a command.

    Args:
        tokens: Command line without the program's name.

    Returns:
        The exit code.
    """
    from cyclopts import CycloptsError

    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        command, bound, _ = app.parse_args(list(tokens), exit_on_error=False, print_error=False)
        command(*bound.args, **bound.kwargs)
        return DONE
    except CycloptsError as error:
        print(f"cryolatent: {usage_message(error)} See --help.", file=sys.stderr)
        return BAD_INPUT
    except CryolatentError as error:
        print(f"cryolatent: {error}", file=sys.stderr)
        return error.exit_code
    except OSError as error:
        print(f"cryolatent: {error}. Check permissions and free space.", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        print("cryolatent: interrupted; --resume continues a training", file=sys.stderr)
        return INTERRUPTED
    except Terminated:
        print("cryolatent: terminated; --resume continues a training", file=sys.stderr)
        return TERMINATED
    finally:
        signal.signal(signal.SIGTERM, before)


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
        option = "--" + str(first["loc"][-1]).replace("_", "-")
        return f"{option}: found {first['input']}; expected: {first['msg']}."
    return " ".join(str(error).split())


def _terminate(signum: int, frame: FrameType | None) -> None:
    raise Terminated
