"""Agreement of runs of the same particles: counts by hand, and known answers."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from builders import exact_config, small_stack
from cryolatent.analysis.consensus import (
    agreeing,
    label_entropy,
    matched_labels,
    shared_particles,
)
from cryolatent.audits.stability import Member, Pair, Stability, compared, judged
from cryolatent.cli.main import run as cli
from cryolatent.importers.latents import import_latents
from cryolatent.report.trust import read_trust
from cryolatent.runs.finding import Estimate, Finding
from cryolatent.sessions.training import trained
from subjects import Known

N = 400


def states(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels, the same for every seed, and latents that show them in a way of the seed's own."""
    state = np.random.default_rng(0).integers(4, size=N)
    rng = np.random.default_rng(seed)
    centres = 5 * np.linalg.qr(rng.normal(size=(4, 4)))[0]
    return state, centres[state] + 0.7 * rng.normal(size=(N, 4))


def member(name: str, z: np.ndarray, labels: np.ndarray) -> Member:
    return Member(name, np.arange(N).astype(str), z, labels)


def asked(*members: Member) -> Finding:
    return Stability(members=members).ask(Known(members[0].z))


def test_labels_are_matched_as_counted_by_hand() -> None:
    reference = np.array([0, 0, 0, 1, 1, 2])
    other = np.array([2, 2, 1, 0, 0, 0])
    # 2 is 0 (two shared), 0 is 1 (two), 1 has left what nobody shares with it: 2
    assert matched_labels(reference, other).tolist() == [0, 0, 2, 1, 1, 1]
    assert matched_labels(reference, np.array([0, 1, 2, 3, 3, 3])).max() == 3
    labels = np.array([[0, 0, 0], [0, 1, 0], [0, 2, 1]])
    two_to_one = -(2 / 3 * np.log(2 / 3) + np.log(1 / 3) / 3) / np.log(3)
    np.testing.assert_allclose(label_entropy(labels), [0, 1, two_to_one], atol=1e-12)


def test_particles_are_found_by_their_names() -> None:
    a = np.array(["000001@J1/a.mrcs", "000002@J1/a.mrcs", "000001@J1/b.mrcs"])
    b = np.array(["1@../b.mrcs", "3@../a.mrcs", "2@../a.mrcs"])
    first, second = shared_particles([a, b])
    assert a[first].tolist() == ["000001@J1/b.mrcs", "000002@J1/a.mrcs"]
    assert b[second].tolist() == ["1@../b.mrcs", "2@../a.mrcs"]
    order = np.array([2, 0, 1])
    first, second = shared_particles([a, a[order]])
    assert a[first].tolist() == a[order][second].tolist()
    # the same last part in two folders says nothing
    twice = np.array(["1@x/a.mrcs", "1@y/a.mrcs"])
    assert len(shared_particles([twice, b])[0]) == 0


def test_the_share_is_one_less_the_error_of_the_neighbours_mean() -> None:
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(2, 150, 2))
    y[:, 0] = x[:, 0] ** 3
    expected = []
    for a, b in ((x, y), (y, x)):
        far = np.linalg.norm(a[:, None] - a, axis=-1) + 1e9 * np.eye(len(a))
        near = np.argsort(far, axis=1)[:, :20]
        errors = ((b - b[near].mean(axis=1)) ** 2).sum()
        expected.append(1 - errors / ((b - b.mean(axis=0)) ** 2).sum())
    found = compared(x, y)
    assert found.share.value == pytest.approx(np.mean(expected))
    assert found.null.low < 0 < found.share.low
    turned = compared(x, 7 * x @ np.array([[0.6, 0.8], [-0.8, 0.6]]) + 3)
    assert turned.share.low > 0.8


def test_runs_of_other_seeds_agree_and_permuted_latents_do_not() -> None:
    (state, one), (_, two) = states(1), states(2)
    order = np.random.default_rng(4).permutation(N)
    renamed = np.array([2, 0, 3, 1])[state]
    finding = asked(member("one", one, state), member("two", two, renamed))
    assert finding.verdict == "pass"
    assert finding.note == "Agree: one, two."
    assert finding.numbers["label_entropy"].value == 0
    assert finding.tables["runs"].columns["ari"] == (1.0,)
    finding = asked(member("one", one, state), member("permuted", two[order], renamed[order]))
    assert finding.verdict == "fail"
    assert finding.note.startswith("No two runs agree. At most one of two is right")
    assert finding.statistic is not None
    assert finding.statistic.high < finding.threshold
    assert finding.numbers["label_entropy"].value > 0.6
    assert abs(finding.tables["runs"].columns["ami"][0]) < 0.05


