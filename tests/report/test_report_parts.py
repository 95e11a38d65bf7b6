"""Parts of the page with a known answer."""

import base64
import io
import math
import shlex

import numpy as np
import pytest
import torch
from PIL import Image

from cryolatent.analysis.summary import Estimate
from cryolatent.cli.commands import app
from cryolatent.config.flags import given
from cryolatent.config.training import TrainConfig
from cryolatent.models import DiagonalNormal
from cryolatent.models.latents import Latents
from cryolatent.report import formats
from cryolatent.report.charts import loss_charts
from cryolatent.report.colours import HUES, cluster_shades, shade, shared_counts, state_colour
from cryolatent.report.drawing import VARIABLES, new_figure, resolution_axis, to_svg
from cryolatent.report.findings import gather, unique_labels
from cryolatent.report.maps import place_labels
from cryolatent.report.page import elbo_gain
from cryolatent.report.provenance import chosen, commands
from cryolatent.report.volumes import axis_projections, central_slices, strips

NARROW = "\N{NARROW NO-BREAK SPACE}"


@pytest.mark.parametrize(
    ("value", "low", "high", "text"),
    [
        (-489.876, -491.2, -488.5, "−489.9 [−491.2, −488.5]"),
        (0.6, 0.58, 0.62, "0.600 [0.580, 0.620]"),
        (12345.6, 12200, 12500, f"12{NARROW}346 [12{NARROW}200, 12{NARROW}500]"),
        (1.0, 1.0, 1.0, "1.000 [1.000, 1.000]"),
        (-0.00001, -0.02, 0.02, "0.000 [−0.020, 0.020]"),
    ],
)
def test_estimates_are_as_precise_as_their_interval(
    value: float, low: float, high: float, text: str
) -> None:
    estimate = Estimate(value=value, low=low, high=high)
    assert f"{formats.value_of(estimate)} {formats.interval_of(estimate)}" == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(8.23, "8.2 s"), (60.0, "1 min 0 s"), (3599.7, "1 h 0 min"), (7500.0, "2 h 5 min")],
)
def test_durations(seconds: float, text: str) -> None:
    assert formats.duration(seconds).replace(NARROW, " ") == text


def test_shares_and_missing_values() -> None:
    assert formats.percent(0.018) == f"1.8{NARROW}%"
    assert formats.percent(0.5) == f"50{NARROW}%"
    assert formats.percent(None) == formats.decimal(math.nan) == formats.option_value(None) == "—"
    assert formats.sentence_list(["a", "b", "c"]) == "a, b and c"


def test_a_state_has_one_colour_and_its_clusters_have_tints_of_it(two_runs) -> None:
    first, second = cluster_shades(gather(two_runs))
    assert first == second
    assert first[0].colour == state_colour(0) == HUES[0]
    assert first[1].colour == state_colour(1)
    assert first[2].hue == first[0].hue
    assert first[2].colour != first[0].colour


def test_a_cluster_of_junk_has_the_colour_of_junk(two_runs) -> None:
    (findings,) = gather(two_runs[:1])
    clusters = findings.summary.clusters
    junk = clusters[2].model_copy(update={"purity": 0.0})
    summary = findings.summary.model_copy(update={"clusters": (*clusters[:2], junk)})
    object.__setattr__(findings, "summary", summary)
    assert cluster_shades([findings])[0][2].colour == state_colour(-1)


def test_clusters_of_unknown_truth_are_matched_by_their_particles(make_run) -> None:
    runs = gather([make_run("a", truth=False), make_run("b", truth=False)])
    swapped = (runs[1].clusters + 1) % 3
    runs[1].embedding["cluster"] = swapped
    assert (
        shared_counts(runs[0], runs[1], [0, 1, 2], [1, 2, 0]).tolist()
        == np.diag([20, 20, 20]).tolist()
    )
    first, second = cluster_shades(runs)
    assert [second[(n + 1) % 3].colour for n in range(3)] == [first[n].colour for n in range(3)]


def test_shades_differ() -> None:
    colours = {shade(hue, variant).colour for hue in range(len(HUES)) for variant in range(4)}
    assert len(colours) == 4 * len(HUES)
    assert shade(len(HUES)).colour == shade(0, 1).colour


def test_names_are_made_unique(make_run) -> None:
    runs = [make_run("a/run"), make_run("b/other"), make_run("c/run")]
    assert unique_labels(runs) == ["run (1)", "other", "run (2)"]


