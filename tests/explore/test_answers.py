"""What the server answers about a run."""

import io
import json
import shlex
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import cryolatent
from benchmarks.explore import drawn_run
from cryolatent.audits.trust import trust
from cryolatent.cli.main import run as command
from cryolatent.config.training import TrainConfig
from cryolatent.errors import InputError
from cryolatent.explore.describing import described
from cryolatent.explore.kinship import kinship
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


def nested(depth: int) -> dict:
    """A selection of the other run's selection of this one's, and so on."""
    found = select(STATE)
    for level in range(depth):
        found = select({"kind": "shared", "run": (depth - level) % 2, "steps": found["steps"]})
    return found


def numbers(served: Served, question: dict, kind: str, run: int = 0) -> dict:
    status, message = served.request(f"/{served.token}/api/runs/{run}/{kind}", question)
    assert status == 200, message
    length = int.from_bytes(message[:4], "little")
    header = json.loads(message[4 : 4 + length])
    return header["meta"] | {
        name: np.frombuffer(message, place["type"], place["length"], 4 + length + place["offset"])
        for name, place in header["arrays"].items()
    }


def test_what_was_found_is_said(served: Served, run: Run) -> None:
    told = served.get("runs")[0]
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


def test_a_difference_shows_where_there_is_more_and_where_less(served: Served, run: Run) -> None:
    kept, other = (read_volume(run.analysis / "volumes" / f"state_{k}.mrc")[0] for k in (0, 1))
    question = {"of": {"kind": "cluster", "number": 1}, "minus": {"kind": "cluster", "number": 0}}
    found = numbers(served, question | {"enclosed": 0.1}, "volume")
    assert found["level"] == pytest.approx(float(np.quantile(kept, 0.9)), rel=1e-4)
    pixel, half = run.manifest.pixel_size_angstrom, run.manifest.box // 2
    for name, sign in (("more_vertices", 1), ("less_vertices", -1)):
        corners = found[name].reshape(-1, 3)
        z, y, x = np.rint(corners[:, ::-1] / pixel + half).astype(int).T
        assert (sign * (other - kept))[z, y, x].mean() > 0.5 * found["difference_level"]


def test_sections_are_planes_of_the_volume(served: Served, run: Run) -> None:
    volume = read_volume(run.analysis / "volumes" / "state_1.mrc")[0]
    question = {"of": {"kind": "cluster", "number": 1}, "depth": 0.25}
    found, at = numbers(served, question, "sections"), run.manifest.box // 4
    for axis, plane in (("z", volume[at]), ("y", volume[:, at]), ("x", volume[:, :, at])):
        np.testing.assert_allclose(found[axis].reshape(plane.shape), plane, rtol=1e-5)
    assert numbers(served, question | {"depth": 1}, "sections")["angstrom"] > 0


def test_measured_and_decoded_volumes_of_a_state(served: Served, run: Run) -> None:
    file = served.get("runs")[0]["states"][1]["measured"]
    measured = read_volume(run.path / file)[0]
    question = {"of": {"kind": "measured", "number": 1}, "enclosed": 0.1}
    found = numbers(served, question, "volume")
    assert found["level"] == pytest.approx(float(np.quantile(measured, 0.9)), rel=1e-4)
    told = served.ask("runs/0/volume/file", {"of": question["of"], "name": "own-map"})
    assert told["path"] == str(served.exports / "own-map.mrc")
    np.testing.assert_array_equal(read_volume(told["path"])[0], measured)


def test_images_are_those_of_the_notebook(served: Served, run: Run) -> None:
    opened = cryolatent.open_run(run.path)
    table, box = opened.table("cluster=1"), run.manifest.box
    question = {"selection": select(STATE), "size": 4, "order": "contrast", "descending": True}
    found = numbers(served, question | {"page": 1}, "images")
    assert found["particles"] == len(table)
    wanted = table.sort_values("contrast", ascending=False).index[4:8]
    assert found["ids"] == wanted.tolist()
    expected = opened.images(found["rows"])
    np.testing.assert_allclose(
        found["chi_squared"].reshape(4, -1), expected.chi_squared[:, 1:], rtol=1e-3
    )
    grey = found["raw"].reshape(4, box, box).astype(float)
    assert np.corrcoef(grey.ravel(), expected.raw.ravel())[0, 1] > 0.99
    status, body = served.request(f"/{served.token}/api/runs/0/images", {"page": 99})
    assert (status, b"page 100" in body) == (400, True)


