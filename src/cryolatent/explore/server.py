"""The server of the page: routes, and how it listens."""

import socket
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.staticfiles import StaticFiles
from uvicorn import Config, Server

from cryolatent.errors import InputError, with_flags
from cryolatent.explore.explored import Explored
from cryolatent.explore.guard import Application, Guard
from cryolatent.explore.in_training import InTraining
from cryolatent.explore.routes import Table, router
from cryolatent.report.colours import cluster_shades
from cryolatent.report.findings import gather, unique_labels
from cryolatent.runs.run import Run

STATIC = Path(__file__).parent / "static"
HOST = "127.0.0.1"


def explore(runs: Sequence[Run]) -> list[Explored | InTraining]:
    """Read runs to be looked at.

    Args:
        runs: Runs; of one that is not finished or not analysed what it has written so far is shown.

    Returns:
        One for each, with the colours of the report.

    Raises:
        InputError: If no run is given, or what a finished one holds is damaged.
    """
    if not runs:
        raise InputError("explore", "no run", "one or more runs", "Name at least one run.")
    labels = dict(zip(range(len(runs)), unique_labels(runs), strict=True))
    ready = [n for n, run in enumerate(runs) if run.is_finished and run.is_analysed]
    findings = gather([runs[n] for n in ready]) if ready else []
    findings = [replace(f, label=labels[n]) for n, f in zip(ready, findings, strict=True)]
    found: list[Explored | InTraining] = []
    pairs = dict(zip(ready, zip(findings, cluster_shades(findings), strict=True), strict=True))
    for number, run in enumerate(runs):
        own = pairs.get(number)
        found.append(InTraining(run, labels[number]) if own is None else Explored(*own, found))
    return found


def application(
    explored: Sequence[Explored | InTraining], exports: Path, token: str
) -> Application:
    """Make what answers requests.

    Args:
        explored: The runs.
        exports: The one folder that is written to.
        token: The secret in the address.

    Returns:
        An ASGI application.
    """
    app = FastAPI(openapi_url=None)
    app.add_exception_handler(InputError, _bad_input)
    app.add_exception_handler(RequestValidationError, _bad_question)
    app.state.table = Table(explored, exports, _again)
    app.include_router(router)
    app.mount("/", StaticFiles(directory=STATIC, html=True))
    return Guard(app, token)


def _again(runs: Sequence[Explored | InTraining], number: int) -> list[Explored | InTraining]:
    """The runs with one of them read again."""
    opened = [one.run for one in runs]
    # where its particles are was said when it was first opened
    opened[number] = Run.open(opened[number].path, opened[number].config.data.relocate)
    return explore(opened)


def _bad_input(request: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"error": with_flags(str(error))}, 400)


def _bad_question(request: Request, error: Exception) -> JSONResponse:
    first = error.errors()[0] if isinstance(error, RequestValidationError) else {}
    place = ".".join(map(str, first.get("loc", ())))
    return JSONResponse({"error": f"{place}: {first.get('msg', 'not understood')}"}, 422)


def serve(app: Application, port: int, ready: Callable[[int], None]) -> None:
    """Answer on this machine alone until interrupted.

    Args:
        app: What answers.
        port: Port of the loopback address; any free one if 0.
        ready: Told the port once it listens.

    Raises:
        InputError: If the port is taken.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, port))
        except OSError as error:
            reason = error.strerror or str(error)
            raise InputError("`port`", f"{port}: {reason}", "a free one", "Leave it out.") from None
        listener.listen()
        ready(listener.getsockname()[1])
        config = Config(app, log_level="error", access_log=False, lifespan="off", ws="none")
        Server(config).run(sockets=[listener])
