"""The experiments on digits, from declaration to page."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from builders import small_digits
from cryolatent.cli.main import run as command
from cryolatent.data import Evidence
from cryolatent.errors import CryolatentError, InputError
from cryolatent.models import PixelDecoder
from cryolatent.runs.finding import Estimate
from cryolatent.runs.run import Run
from cryolatent.studies.mnist import mnist
from cryolatent.studies.mnist.experiments import BY_NAME, CODE, EXPERIMENTS, Move
from cryolatent.studies.mnist.judging import Bench, Outcome
from cryolatent.studies.mnist.measures import (
    Measures,
    Reader,
    cross_entropy_of_mean,
    distance_from_normal,
    label_accuracy,
    moved_evidence,
    rendered,
)
from cryolatent.studies.mnist.mnist import Request, chosen, run_digits, split_digits
from cryolatent.studies.mnist.work import best_of, first_of_each
from cryolatent.studies.training import MEASURES


def test_every_figure_of_the_appendix_has_an_experiment() -> None:
    assert sorted(n for e in EXPERIMENTS for n in e.figures) == list(range(11, 19))


def test_settings_are_the_reports() -> None:
    vae = BY_NAME["vae"].config(3)
    encoder, decoder, objective = vae.posterior, vae.decoder, vae.objective
    assert (encoder.z_dim, encoder.encoder_width, decoder.decoder_width) == (2, 256, 256)
    # one layer stands before those that are counted
    assert (encoder.encoder_layers + 1, decoder.decoder_layers + 1) == (3, 2)
    assert BY_NAME["vae-code"].config(0).posterior.encoder_layers + 1 == 2
    options = vae.method
    assert (options.learning_rate, options.batch_size, options.epochs) == (0.01, 128, 100)
    assert (objective.kind, objective.beta, objective.beta_warmup) == ("summed-elbo", 1.0, 0)
    assert vae.session.seed == 3
    table, sgd = (
        BY_NAME["table"].config(0).posterior,
        BY_NAME["table-sgd"].config(0).posterior,
    )
    assert (table.table_optimiser, sgd.table_optimiser) == ("sparse-adam", "sgd")
    assert table.table_learning_rate == sgd.table_learning_rate == 0.01
    assert {e.name for e in EXPERIMENTS if e.reading == CODE} >= {"vae-code", "table-sgd"}


def test_every_experiment_is_a_valid_configuration() -> None:
    for experiment in EXPERIMENTS:
        parent = Path("parent") if experiment.pretrained else None
        config = experiment.config(1, parent)
        assert config.decoder.kind == "pixel"
        assert config.session.threads == 1


def test_experiment_brings_what_it_is_compared_with() -> None:
    assert [e.name for e in chosen(["frozen-pretrained"])] == ["vae", "table", "frozen-pretrained"]
    assert {e.name for e in chosen(["all"])} == set(BY_NAME)
    assert {e.name for e in chosen(["fig15"])} == {"vae", "shift-5"}
    with pytest.raises(InputError, match="fig19"):
        chosen(["fig19"])


def test_reproduction_hands_over_what_is_of_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    assert split_digits(["fig7", "fig17", "twin-noise"]) == (("fig17",), ("fig7", "twin-noise"))
    assert split_digits(["digits"]) == (("all",), ())
    assert split_digits(["all"]) == (("all",), ("all",))
    monkeypatch.setattr(mnist, "find_spec", lambda name: None)
    assert split_digits(["all"]) == ((), ("all",))


def test_noise_has_the_variance_that_is_asked_for() -> None:
    noise = next(e for e in chosen(["noise"], 0.04) if e.name == "noise")
    assert noise.move is not None
    assert noise.move.noise_variance == 0.04
    pictures = Evidence(torch.full((200, 36), 0.5), None, None, torch.arange(200))
    shown = moved_evidence(pictures, 6, noise.move, 0).images
    assert float(shown.mean()) == pytest.approx(0.5, abs=0.01)
    assert float(shown.var()) == pytest.approx(0.04, rel=0.05)


def test_shift_rolls_columns_to_the_right() -> None:
    picture = torch.arange(36.0).reshape(1, 36)
    shown = moved_evidence(
        Evidence(picture, None, None, torch.arange(len(picture))), 6, Move(columns=2), 0
    ).images
    expected = np.roll(np.arange(36.0).reshape(6, 6), 2, axis=1)
    assert np.array_equal(shown.reshape(6, 6).numpy(), expected)


def test_neighbours_tell_labels_that_can_be_told() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(4), 50)
    places = 10.0 * np.array([[0, 0], [1, 0], [0, 1], [1, 1]])
    apart = places[labels] + rng.normal(size=(200, 2))
    assert label_accuracy(apart, labels) > 0.99
    assert label_accuracy(rng.normal(size=(200, 2)), labels) < 0.45


def test_distance_from_normal_by_known_cases() -> None:
    rng = np.random.default_rng(0)
    assert distance_from_normal(rng.normal(3, 2, (20_000, 2))) < 0.01
    # of a uniform distribution of variance one, at its end of the largest difference: 0.0572
    assert distance_from_normal(rng.random((200_000, 1))) == pytest.approx(0.0572, abs=0.003)
    assert distance_from_normal(np.ones((50, 1))) == 0.5


def test_mean_picture_is_the_best_without_a_latent() -> None:
    values = small_digits(50).values
    odds = torch.logit(values.mean(0))
    direct = torch.nn.functional.binary_cross_entropy_with_logits(
        odds.expand(50, -1), values, reduction="none"
    ).sum(1)
    assert cross_entropy_of_mean(values) == pytest.approx(float(direct.mean()), rel=1e-4)


def test_reader_reads_originals_and_not_others() -> None:
    digits = small_digits(200)
    reader = Reader(digits)
    other = small_digits(50, seed=5)
    assert reader.correct(other.values, other.labels).mean() > 0.95
    assert reader.correct(other.values, (other.labels + 1) % 4).mean() < 0.05


def test_rendered_pictures_are_rows_of_pixels() -> None:
    assert rendered(PixelDecoder(6, 2, width=8), torch.randn(3, 2)).shape == (3, 36)


def test_first_and_second_picture_of_each_digit() -> None:
    labels = np.array([1, 0, 1, 1, 0, 2])
    assert first_of_each(labels).tolist() == [1, 0, 5, 4, 2]


def measured(reconstruction: float, kl: float, correct: float) -> Measures:
    return Measures(
        reconstruction=reconstruction,
        kl=kl,
        mean_image=200.0,
        correct=Estimate(value=correct, low=correct, high=correct),
    )


def bench(vae: list[tuple], table: list[tuple]) -> Bench:
    return Bench(
        {
            name: Outcome(BY_NAME[name], tuple(measured(*row) for row in rows), 0)
            for name, rows in (("vae", vae), ("table", table))
        }
    )


def test_verdicts_by_known_numbers() -> None:
    vae = [(150.0, 5.0, 0.7), (151.0, 5.1, 0.72), (149.0, 4.9, 0.71)]
    closer = [(140.0, 7.0, 0.8), (141.0, 7.1, 0.82), (139.0, 6.9, 0.81)]
    good = bench(vae, closer)
    assert good.judge(BY_NAME["vae"]).word == "agrees"
    assert good.judge(BY_NAME["table"]).word == "agrees"
    assert (
        bench(vae, [(a + 20, b, c) for a, b, c in closer]).judge(BY_NAME["table"]).word == "differs"
    )
    assert bench(vae, vae).judge(BY_NAME["table"]).word == "inconclusive"
    blurred = [(a, b, c - 0.5) for a, b, c in vae]
    assert bench(blurred, closer).judge(BY_NAME["vae"]).word == "differs"


def test_stuck_seeds_are_counted() -> None:
    rows = [(150.0, 5.0, 0.7), (151.0, 5.0, 0.7), (199.5, 0.1, 0.1)]
    assert bench(rows, []).stuck(BY_NAME["vae"]) == 1
    assert bench(rows[:2], []).stuck(BY_NAME["vae"]) == 0
    # a single training is held against those that it is compared with
    assert bench(rows[:2], rows[2:]).stuck(BY_NAME["table"]) == 1


def test_one_seed_borrows_the_scatter_of_what_it_is_compared_with() -> None:
    vae = [(150.0, 5.0, 0.7), (190.0, 5.1, 0.1), (170.0, 4.9, 0.4)]
    table = [(140.0, 7.0, 0.8), (141.0, 7.1, 0.82), (139.0, 6.9, 0.81)]
    made = bench(vae, table)
    sgd = Outcome(BY_NAME["table-sgd"], (measured(145.0, 7.0, 0.8),), 0)
    found = Bench(made.outcomes | {"table-sgd": sgd}).difference(
        BY_NAME["table-sgd"], lambda measures: measures.reconstruction
    )
    assert found is not None
    # Student's t with two degrees of freedom, deviation 1, weight 1 + 1/3
    assert (found.value, found.high) == (pytest.approx(5.0), pytest.approx(9.968, abs=1e-3))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("digits") / "digits.npz"
    kept, held = small_digits(90), small_digits(20, seed=1)
    np.savez(
        path,
        x_train=kept.pixels(np.arange(90)),
        y_train=kept.labels,
        x_test=held.pixels(np.arange(20)),
        y_test=held.labels,
    )
    return path


def test_experiments_run_and_are_judged_and_a_second_call_keeps_them(
    data: Path, tmp_path: Path
) -> None:
    names = ("fig13", "noise", "table-pretrained", "table-wide")
    request = Request(names, tmp_path / "out", data, epochs=2, workers=1, seeds=2)
    told: list[str] = []
    page = run_digits(request, told.append)
    text = re.sub(r"data:image/png;base64,[^\"]*", "", page.read_text())
    for experiment in chosen(names):
        assert f'id="{experiment.name}"' in text
    for figure in (11, 12, 13, 14, 17, 18):
        assert f"Figure {figure}: " in text
    assert text.count("<svg") > 8
    assert "nan" not in text
    runs = sorted(path.parent for path in (tmp_path / "out").rglob("manifest.json"))
    assert len(runs) == len(told) == 2 + 2 + 2
    # a table that is started from the best of several
    child = Run.open(tmp_path / "out/runs/table-pretrained/0")
    parents = tuple((tmp_path / "out/runs/vae").resolve().iterdir())
    assert child.config.posterior.pretrained == best_of(parents)
    wide = Run.open(tmp_path / "out/runs/table-wide/0").table_start()
    assert wide is not None
    assert float(wide.distribution.mean.std()) == pytest.approx(5.0, rel=0.2)
    before = {run: (run / MEASURES).stat().st_mtime_ns for run in runs}
    run_digits(request)
    assert before == {run: (run / MEASURES).stat().st_mtime_ns for run in runs}
    again = replace(request, noise_variance=1.0)
    run_digits(again)
    moves = Measures.model_validate_json((runs[-1].parents[1] / "vae/0" / MEASURES).read_text())
    assert moves.moves["noise"].move.noise_variance == 1.0
    # another number of seeds may have another best, which does not change a run that was begun
    run_digits(replace(request, seeds=1))
    with pytest.raises(CryolatentError, match="other options"):
        run_digits(Request(("fig11",), tmp_path / "out", data, epochs=3, workers=1, seeds=1))
    other = tmp_path / "digits.npz"
    digits = small_digits(90, seed=5)
    np.savez(other, x_train=digits.pixels(np.arange(90)), y_train=digits.labels)
    with pytest.raises(CryolatentError, match="another content"):
        run_digits(Request(("fig11",), tmp_path / "out", other, epochs=2, workers=1, seeds=1))


def test_frozen_rows_are_stuck_by_their_reconstructions_alone() -> None:
    made = bench([(150.0, 5.0, 0.7)], [])
    frozen = Outcome(BY_NAME["frozen-wide"], (measured(150.0, 400.0, 0.7),), 0)
    huge = Outcome(BY_NAME["frozen-huge"], (measured(160.0, 400.0, 0.7),), 0)
    outcomes = made.outcomes | {"frozen-wide": frozen, "frozen-huge": huge}
    assert Bench(outcomes).stuck(BY_NAME["frozen-huge"]) == 0


def test_command_lists_and_refuses(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert command(["mnist", "list"]) == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in BY_NAME)
    for arguments, named in (
        (["fig99"], "fig99"),
        ([], "no name"),
        (["fig11", "--workers", "0"], "--workers"),
        (["fig11", "--noise-variance", "-1"], "--noise-variance"),
        (["fig11", "--data", str(tmp_path / "none")], "none"),
    ):
        assert command(["mnist", "run", *arguments, "-o", str(tmp_path / "out")]) == 2
        assert named in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