def test_the_gain_is_the_mean_difference_of_shared_particles(make_run) -> None:
    runs = [make_run("a"), make_run("b")]
    z = DiagonalNormal(torch.zeros(3, 1), torch.zeros(3, 1))
    for run, ids, loss in zip(
        runs, (["p", "q", "r"], ["r", "p", "s"]), ([5.0, 9.0, 1.0], [2.0, 3.0, 9.0]), strict=True
    ):
        run.write_latents(Latents(np.array(ids), z, torch.tensor(loss), torch.zeros(3)))
    gain = elbo_gain(*runs)
    assert gain.value == pytest.approx(((5 - 3) + (1 - 2)) / 2)
    assert gain.low <= gain.value <= gain.high


def test_commands_make_the_same_configuration_again(two_runs) -> None:
    findings = gather(two_runs)
    lines = commands(findings, "report.html")
    assert [line.split()[1] for line in lines] == ["train", "train", "analyze", "analyze", "report"]
    for line, run in zip(lines, two_runs, strict=False):
        _, bound, _ = app.parse_args(shlex.split(line)[1:], exit_on_error=False, print_error=False)
        assert TrainConfig.of(given(bound.arguments["options"])) == run.config.changed(threads=2)


def test_options_that_follow_from_others_are_not_repeated(two_runs) -> None:
    picked = {name for _, name in chosen(two_runs[1].config)}
    assert picked == {"posterior", "z_dim", "epochs", "learning_rate"}


def test_runs_of_different_objectives_are_drawn_apart(make_run) -> None:
    charts = loss_charts(gather([make_run("a"), make_run("b", objective="report")]))
    assert [chart.title for chart in charts] == [
        *("−ELBO", "Reconstruction", "KL divergence"),
        *("Mean squared error", "KL divergence"),
    ]
    assert "a ends at 505" in charts[0].alt
    assert "b" not in charts[0].alt.split("epoch:")[1]
    assert "b ends at 495" in charts[3].alt


def test_labels_keep_clear_of_points_and_of_each_other() -> None:
    rng = np.random.default_rng(0)
    points = rng.uniform(0, 150, (10, 2))
    labels = points + place_labels(points)
    gaps = np.linalg.norm(labels[:, None] - labels[None], axis=-1)[~np.eye(10, dtype=bool)]
    assert gaps.min() > 8
    assert np.linalg.norm(labels[:, None] - points[None], axis=-1).min() > 6


def test_slices_pass_through_the_centre_and_projections_sum() -> None:
    volume = np.zeros((4, 4, 4))
    volume[2, 1, 3] = 5.0
    assert central_slices(volume)[0, 1, 3] == 5
    assert central_slices(volume)[1:].max() == 0
    projections = axis_projections(volume)
    assert projections[0, 1, 3] == projections[1, 2, 3] == projections[2, 2, 1] == 5


def test_pictures_share_one_grey_scale() -> None:
    dark, bright = np.zeros((3, 4, 4)), np.full((3, 4, 4), 2.0)
    bright[0, 0, 0] = 4.0
    pictures = []
    for uri in strips([dark, bright]):
        data = base64.b64decode(uri.removeprefix("data:image/png;base64,"))
        pictures.append(np.asarray(Image.open(io.BytesIO(data))))
    assert pictures[0].shape == (144, 440, 2)
    assert pictures[0][:, :144, 0].max() == 0
    assert pictures[1][0, 0].tolist() == [255, 255]
    assert pictures[1][-1, -1].tolist() == [128, 255]
    assert pictures[1][0, 145].tolist() == [0, 0]


def test_constant_maps_and_large_maps_are_drawn() -> None:
    (uri,) = strips([np.ones((3, 200, 200))])
    data = base64.b64decode(uri.removeprefix("data:image/png;base64,"))
    assert Image.open(io.BytesIO(data)).size == (440, 144)


def test_a_drawing_belongs_to_the_page() -> None:
    figure, axes = new_figure(2.0, 2.0)
    axes.plot([0.0, 0.05], [0, 1], color=next(iter(VARIABLES)))
    resolution_axis(axes, 0.05)
    axes.set_title("<&>", fontweight="bold")
    svg = to_svg(figure, "name")
    assert svg.startswith("<svg viewBox=")
    assert "var(--ink)" in svg
    assert "font-weight: bold" in svg or "font-weight: 700" in svg
    assert "&lt;&amp;&gt;" in svg
    assert "DejaVu" not in svg
    assert not any(colour in svg for colour in VARIABLES)
    assert ">20<" in svg
