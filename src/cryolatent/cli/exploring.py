"""The command that serves the page of finished runs."""

import secrets
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from cryolatent.errors import InputError

NEEDED = ("fastapi", "uvicorn", "skimage")


def explore(
    *runs: Path,
    output: Annotated[Path, Parameter(name=["--output", "-o"])] = Path("exports"),
    port: int = 0,
    relocate: Annotated[tuple[str, ...], Parameter(negative="")] = (),
) -> None:
    """Look at runs in a browser: map, lasso, volumes; selections written as STAR files.

    The page listens on this machine alone, under the address that is printed. Of another machine:
    ssh -L PORT:localhost:PORT MACHINE, and open the address here. Ctrl-C ends it.

    ```
    cryolatent explore run/
    cryolatent explore run/ other/ -o selections/ --port 8765
    ```

    Parameters
    ----------
    runs
        Runs that cryolatent analyze has seen; of one in training what it has written so far is
        shown.
    output
        Folder that exports are written to; nothing else is written.
    port
        Port to listen on; any free one if 0.
    relocate
        OLD=NEW: what was recorded in the folder OLD is now in NEW. May be given several times.
    """
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise InputError(
            "cryolatent explore",
            f"no {missing[0]}",
            "the packages of the page",
            'Install them: pip install -c constraints.txt ".[explore]"',
        )
    if not runs:
        raise InputError("cryolatent explore", "no run", "one or more", "Name a run.")
    if output.exists() and not output.is_dir():
        raise InputError(output, "a file", "a folder", "Choose another -o.")
    from cryolatent.cli.progress import tell

    tell(f"reading {', '.join(map(str, runs))}")
    from cryolatent.explore.server import application, serve
    from cryolatent.explore.server import explore as read
    from cryolatent.runs.run import Run

    token = secrets.token_urlsafe(24)
    app = application(read([Run.open(run, relocate) for run in runs]), output, token)

    def ready(port: int) -> None:
        print(f"http://127.0.0.1:{port}/{token}/", flush=True)
        print(f"Exports go to {output}. Ctrl-C ends.", flush=True)

    try:
        serve(app, port, ready)
    except KeyboardInterrupt:
        print("ended")
