"""What the server answers about a run."""

import json
import shlex
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import cryolatent
from benchmarks.explore import drawn_run
from cryolatent.audits.trust import trust
from cryolatent.cli.main import run as command
from cryolatent.errors import InputError
from cryolatent.explore.describing import described
from cryolatent.explore.server import explore
from cryolatent.io import read_star, read_volume
from cryolatent.models import Delta
from cryolatent.report.trust import write_trust
from cryolatent.runs.finding import Finding
from cryolatent.runs.run import Run
from explore.served import Served

STATE = {"kind": "members", "column": "cluster", "values": [1]}


def select(*regions: dict) -> dict:
    return {"steps": [{"how": "add", "region": region} for region in regions]}


def numbers(served: Served, question: dict, kind: str) -> dict:
    status, message = served.request(f"/{served.token}/api/runs/0/{kind}", question)
    assert status == 200, message
    length = int.from_bytes(message[:4], "little")
    header = json.loads(message[4 : 4 + length])
    return header["meta"] | {
        name: np.frombuffer(message, place["type"], place["length"], 4 + length + place["offset"])
        for name, place in header["arrays"].items()
    }


def test_what_was_found_is_said(served: Served, run: Run) -> None:
    (told,) = served.get("runs")
    assert told["found"].startswith("2 states: ")
    assert told["particles"] == sum(state["size"] for state in told["states"]) == 120
    assert [state["number"] for state in told["states"]] == [0, 1]
    assert told["verdict"] is None
    columns = {column["name"]: column for column in served.get("runs/0/columns")}
    assert columns["rlnDefocusU"]["origin"] == "file"
    assert columns["cluster"]["groups"] == ["cluster 0", "cluster 1"]
    assert {one["x"] for one in told["maps"]} <= set(columns)


def test_every_run_has_a_map(tmp_path: Path) -> None:
    many, one = drawn_run(tmp_path / "many", 30), drawn_run(tmp_path / "one", 30, dimensions=1)
    bare = drawn_run(tmp_path / "bare", 30, dimensions=1)
    latents = bare.latents()
    points = Delta(latents.distribution.mean)
    bare.write_latents(replace(latents, distribution=points, reconstruction=None))
    told = [described(explored, tmp_path) for explored in explore([many, one, bare])]
    assert [[m["name"] for m in t["maps"]] for t in told] == [
        ["PCA", "Clusters by certainty", "Clusters by ELBO"],
        [f"{of} by {height}" for of in ("Latent", "Clusters") for height in ("certainty", "ELBO")],
        ["Latent", "Clusters"],
    ]
    for explored, t in zip(explore([many, one, bare]), told, strict=True):
        for m in t["maps"]:
            assert np.isfinite(explored.column(m["x"]).values).all()
            assert np.isfinite(explored.column(m["y"]).values).all()


def test_a_verdict_is_shown_and_a_damaged_one_is_told(run: Run, tmp_path: Path) -> None:
    copy = Run.open(shutil.copytree(run.path, tmp_path / "copy"))
    facts = {"question": "?", "particles": 1, "statistic": None, "null": None, "threshold": 0.0}
    finding = Finding(name="agreement", verdict="fail", **facts)
    write_trust(trust("copy", [finding]), copy.path / "audit")
    (one,) = explore([copy])
    told = described(one, tmp_path)
    assert told["verdict"] == "fail"
    assert told["verdict_sentence"] == "The run's latents are not to be trusted: agreement."
    (copy.path / "audit" / "audit.json").write_text("{")
    with pytest.raises(InputError, match=r"audit\.json: found a damaged file"):
        explore([copy])


def test_a_map_counts_every_particle(served: Served, run: Run) -> None:
    table = cryolatent.open_run(run.path).table()
    question = {"x": "strip", "y": "certainty", "bins": [9, 8], "colour": "rlnDefocusU"}
    found = numbers(served, question | {"selection": select(STATE)}, "map")
    assert found["count"].sum() == found["inside"] == 120
    assert found["chosen"].sum() == found["mark"].sum() == (table["cluster"] == 1).sum()
    np.testing.assert_allclose(found["y"], table["certainty"], rtol=1e-6)
    np.testing.assert_allclose(found["shade"], table["rlnDefocusU"], rtol=1e-6)
    average = np.nansum(found["value"] * found["count"]) / 120
    assert average == pytest.approx(table["rlnDefocusU"].mean(), rel=1e-5)


