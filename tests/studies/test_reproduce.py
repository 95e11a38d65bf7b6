"""The report's experiments, from declaration to page."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from builders import small_config, small_stack
from cryolatent.config.reading import ReadingConfig
from cryolatent.errors import CryolatentError, InputError
from cryolatent.runs.run import Run
from cryolatent.sessions.training import begin
from cryolatent.studies.reproduce.experiments import BY_NAME, EXPERIMENTS
from cryolatent.studies.reproduce.reproduce import Request, chosen, reproduce
from cryolatent.studies.reproduce.scales import PAPER, SCALES, SMALL, Scale
from cryolatent.studies.reproduce.work import Particles, Task, work
from cryolatent.train import Watch

TINY = replace(
    SMALL,
    simulation=SMALL.simulation.model_copy(
        update={"particles": 120, "box": 16, "pixel_size": 18.0}
    ),
    common={"shells": 6, "z_dim": 3, "encoder_width": 16, "encoder_layers": 1},
    decoders={"subspace": {"epochs": 2, "batch_size": 32}},
    seeds={"subspace": (2, 1)},
    scored=8,
)
NAMES = ("frozen-pretrained", "fig7", "shift")


def names_of(*asked: str) -> set[str]:
    return {experiment.name for experiment in chosen(asked)}


def test_experiment_brings_what_it_is_compared_with() -> None:
    assert names_of("fig25") == {"baseline", "small", "small-twin"}
    assert names_of("aligned-shift") == {"baseline", "aligned", "aligned-shift"}
    assert names_of("fig21") == {"baseline", "frozen-pretrained"}
    assert names_of("fig19") == names_of("fig3") == {"baseline"}
    assert names_of("all") == set(BY_NAME)


def test_unknown_experiment_is_refused() -> None:
    with pytest.raises(InputError, match="fig99"):
        chosen(["fig99"])


@pytest.mark.parametrize("scale", SCALES.values(), ids=list(SCALES))
def test_every_experiment_is_a_valid_configuration(scale: Scale) -> None:
    for experiment in EXPERIMENTS:
        for decoder in experiment.decoders:
            parent = Path("parent") if experiment.pretrained else None
            config = scale.config(experiment, decoder, 1, parent=parent).resolved()
            assert config.decoder.kind == decoder
            assert config.session.seed == 1


def test_scale_of_the_report_is_the_reports() -> None:
    baseline = PAPER.config(BY_NAME["baseline"], "mlp", 0).resolved()
    assert (PAPER.simulation.box, baseline.posterior.z_dim, baseline.method.epochs) == (128, 8, 50)
    assert (baseline.method.batch_size, baseline.method.learning_rate) == (8, 1e-4)
    assert (baseline.posterior.encoder_layers, baseline.posterior.encoder_width) == (3, 256)
    assert baseline.objective.beta == 1 / 8
    table = PAPER.config(BY_NAME["table-random"], "mlp", 0).resolved()
    assert (table.method.epochs, table.posterior.table_learning_rate) == (100, 0.01)
    noise = SMALL.config(BY_NAME["twin-noise-large"], "mlp", 0)
    assert (noise.posterior.encoder_layers, noise.posterior.encoder_width) == (5, 1024)


def test_repeated_experiments_have_several_seeds() -> None:
    repeated = {"baseline", "table-random", "twin-permuted"}
    assert {e.name for e in EXPERIMENTS if len(SMALL.seeds_of(e, "mlp")) == 3} == repeated
    for experiment in EXPERIMENTS:
        assert len(SMALL.seeds_of(experiment, "subspace")) == (1 if experiment.is_addition else 3)


@pytest.fixture(scope="module")
def request_made(tmp_path_factory: pytest.TempPathFactory) -> Request:
    output = tmp_path_factory.mktemp("study") / "out"
    return Request(NAMES, output, TINY, decoders=("subspace",), workers=2)


@pytest.fixture(scope="module")
def page(request_made: Request) -> str:
    return reproduce(request_made).read_text()


def test_page_holds_every_row_with_numbers_and_verdict(page: str) -> None:
    for name in ("baseline", "frozen-pretrained", "twin-permuted", "shift"):
        experiment = BY_NAME[name]
        section = page.split(f'<section id="{name}"')[1].split("</section>", maxsplit=1)[0]
        assert experiment.label in section
        assert experiment.saw.replace("'", "&#39;") in section
        assert 'class="verdict' in section
        assert "<svg" in section
    assert "Adjusted Rand index" in page
    assert "ELBO, held out" in page
    assert "Displacement, image alone" in page


def test_page_stands_alone(page: str) -> None:
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "https://" not in page
    assert "<script" not in page


def test_every_seed_is_a_run_of_its_own(request_made: Request, page: str) -> None:
    runs = request_made.output / "runs" / "subspace"
    found = {str(path.parent.relative_to(runs)) for path in runs.glob("*/*/manifest.json")}
    assert found == {"baseline/0", "baseline/1", "frozen-pretrained/0", "twin-permuted/0"} | {
        "twin-permuted/1"
    }
    assert Run.open(runs / "twin-permuted" / "1").config.twin == "permuted"
    pretrained = Run.open(runs / "frozen-pretrained" / "0").config.posterior.pretrained
    assert pretrained == (runs / "baseline" / "0").resolve()


def test_second_call_trains_nothing(request_made: Request, page: str) -> None:
    runs = sorted(request_made.output.glob("runs/*/*/*/checkpoints/*.safetensors"))
    before = [path.stat().st_mtime_ns for path in runs]
    told: list[str] = []
    again = reproduce(request_made, told.append)
    assert [path.stat().st_mtime_ns for path in runs] == before
    assert "simulating" not in "".join(told)
    assert again.exists()


def test_other_options_are_refused(request_made: Request, page: str) -> None:
    more = {"subspace": {"optimisation": {"epochs": 3, "batch_size": 32}}}
    with pytest.raises(Exception, match="a run with other options"):
        reproduce(replace(request_made, scale=replace(TINY, decoders=more)))


def test_runs_of_other_particles_are_refused(
    request_made: Request, page: str, tmp_path: Path
) -> None:
    small_stack(tmp_path)
    with pytest.raises(CryolatentError, match="another content than when the run"):
        reproduce(replace(request_made, star=tmp_path / "particles.star"))


def test_interrupted_work_with_relative_paths_continues(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_stack(tmp_path)
    np.save(tmp_path / "ind.npy", np.arange(30))
    monkeypatch.chdir(tmp_path)
    reading = ReadingConfig(ind=Path("ind.npy"))
    particles = Particles(Path("particles.star"), reading, None, 0.1, 4)
    config = small_config("encoder", epochs=1, ind=Path("ind.npy"))
    task = Task(tmp_path / "run", config, 2, 4, 0, False)
    begin(task.path, task.config, particles.stacks(task.config)[0], Watch())
    assert not work(task, particles).diverged
    assert Run.open(task.path).manifest.status == "finished"


def test_start_from_a_diverged_run_counts_as_diverged(tmp_path: Path) -> None:
    stack = small_stack(tmp_path)
    parent = begin(tmp_path / "parent", small_config("encoder"), stack, Watch())
    parent.set_status("failed")
    config = small_config("table", pretrained=parent.path)
    particles = Particles(tmp_path / "particles.star", ReadingConfig(), None, 0.1, 4)
    task = Task(tmp_path / "run", config, 2, 4, 0, False)
    assert work(task, particles).diverged
