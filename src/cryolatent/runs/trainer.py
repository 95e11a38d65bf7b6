"""Who trains a run: what its lock file says."""

import fcntl
import json
import os
import socket
from datetime import datetime
from pathlib import Path


def trainer_text() -> str:
    """What a lock file says of this process.

    Returns:
        JSON: process, host and time.
    """
    now = datetime.now().astimezone().isoformat(sep=" ", timespec="minutes")
    return json.dumps({"process": os.getpid(), "host": socket.gethostname(), "since": now})


def trainer_of(lock: Path) -> str | None:
    """Who holds a lock.

    Args:
        lock: The lock file.

    Returns:
        Words that name process, host and time; None if nobody holds it.
    """
    try:
        with lock.open() as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return _words(stream.read())
    except OSError:
        pass
    return None


def _words(text: str) -> str:
    try:
        said = json.loads(text)
        return f"process {said['process']} on {said['host']}, since {said['since']}"
    except (ValueError, KeyError, TypeError):  # it has not been written yet
        return "another process"
