"""Any STAR file: RELION's own reader, the package starfile and this one agree, or it is refused."""

import linecache
import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import pandas as pd
import pytest
import starfile

from cryolatent.errors import InputError
from cryolatent.io import read_star

Rows = list[tuple[str, float, str]]
COLUMNS = ("rlnImageName", "rlnDefocusU", "rlnMicrographName")
NAMES = ["rlnImageName", "rlnMicrographName"]
OPTICS = {
    "OpticsGroup": "{}",
    "OpticsGroupName": "group{}",
    "Voltage": "300",
    "SphericalAberration": "2.7",
    "AmplitudeContrast": "0.1",
    "ImagePixelSize": "4",
    "ImageSize": "32",
    "ImageDimensionality": "2",
}
OLD = {"Voltage": "300", "SphericalAberration": "2.7", "AmplitudeContrast": "0.1"}
OLD |= {"DetectorPixelSize": "8", "Magnification": "10000"}
ODDITIES = ["above", "behind header", "count", "in header", "in rows", "indent", "line ends"]
ODDITIES += ["loop", "mark", "no end", "no last line end", "number", "order", "other", "pairs"]
ODDITIES += ["second", "title", *["value"] * 6]
COMMENTS = ["# a comment", "#", "# data_particles", "# loop_", "  # o'clock"]


@dataclass
class Made:
    """A file, and whether starfile can be asked: it cuts names at # and takes ' for a quote."""

    text: str
    wanted: list[str]
    fair: bool = True
    odd: list[str] = field(default_factory=list)


def rarely(rng: Random, what: str, made: Made) -> bool:
    """Whether an oddity stands here: a file has two kinds of them at most."""
    hit = what in made.wanted and rng.random() < 0.4
    made.odd += [what] * hit
    return hit


def star(rng: Random) -> Made:
    """A STAR file with some of what programs and people put in."""
    made = Made("", rng.choices(ODDITIES, k=rng.randint(0, 2)))
    optics = table(rng, made, "optics", OPTICS, 2, loop=rng.randint(0, 4) > 0)
    modern = rng.randint(0, 4) > 0
    name = rng.choice(["particles"] * 6 + ["images", "selected", ""]) if modern else ""
    columns = particle_columns(rng, modern)
    parts = [optics] * modern
    parts.append(table(rng, made, name, columns, rng.randint(1, 4)))
    if rarely(rng, "second", made):
        parts.append(table(rng, made, rng.choice(["particles", "b"]), columns, 2))
    if rarely(rng, "other", made):
        other = "\ndata_micrographs\n\nloop_\n_rlnMicrographName #1\nx.mrc\n\n"
        parts.insert(rng.randint(0, len(parts)), other)
    if rarely(rng, "order", made):
        parts = parts[::-1]
    text = "".join(parts)
    if rarely(rng, "no last line end", made):
        text = text.rstrip()
    if rarely(rng, "line ends", made):
        text = text.replace("\n", rng.choice(["\r\n", "\r"]))
    mark = "\ufeff" if rarely(rng, "mark", made) else ""
    made.text = mark + text
    return made


def particle_columns(rng: Random, modern: bool) -> dict[str, str]:
    columns = {"ImageName": "image", "DefocusU": "number", "DefocusV": "9000"}
    columns |= {"DefocusAngle": "10", "MicrographName": "name"}
    columns |= {"OpticsGroup": "1"} if modern else OLD
    order = rng.sample(list(columns), len(columns))
    few = modern and rng.randint(0, 9) == 0
    return {name: columns[name] for name in (["ImageName", "OpticsGroup"] if few else order)}


def table(rng: Random, made: Made, name: str, columns: dict, rows: int, loop=True) -> str:
    title = f"data_{name}"
    if rarely(rng, "title", made):
        title = rng.choice([f"{title} ", f"{title}\t", f"{title} # x", f" {title}"])
    lines = ["", title, *gap(rng, made)]
    if not loop:
        return "\n".join([*lines, *pairs(rng, made, columns), "", ""])
    lines.append("loop_ " if rarely(rng, "loop", made) else "loop_")
    for at, column in enumerate(columns):
        number = rng.choice([f" #{at + 1}"] * 9 + ["", "\t# x", f" #{at + 1} "])
        if rarely(rng, "number", made):
            number = rng.choice([" x", f"#{at + 1}", " 1 #2"])
        indent = " " * rarely(rng, "indent", made)
        lines.append(f"{indent}_rln{column}{number}")
        if rarely(rng, "in header", made):
            lines.append(rng.choice([*COMMENTS, "", " "]))
    lines += [""] * rarely(rng, "behind header", made)
    for row in range(rows):
        lines.append(line(rng, made, columns, row))
        if rarely(rng, "in rows", made):
            lines.append(rng.choice([*COMMENTS, "", " ", "x"]))
    lines += [] if rarely(rng, "no end", made) else ["", ""]
    return "\n".join(lines)