def test_a_selection_is_counted_exactly(served: Served, run: Run) -> None:
    table = cryolatent.open_run(run.path).table()
    ranges = [{"column": "rlnDefocusU", "low": 0, "high": table["rlnDefocusU"].median()}]
    low = {"kind": "between", "ranges": ranges}
    found = served.ask("runs/0/selection", select(STATE, low))
    expected = (table["cluster"] == 1) | (table["rlnDefocusU"] <= table["rlnDefocusU"].median())
    assert (found["count"], found["of"]) == (expected.sum(), 120)
    assert sum(state["count"] for state in found["states"]) == found["count"]


def test_the_nearest_particle(served: Served, run: Run) -> None:
    table = cryolatent.open_run(run.path).table()
    wanted = table.iloc[17]
    at = [float(wanted["share0"]), float(wanted["contrast"])]
    question = {"x": "share0", "y": "contrast", "at": at, "scale": [1.0, 1.0]}
    assert served.ask("runs/0/nearest", question)["id"] == table.index[17]


def test_volumes_are_those_of_the_run(served: Served, run: Run) -> None:
    opened = cryolatent.open_run(run.path)
    shares = opened.table()[["share0", "share1"]]
    places = {
        "row": ({"kind": "row", "row": 3}, opened.volume(shares.iloc[3].tolist())),
        "mean": (
            {"kind": "selection", "selection": select(STATE)},
            opened.volume(shares[opened.table()["cluster"] == 1].mean().tolist()),
        ),
        "cluster": (
            {"kind": "cluster", "number": 1},
            read_volume(run.analysis / "volumes" / "state_1.mrc")[0],
        ),
    }
    for of, volume in places.values():
        found = numbers(served, {"of": of, "enclosed": 0.1}, "volume")
        assert found["level"] == pytest.approx(float(np.quantile(volume, 0.9)), rel=1e-4)
        assert found["faces"].max() < len(found["vertices"]) / 3


def test_an_export_is_what_its_command_writes(served: Served, run: Run, tmp_path: Path) -> None:
    question = {"selection": select(STATE), "name": "state-1", "kind": ".star"}
    told = served.ask("runs/0/export", question)
    table = cryolatent.open_run(run.path).table("cluster=1")
    written = read_star(served.exports / "state-1.star").particles
    names = [name.partition("@")[0] for name in written["rlnImageName"]]
    assert names == [name.partition("@")[0] for name in table.index]
    assert (told["rows"], told["of"]) == (len(table), 120)
    words = shlex.split(told["command"])
    assert words[0] == "cryolatent"
    again = tmp_path / "again.star"
    assert command([*words[1:-1], str(again)]) == 0
    assert again.read_bytes() == (served.exports / "state-1.star").read_bytes()
    status, body = served.request(f"/{served.token}/api/runs/0/export", question)
    assert (status, b"something there" in body) == (400, True)


@pytest.mark.parametrize(
    ("path", "question", "status"),
    [
        ("runs/1/selection", {"steps": []}, 404),
        ("runs/0/selection", {"steps": 3}, 422),
        ("runs/0/selection", select({"kind": "members", "column": "no", "values": [1]}), 400),
        ("runs/0/volume", {"of": {"kind": "row", "row": 120}}, 400),
        ("runs/0/volume", {"of": {"kind": "cluster", "number": 9}}, 400),
        ("runs/0/volume", {"of": {"kind": "selection", "selection": {"steps": []}}}, 400),
        ("runs/0/volume", {"of": {"kind": "row", "row": 0}, "enclosed": 1.0}, 422),
        ("runs/0/map", {"x": "strip", "y": "no", "bins": [9, 9]}, 400),
        ("runs/0/map", {"x": "strip", "y": "strip", "bins": [9, 100000]}, 422),
        ("runs/0/map", {"x": "strip", "y": "strip", "bins": [9, 9], "window": [1, 1, 0, 2]}, 422),
        ("runs/0/export", {"selection": {"steps": []}, "name": "none", "kind": ".star"}, 400),
    ],
)
def test_questions_without_an_answer(
    served: Served, path: str, question: dict, status: int
) -> None:
    found, body = served.request(f"/{served.token}/api/{path}", question)
    assert found == status, body
    assert b"Traceback" not in body
