"""A run and its particles are moved, together or apart: every command finds them or can be told."""

import shutil
from pathlib import Path

import pytest

from builders import small_stack
from cryolatent.cli.main import run
from cryolatent.runs.run import Run

EXACT = ["--posterior", "exact", "--z-dim", "1"]


def commands(made: Path, out: Path) -> dict[str, list[str]]:
    local = ["--clusters", "1", "--effective-particles", "30"]
    return {
        "volumes": ["volumes", str(made), "-o", str(out / "volumes"), *local],
        "analyze": ["analyze", str(made), "--clusters", "1"],
        "export": ["export", str(made), "-o", str(out / "out.star")],
        "resume": ["train", "-o", str(made), "--resume"],
    }


def absolute_names(star: Path) -> None:
    star.write_text(star.read_text().replace("@", f"@{star.parent}/"))


def answers(made: Path, out: Path, *more: str) -> dict[str, int]:
    out.mkdir(exist_ok=True)
    found = {name: run([*line, *more]) for name, line in commands(made, out).items()}
    shutil.rmtree(out)
    return found


@pytest.mark.parametrize(("absolute", "beside"), [(False, False), (True, True)])
def test_a_project_that_is_moved_as_a_whole_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, absolute: bool, beside: bool
) -> None:
    one, two = tmp_path / "disk" / "one", tmp_path / "two"
    star = small_stack(one if beside else one / "data").source
    if absolute:
        absolute_names(star)
    monkeypatch.chdir(one)
    mask = one / "mask.mrc"
    assert run(["backproject", str(star), "-o", "map", "--mask", "auto"]) == 0
    shutil.copy(next((one / "map").glob("mask*.mrc")), mask)
    given = [*EXACT, "--mask", "mask.mrc"]
    assert run(["train", str(star.relative_to(one)), "-o", "runs/a", *given]) == 0
    monkeypatch.chdir(tmp_path)
    shutil.move(one, two)
    assert set(answers(two / "runs" / "a", tmp_path / "out").values()) == {0}
    halves = ["halves", str(two / "runs" / "a"), "-o", str(tmp_path / "halves")]
    assert beside or run(halves) == 0
    # and again, after training has written into the run
    shutil.move(two, tmp_path / "three")
    assert Run.open(tmp_path / "three" / "runs" / "a").open_stack().source.is_file()


@pytest.mark.parametrize("absolute", [False, True])
def test_particles_that_are_moved_alone_can_be_named(
    tmp_path: Path, capsys: pytest.CaptureFixture, absolute: bool
) -> None:
    star = small_stack(tmp_path / "old" / "data").source
    if absolute:
        absolute_names(star)
    made = tmp_path / "run"
    assert run(["train", str(star), "-o", str(made), *EXACT]) == 0
    shutil.move(tmp_path / "old", tmp_path / "new")
    capsys.readouterr()
    for name, line in commands(made, tmp_path).items():
        assert run(line) == 2
        assert "say where its folder is now: --relocate OLD=NEW" in capsys.readouterr().err, name
    told = ["--relocate", f"{tmp_path / 'old'}={tmp_path / 'new'}"]
    assert set(answers(made, tmp_path / "out", *told).values()) == {0}
    # resuming wrote it down; of a second move only what is new is said
    assert run(["export", str(made), "-o", str(tmp_path / "again.star")]) == 0
    shutil.move(tmp_path / "new", tmp_path / "newer")
    told = ["--relocate", f"{tmp_path / 'new'}={tmp_path / 'newer'}"]
    assert run(["export", str(made), "-o", str(tmp_path / "third.star"), *told]) == 0
    moved = tmp_path / "newer" / "data" / star.name
    latents = str(tmp_path / "latents.parquet")
    oldest = ["--relocate", f"{tmp_path / 'old'}={tmp_path / 'newer'}"]
    assert run(["infer", str(made), str(moved), "-o", latents, *oldest]) == 0
    assert run(["backproject", str(moved), "-o", str(tmp_path / "map"), *oldest]) == 0
    assert run(["prepare", str(moved), "-o", str(tmp_path / "packed"), *oldest]) == 0
    assert run(["train", str(moved), "-o", str(tmp_path / "other"), *EXACT, *oldest]) == 0
    assert Run.open(tmp_path / "other").open_stack().source == moved


def test_what_is_still_in_its_place_is_taken_unless_told_otherwise(tmp_path: Path) -> None:
    star = small_stack(tmp_path / "one").source
    assert run(["train", str(star), "-o", str(tmp_path / "one" / "run"), *EXACT]) == 0
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    copied = tmp_path / "two" / "run"
    assert Run.open(copied).open_stack().source == star
    told = f"{tmp_path / 'one'}={tmp_path / 'two'}"
    assert Run.open(copied, [told]).open_stack().source == tmp_path / "two" / star.name


def test_packed_particles_and_what_they_came_from_are_moved(tmp_path: Path) -> None:
    star = small_stack(tmp_path / "one").source
    packed, made = tmp_path / "one" / "packed", tmp_path / "one" / "run"
    assert run(["prepare", str(star), "-o", str(packed)]) == 0
    assert run(["train", str(packed), "-o", str(made), *EXACT]) == 0
    shutil.move(tmp_path / "one", tmp_path / "two")
    made = tmp_path / "two" / "run"
    assert set(answers(made, tmp_path / "out").values()) == {0}


@pytest.mark.parametrize("text", ["/old", "=/new", "/old="])
def test_a_move_of_another_form_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture, text: str
) -> None:
    star = small_stack(tmp_path / "data").source
    out = str(tmp_path / "map")
    assert run(["backproject", str(star), "-o", out, "--relocate", text]) == 2
    assert f"--relocate: found {text}; expected OLD=NEW" in capsys.readouterr().err
