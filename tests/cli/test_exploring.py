"""What `cryolatent explore` refuses before it serves."""

import socket
from pathlib import Path

import pytest

from cryolatent.cli import exploring
from cryolatent.cli.main import run as command
from cryolatent.errors import InputError
from cryolatent.explore.server import serve


def said(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert command(["explore", *words]) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("cryolatent: ")
    return line


def test_without_its_packages(capsys, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(exploring, "NEEDED", ("no_such_package",))
    line = said(capsys, str(tmp_path))
    assert "found no no_such_package" in line
    assert 'pip install -c constraints.txt ".[explore]"' in line


def test_what_is_no_run_and_no_folder(capsys, tmp_path: Path) -> None:
    assert "found no run" in said(capsys)
    assert "no manifest.json" in said(capsys, str(tmp_path))
    (tmp_path / "file").write_text("")
    assert "expected a folder" in said(capsys, str(tmp_path), "-o", str(tmp_path / "file"))


def test_a_port_that_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=f"`port`: found {port}: .*in use"):
            serve(lambda *_: None, port, lambda _: None)  # pyright: ignore[reportArgumentType]