def test_a_selection_is_seen_in_another_run(served: Served, run: Run, other: Run) -> None:
    chosen = cryolatent.open_run(run.path).table("cluster=1").index
    shared = {"kind": "shared", "run": 0, "steps": select(STATE)["steps"]}
    assert served.ask("runs/1/selection", select(shared))["count"] == len(chosen)
    question = {"columns": ["certainty"], "selection": select(shared)}
    _, text = served.request(f"/{served.token}/api/runs/1/table", question)
    assert set(pd.read_csv(io.BytesIO(text))["id"]) == set(chosen)
    told = served.ask(
        "runs/1/export", {"selection": select(shared), "name": "there", "kind": ".npy"}
    )
    assert told["rows"] == len(chosen)
    found = served.ask("runs/0/contingency", {"other": 1})
    sizes = cryolatent.open_run(run.path).table()["cluster"].value_counts().sort_index()
    assert found["counts"] == [[size] for size in sizes]
    assert (found["particles"], found["ari"]) == (120, 0)
    found = served.ask("runs/0/contingency", {"other": 1, "selection": select(STATE)})
    assert found["counts"] == [[0], [len(chosen)]]


def test_sets_differ_by_what_they_were_chosen_by(served: Served, run: Run) -> None:
    found = served.ask("runs/0/sets", {"first": select(STATE)})
    table = cryolatent.open_run(run.path).table()
    by_name = {one["name"]: one for one in found["differences"]}
    inside = table["cluster"] == 1
    assert (found["first"], found["second"], found["both"]) == (inside.sum(), (~inside).sum(), 0)
    assert by_name["share1"]["first"] == pytest.approx(table["share1"][inside].mean(), rel=1e-4)
    assert by_name["share1"]["p_of_all"] <= 0.05
    defocus = (table["rlnDefocusU"] + table["rlnDefocusV"])[~inside].mean() / 2
    assert by_name["defocus (Å)"]["second"] == pytest.approx(defocus, rel=1e-5)
    assert "views" in by_name


def test_a_run_in_training_shows_what_it_has_written(
    served: Served, run: Run, unfinished: Run
) -> None:
    told = served.get("runs")[2]
    assert told["training"].startswith("Not finished (interrupted).")
    assert told["log"]["evidence"] == [entry["evidence"] for entry in run.entries()]
    assert told["volumes"] == 2
    assert len(numbers(served, {"number": 1}, "draft", 2)["faces"]) > 0
    before = (unfinished.path / "log.jsonl").read_text()
    (unfinished.path / "log.jsonl").write_text(before + '{"epoch": 99, "evidence": 7.5}\n')
    assert served.request(f"/{served.token}/api/runs/2/again", {})[0] == 200
    assert served.get("runs")[2]["log"]["evidence"][-1] == 7.5
    (unfinished.path / "log.jsonl").write_text(before)


def test_a_path_is_straight_and_its_volumes_are_the_runs(
    served: Served, line: Run, tmp_path: Path
) -> None:
    opened = cryolatent.open_run(line.path)
    table = opened.table()
    question = {"ends": [3, 70], "frames": 5, "x": "z0", "y": "rlnDefocusU"}
    found = served.ask("runs/3/path", question)
    expected = np.linspace(*table["z0"].iloc[[3, 70]], 5)
    np.testing.assert_allclose(np.ravel(found["latents"]), expected, rtol=1e-5)
    for z, (x, y) in zip(expected, found["at"], strict=True):
        nearest = table.iloc[(table["z0"] - z).abs().argmin()]
        assert (x, y) == pytest.approx((nearest["z0"], nearest["rlnDefocusU"]))
    written = served.ask("runs/3/path/files", {"along": question, "name": "way"})
    assert (written["path"], written["frames"]) == (str(served.exports / "way"), 5)
    folder, again = served.exports / "way", tmp_path / "way"
    frames = sorted(folder.glob("decoded_*.mrc"))
    assert (folder / "movie.gif").exists()
    assert command([*shlex.split(written["command"])[1:-1], str(again)]) == 0
    assert (again / "path.csv").read_bytes() == (folder / "path.csv").read_bytes()
    assert len(frames) == 5
    for z, frame in zip(found["latents"], frames, strict=True):
        np.testing.assert_allclose(read_volume(frame)[0], opened.volume(z), atol=1e-6)
    same = {"along": question, "name": "way"}
    assert served.request(f"/{served.token}/api/runs/3/path/files", same)[0] == 400
    for name in ("../up", "a/b", "/tmp/absolute", "..", ".hidden"):
        bad = {"along": question, "name": name}
        assert served.request(f"/{served.token}/api/runs/3/path/files", bad)[0] == 400, name
    populated = served.ask("runs/3/path", question | {"way": "populated"})
    ends = np.ravel(populated["latents"])[[0, -1]]
    np.testing.assert_allclose(ends, expected[[0, -1]], rtol=1e-5)
    far = question | {"ends": [3, 120]}
    assert served.request(f"/{served.token}/api/runs/3/path", far)[0] == 400
    assert served.request(f"/{served.token}/api/runs/0/path", question)[0] == 400
    many = question | {"frames": 1000}
    assert served.request(f"/{served.token}/api/runs/3/path", many)[0] == 422


