"""Folders that are there whole or not at all."""

from pathlib import Path

import pytest

from cryolatent.io.files import new_folder


def test_working_directory_can_be_filled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with new_folder(Path()) as partial:
        (partial / "inner").mkdir()
        (partial / "inner" / "file").write_text("x")
        assert not list(Path().iterdir())
    assert Path("inner/file").read_text() == "x"
    assert [path.name for path in tmp_path.iterdir()] == ["here"]


def test_failure_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), new_folder(tmp_path / "a" / "b") as partial:
        (partial / "file").write_text("x")
        raise RuntimeError
    assert not list((tmp_path / "a").iterdir())