def gap(rng: Random, made: Made) -> list[str]:
    if not rarely(rng, "above", made):
        return [""]
    return rng.choices([*COMMENTS, "", "text"], k=2)


def pairs(rng: Random, made: Made, columns: dict) -> list[str]:
    found = [f"_rln{name}  {form.format(1)}" for name, form in columns.items()]
    if rarely(rng, "pairs", made):
        at = rng.randint(0, len(found) - 1)
        found[at] = rng.choice([f" {found[at]}", f"{found[at]} # x", f"{found[at]} 3"])
    return found


def line(rng: Random, made: Made, columns: dict, row: int) -> str:
    entries = [entry(rng, made, kind, row) for kind in columns.values()]
    if rarely(rng, "count", made):
        entries = [*entries, "1"] if rng.random() < 0.4 else entries[:-1]
    space = rng.choice([" "] * 8 + ["  ", "\t"])
    end = rng.choice([""] * 8 + [" ", "\t", " # x", "\t# it's", " #"])
    return " " * rng.randint(0, 1) + space.join(entries) + end


def entry(rng: Random, made: Made, kind: str, row: int) -> str:
    if kind not in ("image", "number", "name"):
        return kind.format(row + 1)
    if kind == "number":
        value = rng.choice(["10000.5", "12345", "1e4", "-0.25", "+3.5", "0012"])
    else:
        value = f"{rng.randint(1, 99):06d}@a.mrcs" if kind == "image" else "a/b.mrc"
    if rarely(rng, "value", made):
        value = rng.choice(ODD_VALUES).replace("*", value)
        made.fair &= not re.search(r"\S['#]|'.*['\"].+'|\".*['\"].*\"", value)
    return value


ODD_VALUES = ["data_*", "data_x/*", "_*", "_rlnX/*", "loop_*", ";*", "a#*", "o'*", '"*"', "'*'"]
ODD_VALUES += ["'a *'", '"a *"', '"a  *"', "'a # *'", '"o\'*"', "'*", '"*', "#*", "*'", '*"', '""']
ODD_VALUES += ["é*", "global_*", "stop_*", "save_*", "$*", "[*]", "?", "*,b", "*\\b"]


def by_relion(path: Path) -> Rows | None:
    out = path.with_name("out.star")
    out.unlink(missing_ok=True)
    command = ["relion_star_handler", "--i", path.name, "--o", out.name]
    done = subprocess.run(command, cwd=path.parent, capture_output=True, check=False, timeout=60)
    if done.returncode or not out.exists():
        return None
    text = out.read_text().partition("data_particles\n")[2]
    names = re.findall(r"^_(.*) #\d+ $", text, re.M)
    if NAMES[0] not in names:
        return None
    rows = [line for line in text.splitlines() if line.strip()][1 + len(names) :]
    cells = [re.findall(r'"[^"]*"(?= )|\S+', row) for row in rows]
    table = pd.DataFrame([dict(zip(names, row, strict=True)) for row in cells])
    return rows_of(table.replace(r'^"(.*)"$', r"\1", regex=True)) if len(table) else None


def by_starfile(path: Path) -> Rows | None:
    linecache.clearcache()  # starfile leaves the lines of a file that it could not read there
    try:
        tables = starfile.read(path, always_dict=True, parse_as_string=NAMES)
    except Exception:
        return None
    found = [tables.get("particles"), *tables.values()]
    frames = [t for t in found if isinstance(t, pd.DataFrame) and NAMES[0] in t and len(t)]
    return rows_of(frames[0]) if frames else None


def by_us(path: Path) -> Rows | InputError:
    try:
        table = read_star(path)
        table.numbers("rlnDefocusU", 0.0)
        return rows_of(table.particles) or []
    except InputError as error:
        return error


def rows_of(table: pd.DataFrame) -> Rows | None:
    """Rows as values; None of a table that was read wrongly beyond doubt."""
    if NAMES[0] not in table:
        return None
    columns = []
    for name in COLUMNS:
        values = table[name] if name in table else pd.Series(["0"] * len(table))
        columns.append(values if name in NAMES else pd.to_numeric(values, errors="coerce"))
    rows = list(zip(*columns, strict=True))
    return None if any(pd.isna(value) for row in rows for value in row) else rows


@pytest.mark.relion
@pytest.mark.parametrize("seed", range(8))
def test_three_readers_agree_or_the_file_is_refused(tmp_path, seed):
    """Fifty files a seed, each with up to two kinds of oddities."""
    rng, path = Random(seed), tmp_path / "a.star"
    for _ in range(50):
        made = star(rng)
        path.write_bytes(made.text.encode())
        theirs = [by_relion(path), by_starfile(path) if made.fair else None]
        ours = by_us(path)
        if isinstance(ours, InputError):
            assert str(path) in str(ours)
            assert made.odd, ours
        else:
            assert all(rows in (None, ours) for rows in theirs), made.text