def test_the_run_that_differs_is_named() -> None:
    state, order = states(0)[0], np.random.default_rng(4).permutation(N)
    good = [member(f"seed{seed}", states(seed)[1], state) for seed in (1, 2, 3)]
    odd = member("odd", states(5)[1][order], state[order])
    finding = asked(*good, odd)
    assert finding.verdict == "pass"
    assert "Agree: seed1, seed2, seed3." in finding.note
    assert finding.note.endswith("Unlike these: odd.")
    finding = asked(odd, *good)
    assert finding.verdict == "fail"
    assert finding.note.endswith("Unlike these: odd.")
    silent = member("silent", np.zeros((N, 0)), np.zeros(N, dtype=int))
    said = "No heterogeneity in silent. Dimensions: seed1 4, seed2 4, seed3 4, silent 0."
    assert asked(*good, silent).note.endswith(said)
    assert asked(silent, *good).verdict == "not applicable"
    assert asked(good[0], silent).verdict == "inconclusive"


def test_who_stands_with_whom_decides() -> None:
    """Two against two is open; two who agree against one who differs is not."""

    def pair(value: float) -> Pair:
        at = Estimate(value=value, low=value - 0.05, high=value + 0.05)
        return Pair(at, Estimate(value=0.0, low=-0.02, high=0.02))

    near, far, between = pair(0.5), pair(0.0), pair(0.1)
    two_two = dict.fromkeys([(0, 2), (0, 3), (1, 2), (1, 3)], far) | {(0, 1): near, (2, 3): near}
    assert judged("abcd", two_two)[0] == "inconclusive"
    assert judged("abc", {(0, 1): far, (0, 2): far, (1, 2): near}) == (
        "fail",
        "Agree: b, c. Unlike these: a.",
    )
    assert judged("abc", {(0, 1): near, (0, 2): far, (1, 2): far})[0] == "pass"
    assert judged("abc", {(0, 1): between, (0, 2): far, (1, 2): near})[0] == "inconclusive"
    assert agreeing(np.eye(3, dtype=bool)) == [[2], [1], [0]]


def test_runs_and_tables_of_other_programs_are_compared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two trainings and a table without their order; a table of other particles' latents."""
    stack = small_stack(tmp_path / "data", particles=200, snr=2.0)
    runs = []
    for seed in (1, 2):
        config = exact_config("exact", z_dim=3, seed=seed, trust=("all",), starts=1)
        runs.append(trained(None, tmp_path / f"seed{seed}", config, stack))
    paths = [str(run.path) for run in runs]
    z = runs[0].latents().distribution.mean.numpy()
    order = np.random.default_rng(0).permutation(len(z))
    for name, values in (("other", np.exp(z / 4)), ("wrong", z[order])):
        table = tmp_path / f"{name}.npy"
        np.save(table, values)
        paths.append(str(import_latents(table, tmp_path / name, stack.source).path))
    assert cli(["audit", paths[0], "--with", *paths[1:], "-o", str(tmp_path / "audit")]) == 3
    said = capsys.readouterr().out
    assert "stability: Agree: seed1, seed2, other. Unlike these: wrong." in said
    columns = pq.read_table(tmp_path / "audit" / "stability.parquet").to_pandas()
    assert columns["id"].tolist() == sorted(stack.ids.tolist())
    assert (columns["label seed1"] == columns["label other"]).mean() > 0.5
    page = (tmp_path / "audit" / "audit.html").read_text()
    assert "seed1 and wrong" in page
    found = read_trust(tmp_path / "audit")
    assert found is not None
    assert max(found.findings[0].tables["runs"].columns["margin"]) == 0.1
    assert cli(["audit", paths[3], "--with", *paths[:3], "-o", str(tmp_path / "b")]) == 1
    np.save(tmp_path / "few.npy", z[:, :1])
    alone = import_latents(tmp_path / "few.npy", tmp_path / "alone")
    capsys.readouterr()
    assert cli(["audit", paths[0], "--with", str(alone.path)]) == 2
    assert "0 particles in common" in capsys.readouterr().err
