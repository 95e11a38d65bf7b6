"""The documentation's sessions run, its pages can be reached, its messages are the program's."""

import doctest
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
FETCHED = re.compile(r"""<(?:script|link|img|iframe)[^>]*\s(?:src|href)=["']?https?:""")


def test_session_of_the_python_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    page = (DOCS / "api.md").read_text()
    session = "\n".join(re.findall(r"```pycon\n(.*?)```", page, re.DOTALL))
    said: list[str] = []
    parsed = doctest.DocTestParser().get_doctest(session, {}, "api.md", "api.md", 0)
    result = doctest.DocTestRunner().run(parsed, out=said.append)
    assert result.attempted > 15
    assert not result.failed, "".join(said)


def named(entries: list) -> Iterator[str]:
    for entry in entries:
        for value in entry.values() if isinstance(entry, dict) else [entry]:
            yield from [value] if isinstance(value, str) else named(value)


def test_every_page_can_be_reached() -> None:
    navigation = list(named(tomllib.loads((ROOT / "zensical.toml").read_text())["project"]["nav"]))
    decisions = re.findall(r"\]\((.+?\.md)\)", (DOCS / "decisions" / "README.md").read_text())
    reached = navigation + [f"decisions/{name}" for name in decisions]
    assert sorted(reached) == sorted(str(p.relative_to(DOCS)) for p in DOCS.rglob("*.md"))


def test_links_of_pages_outside_the_site_lead_somewhere() -> None:
    for page in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md"):
        for link in re.findall(r"\]\((?!https?:)([^)#]+)", (ROOT / page).read_text()):
            assert (ROOT / link).exists(), f"{page}: {link}"


def test_messages_are_those_of_the_program() -> None:
    source = "\n".join(path.read_text() for path in (ROOT / "src").rglob("*.py"))
    source = re.sub(r'"\s*\n?\s*f?"', "", source)
    rows = re.findall(r"^\| (.+?) \|", (DOCS / "messages.md").read_text(), re.MULTILINE)
    quoted = [quote for row in rows for quote in re.findall(r"`([^`]+)`|\*([^*]+)\*", row)]
    parts = [part.strip() for quote in quoted for part in "".join(quote).split("…")]
    assert len(parts) > 40
    assert [part for part in parts if part not in source] == []


def build(place: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "zensical", "build", "--strict"]
    return subprocess.run(command, cwd=place, capture_output=True, text=True, check=False)


def test_site_builds_and_fetches_nothing(tmp_path: Path) -> None:
    pytest.importorskip("zensical", reason="make docs builds the site too")
    for name in ("scripts", "src"):
        (tmp_path / name).symlink_to(ROOT / name)
    shutil.copy(ROOT / "zensical.toml", tmp_path)
    shutil.copytree(DOCS, tmp_path / "docs")
    done = build(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    pages = {path.name: path.read_text() for path in (tmp_path / "site").rglob("*.html")}
    assert "<math" in pages["objective.html"]
    assert [name for name, page in pages.items() if re.search(r"<m\w+[^>]*>\\", page)] == []
    assert "A run, and what can be asked of it." in pages["api.html"]
    assert {name: found for name, page in pages.items() if (found := FETCHED.findall(page))} == {}
    with (tmp_path / "docs" / "index.md").open("a") as page:
        page.write("\n[nowhere](nowhere.md)\n")
    assert build(tmp_path).returncode != 0
