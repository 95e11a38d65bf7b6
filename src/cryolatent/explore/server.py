"""The server of the page: routes, and how it listens."""

import socket
from collections.abc import Callable, Sequence
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.staticfiles import StaticFiles
from uvicorn import Config, Server

from cryolatent.errors import InputError, with_flags
from cryolatent.explore.explored import Explored
from cryolatent.explore.guard import Application, Guard
from cryolatent.explore.routes import Table, router
from cryolatent.report.colours import cluster_shades
from cryolatent.report.findings import gather
from cryolatent.runs.run import Run

STATIC = Path(__file__).parent / "static"
HOST = "127.0.0.1"


def explore(runs: Sequence[Run]) -> list[Explored]:
    """Read runs to be looked at.

    Args:
        runs: Finished and analysed runs.

    Returns:
        One for each, with the colours of the report.

    Raises:
        InputError: If no run is given, or one is not finished or not analysed.
    """
    findings = gather(runs)
    shades = cluster_shades(findings)
    return [Explored(*pair) for pair in zip(findings, shades, strict=True)]


def application(explored: Sequence[Explored], exports: Path, token: str) -> Application:
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
    app.state.table = Table(tuple(explored), exports)
    app.include_router(router)
    app.mount("/", StaticFiles(directory=STATIC, html=True))
    return Guard(app, token)


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