def test_kinship(served: Served, run: Run, tmp_path: Path) -> None:
    told = [one["kin"] for one in served.get("runs")]
    known = ["categorical, seed 1", "other but for states and seed", "repeats unfinished"]
    assert told[0] == [*known, "same particles as line"]
    copies = []
    for name, changed in {"again": {"seed": 5}, "control": {"twin": "noise"}}.items():
        options = {"seed": 1, "threads": 1} | changed
        config = TrainConfig.of(posterior="encoder", **options)
        manifest = run.manifest.model_copy(
            update={"seed": config.session.seed, "parents": ("/some/where/first",)}
        )
        copies.append(Run(tmp_path / name, config, manifest))
    assert kinship(copies)[1] == [
        "encoder, seed 1",
        "control: the posterior sees the noise twin",
        "started from first",
        "again but for twin and seed",
    ]
    strangers = replace(copies[0], manifest=run.manifest.model_copy(update={"input_sha256": "0"}))
    assert len(kinship([strangers, copies[1]])[0]) == 1


def test_views_can_be_mapped(served: Served, run: Run) -> None:
    question = {"x": "view_x", "y": "view_y", "bins": [8, 8], "window": [-1, 1, -1, 1]}
    assert numbers(served, question, "map")["count"].sum() == 120
    columns = {"view_longitude_degrees", "view_latitude_degrees"}
    assert columns <= {column["name"] for column in served.get("runs/0/columns")}


def test_a_table_holds_the_selected_particles(served: Served, run: Run) -> None:
    table = cryolatent.open_run(run.path).table("cluster=1")
    question = {"columns": ["cluster", "rlnDefocusU"], "selection": select(STATE)}
    status, text = served.request(f"/{served.token}/api/runs/0/table", question)
    assert status == 200
    found = pd.read_csv(io.BytesIO(text), index_col="id")
    assert found.index.tolist() == table.index.tolist()
    np.testing.assert_allclose(found["rlnDefocusU"], table["rlnDefocusU"], rtol=1e-6)


def test_states_are_written_as_they_were_marked(served: Served, run: Run, tmp_path: Path) -> None:
    marks = {"names": {"0": "50 S, open"}, "merged": {}, "junk": [1]}
    assert served.ask("runs/0/marks", marks) == marks | {"junk": [1]}
    assert served.get("runs")[0]["marks"] == marks
    written = served.ask("runs/0/states", {"name": "run", "kind": ".star"})
    names = ["run_50_S_open.star", "run_junk.star"]
    assert [Path(one["path"]).name for one in written] == names
    for one, condition in zip(written, ("cluster=0", "cluster=1"), strict=True):
        table = cryolatent.open_run(run.path).table(condition)
        assert one["rows"] == len(read_star(one["path"]).particles) == len(table)
        again = tmp_path / Path(one["path"]).name
        assert command([*shlex.split(one["command"])[1:-1], str(again)]) == 0
        assert again.read_bytes() == Path(one["path"]).read_bytes()
    served.ask("runs/0/marks", {"merged": {"1": 0}})
    (whole,) = served.ask("runs/0/states", {"name": "one", "kind": ".npy"})
    assert (Path(whole["path"]).name, whole["rows"]) == ("one_state_0_1.npy", 120)
    # what cannot be written as a whole leaves nothing
    assert (
        served.request(f"/{served.token}/api/runs/0/marks", {"merged": {"1": 0, "0": 1}})[0] == 422
    )
    served.ask("runs/0/marks", {})


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
        ("runs/9/selection", {"steps": []}, 404),
        ("runs/0/selection", {"steps": 3}, 422),
        ("runs/0/selection", select({"kind": "members", "column": "no", "values": [1]}), 400),
        ("runs/0/volume", {"of": {"kind": "row", "row": 120}}, 400),
        ("runs/0/volume", {"of": {"kind": "measured", "number": 9}}, 400),
        ("runs/0/volume", {"of": {"kind": "latent", "values": [0.5]}}, 400),
        ("runs/0/volume", {"of": {"kind": "latent", "values": [0.5] * 300}}, 422),
        ("runs/2/selection", {"steps": []}, 400),
        ("runs/0/contingency", {"other": 0}, 200),
        ("runs/0/contingency", {"other": 2}, 400),
        ("runs/0/contingency", {"other": 7}, 400),
        ("runs/0/sets", {"first": {"steps": []}}, 400),
        ("runs/0/draft", {}, 400),
        ("runs/2/draft", {"number": 2}, 400),
        ("runs/0/selection", select({"kind": "shared", "run": 2, "steps": []}), 400),
        ("runs/0/selection", select({"kind": "shared", "run": -1, "steps": []}), 422),
        ("runs/0/selection", nested(4), 200),
        ("runs/0/selection", nested(5), 422),
        ("runs/0/selection", nested(100), 422),
        ("runs/0/sections", {"of": {"kind": "cluster", "number": 0}, "depth": 2}, 422),
        ("runs/0/images", {"size": 1000}, 422),
        ("runs/0/images", {"order": "no"}, 400),
        ("runs/0/table", {"columns": ["no"]}, 400),
        ("runs/0/table", {"columns": []}, 422),
        ("runs/0/states", {"name": "x", "kind": ".pkl"}, 400),
        ("runs/0/marks", {"names": {"0": ""}}, 422),
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
