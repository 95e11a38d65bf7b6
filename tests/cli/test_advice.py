"""Advice names options that there are, and that the command has which gives it."""

import ast
import shutil
from pathlib import Path

import pytest

import cryolatent
from builders import small_stack
from cli.test_broken_input import CASES, make
from command_options import OPTION, options_of, strange_options
from cryolatent.cli.commands import app
from cryolatent.cli.main import run
from cryolatent.errors import with_flags

SOURCE = Path(cryolatent.__file__).parent
COMMANDS = [name for name in app if not name.startswith("-")]


def texts(path: Path) -> list[str]:
    """The literals of a file's errors and warnings."""
    calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    raised = [c for c in calls if ast.unparse(c.func).endswith(("InputError", "warn", "damaged"))]
    nodes = [node for call in raised for node in ast.walk(call)]
    found = [node.value for node in nodes if isinstance(node, ast.Constant)]
    return [value for value in found if isinstance(value, str)]


def test_every_option_that_a_text_names_is_one_of_some_command() -> None:
    known = set().union(*map(options_of, COMMANDS))
    found = {}
    for path in SOURCE.rglob("*.py"):
        for text in texts(path):
            found |= dict.fromkeys(OPTION.findall(with_flags(text)), path.name)
    assert len(found) > 20
    assert {option: place for option, place in found.items() if option not in known} == {}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("command", ["backproject", "prepare"])
def test_a_command_names_its_own_options(name, command, tmp_path, monkeypatch, capsys) -> None:
    project = make(tmp_path)
    CASES[name][0](project)
    monkeypatch.chdir(tmp_path)
    known = options_of(command)
    options = project.options if set(project.options[::2]) <= known else []
    run([command, project.particles, "-o", "made", *options])
    assert strange_options(capsys.readouterr().err, command) == set()


def test_commands_on_runs_name_their_own_options(tmp_path, capsys) -> None:
    star = small_stack(tmp_path / "data").source
    made, out = str(tmp_path / "run"), str(tmp_path / "out")
    small = ["--posterior", "encoder", "--epochs", "1", "--encoder-width", "8"]
    assert run(["train", str(star), "-o", made, *small]) == 0
    lines = [["analyze", made], ["volumes", made, "-o", out], ["halves", made, "-o", out]]
    lines += [["export", made, "-o", out], ["infer", made, str(star), "-o", out]]
    lines += [["report", made], ["volumes", made, "-o", out, "--effective-particles", "3"]]
    for change in (lambda: None, star.with_suffix(".mrcs").unlink, star.unlink):
        change()
        capsys.readouterr()
        for line in lines:
            run(line)
            assert strange_options(capsys.readouterr().err, line[0]) == set(), line
            shutil.rmtree(out, ignore_errors=True)
            Path(out).unlink(missing_ok=True)
