"""Runs of cryoDRGN, against volumes and latents of the program itself (fixtures/cryodrgn)."""

import pickle
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from cryolatent.analysis import analyze, export
from cryolatent.cli.main import run as cli
from cryolatent.config.infer import InferConfig
from cryolatent.data import Tables
from cryolatent.data.cryodrgn import read_latents
from cryolatent.errors import InputError
from cryolatent.importers.cryodrgn import import_cryodrgn
from cryolatent.io import read_volume
from cryolatent.io.columns import read_columns
from cryolatent.io.settings import read_settings
from cryolatent.notebook import open_run
from cryolatent.physics import Poses, images_to_disc
from cryolatent.report import render
from cryolatent.runs.run import Run
from cryolatent.sessions.subject import RunSubject
from cryolatent.sessions.systems import restore
from cryolatent.sessions.unseen import infer_unseen, open_unseen

GOLDEN = Path(__file__).resolve().parents[1] / "fixtures" / "cryodrgn"
PLACES = {
    "trained": ((0.0, 0.0),),
    "decoder": ((0.0, 0.0),),
    "geometric": ((0.0, 0.0),),
    "linear": ((0.5,),),
    "hartley": ((0.3, -0.2, 1.1), (-1.0, 0.5, 0.0)),
}
ENCODERS = ("trained", "geometric", "linear", "hartley")
VOLUMES, LATENTS = 1e-4, 1e-5


def tables(name: str) -> Tables:
    ind = GOLDEN / "ind.pkl" if name == "linear" else None
    return Tables(poses=GOLDEN / "poses.pkl", ctf=GOLDEN / "ctf.pkl", ind=ind)


def imported(name: str, output: Path, folder: Path | None = None) -> Run:
    particles = GOLDEN / "particles.mrcs"
    return import_cryodrgn(folder or GOLDEN / name, output, particles, tables=tables(name))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    folder = tmp_path_factory.mktemp("runs")
    return {name: imported(name, folder / name) for name in PLACES}


@pytest.mark.parametrize("name", PLACES)
def test_volumes_are_the_programs_own(runs: dict[str, Run], name: str) -> None:
    made = restore(runs[name]).model.decoder.volume(torch.tensor(PLACES[name]))
    for number, volume in enumerate(made.numpy(), 1):
        golden, _ = read_volume(GOLDEN / name / f"vol_{number:03d}.mrc")
        assert np.abs(volume - golden).max() < VOLUMES * np.abs(golden).max()


def test_volumes_of_abinit_are_the_programs_own(tmp_path: Path) -> None:
    """But for the line across the planes that it draws, which it leaves out, and we do not."""
    folder = GOLDEN / "abinit"
    run = import_cryodrgn(folder, tmp_path / "run", without_particles=True)
    assert run.manifest.origin == "cryoDRGN 4.3.1, abinit, epoch 20"
    made = restore(run).model.decoder.volume(torch.zeros(1, 2))[0].numpy()
    golden, _ = read_volume(folder / "vol_001.mrc")
    made, golden = (v - v.mean(axis=(1, 2), keepdims=True) for v in (made, golden))
    assert np.abs(made - golden).max() < VOLUMES * np.abs(golden).max()
    z = read_columns(folder / "z.20.pkl")
    assert np.array_equal(run.latents().distribution.mean[:, 1].numpy(), z["mean_1"])
    with pytest.raises(InputError, match="displacements in pixels, as abinit writes them"):
        import_cryodrgn(folder, tmp_path / "b", GOLDEN / "particles.mrcs")


@pytest.mark.parametrize("name", ENCODERS)
def test_latents_are_the_programs_own(runs: dict[str, Run], name: str) -> None:
    subject = RunSubject(runs[name])
    stack, system = subject.particles(), subject.system()
    assert stack is not None
    assert system is not None
    q = system.posterior(stack.batch(torch.arange(len(stack))), system.model)
    for found, golden in zip(
        (q.loc, q.log_var), read_latents(GOLDEN / name / "z.pkl"), strict=True
    ):
        assert np.abs(found.detach().numpy() - golden).max() < LATENTS


@pytest.mark.parametrize("name", PLACES)
def test_slices_are_those_of_the_volume(runs: dict[str, Run], name: str) -> None:
    """The projection along z of the volume, but for what its crop leaves out."""
    decoder = restore(runs[name]).model.decoder
    z = torch.tensor(PLACES[name][:1])
    pose = Poses(torch.eye(3)[None], torch.zeros(1, 2))
    projected = images_to_disc(decoder.volume(z).sum(1), decoder.disc)
    torch.testing.assert_close(
        decoder.slices(z, pose).detach(),
        projected,
        atol=1e-5 * float(projected.abs().max()),
        rtol=0,
    )


def test_nothing_is_doubted_where_all_fits(runs: dict[str, Run]) -> None:
    for run in runs.values():
        assert not [r for r in run.manifest.remarks if "divergence" not in r], run.name


def test_other_poses_are_noticed(tmp_path: Path) -> None:
    with (GOLDEN / "poses.pkl").open("rb") as stream:
        rotations, shifts = pickle.load(stream)
    with (tmp_path / "poses.pkl").open("wb") as stream:
        pickle.dump((rotations, -shifts), stream)
    given = Tables(poses=tmp_path / "poses.pkl", ctf=GOLDEN / "ctf.pkl")
    run = import_cryodrgn(
        GOLDEN / "trained", tmp_path / "run", GOLDEN / "particles.mrcs", tables=given
    )
    assert any("other latents than z.pkl" in remark for remark in run.manifest.remarks)


def test_commands_work_on_an_imported_run(runs: dict[str, Run], tmp_path: Path) -> None:
    run = runs["trained"]
    summary = analyze(run, clusters=3)
    assert all((run.path / str(cluster.volume)).is_file() for cluster in summary.clusters)
    page = render([run], tmp_path / "page.html").read_text()
    assert "cryoDRGN 4.3.1, trained, epoch 12" in page
    assert "not calibrated" in page
    done = export(run, tmp_path / "rows.npy", ["cluster=0"])
    assert 0 < len(done.rows) < 48
    for name in ("shift-raw", "rotation-consistent"):
        finding = open_run(run.path).audit(name)
        assert finding.statistic is not None
        assert finding.statistic.value > 0
    stack = open_unseen(run, GOLDEN / "particles.mrcs", tables=tables("trained"))
    again = infer_unseen(run, stack, InferConfig()).latents
    difference = again.distribution.mean - run.latents().distribution.mean
    assert difference.abs().max() < LATENTS
    assert again.elbo is not None


def test_an_autodecoder_has_points(runs: dict[str, Run]) -> None:
    subject = RunSubject(runs["decoder"])
    assert not subject.latents().distribution.is_bound
    assert subject.missing(("a posterior that reads images",)).startswith("This posterior does not")
    stack, system = subject.particles(), subject.system()
    q = system.posterior(stack.batch(torch.arange(5)), system.model)
    assert torch.equal(q.mean, subject.latents().distribution.mean[:5])
    shown = open_unseen(subject.run, GOLDEN / "particles.mrcs", tables=tables("decoder"))
    fitted = infer_unseen(subject.run, shown.select(torch.arange(3)), InferConfig(steps=5)).latents
    assert fitted.log_joint is not None


def test_volumes_need_no_particles(tmp_path: Path) -> None:
    given = Tables(ctf=GOLDEN / "ctf.pkl")
    run = import_cryodrgn(
        GOLDEN / "hartley", tmp_path / "run", tables=given, without_particles=True
    )
    assert analyze(run, clusters=2).clusters[0].volume is not None
    _, pixel_size = read_volume(run.path / "analysis/volumes/cluster_0.mrc")
    assert pixel_size == pytest.approx(9.0)
    render([run], tmp_path / "page.html")
    assert "has no particles" in RunSubject(run).missing(("particles",))


def test_a_decoder_that_is_not_read_leaves_latents(tmp_path: Path) -> None:
    folder = tmp_path / "project"
    shutil.copytree(GOLDEN / "trained", folder)
    config = (folder / "config.yaml").read_text()
    (folder / "config.yaml").write_text(config.replace("gaussian", "geom_ft"))
    run = imported("trained", tmp_path / "run", folder)
    assert not run.config.decoder.renders
    assert any("encoding geom_ft" in remark for remark in run.manifest.remarks)


def test_an_encoder_that_is_not_read_leaves_rows_and_decoder(tmp_path: Path) -> None:
    folder = tmp_path / "project"
    shutil.copytree(GOLDEN / "trained", folder)
    config = (folder / "config.yaml").read_text()
    (folder / "config.yaml").write_text(config.replace("enc_mask: 16", "enc_mask: -1"))
    run = imported("trained", tmp_path / "run", folder)
    assert any("not read (without a mask)" in remark for remark in run.manifest.remarks)
    assert run.config.kinds["posterior"] == "imported"
    subject = RunSubject(run)
    stack, system = subject.particles(), subject.system()
    q = system.posterior(stack.batch(torch.arange(3)), system.model)
    recorded = read_latents(folder / "z.pkl")
    assert np.array_equal(q.loc.numpy(), recorded[0][:3].astype(np.float32))
    assert np.array_equal(q.log_var.numpy(), recorded[1][:3].astype(np.float32))


def test_old_configurations_are_pickles(tmp_path: Path) -> None:
    folder = tmp_path / "project"
    shutil.copytree(GOLDEN / "trained", folder)
    settings = read_settings(folder / "config.yaml")
    (folder / "config.yaml").unlink()
    settings["dataset_args"]["norm"] = (0, np.float64(settings["dataset_args"]["norm"][1]))
    with (folder / "config.pkl").open("wb") as stream:
        pickle.dump(settings, stream)
    assert imported("trained", tmp_path / "run", folder).config.posterior.kind == "cryodrgn"


class Harmful:
    def __reduce__(self) -> tuple:
        return Path.touch, (Path("harm"),)


def spoil(folder: Path, name: str) -> None:
    match name:
        case "weights":
            torch.save({"model_state_dict": Harmful()}, folder / "weights.pkl")
        case "settings":
            text = (folder / "config.yaml").read_text()
            (folder / "config.yaml").write_text(
                re.sub(r"norm:\n.*\n.*\n", "norm: !!python/object/apply:os.system ['id']\n", text)
            )
        case "pickled settings":
            (folder / "config.yaml").unlink()
            (folder / "config.pkl").write_bytes(pickle.dumps({"a": Harmful()}))
        case "latents":
            (folder / "z.pkl").write_bytes(pickle.dumps(Harmful()))
        case "other weights":
            shutil.copy(GOLDEN / "hartley/weights.pkl", folder)
        case "no weights":
            (folder / "weights.pkl").unlink()
        case "no config":
            (folder / "config.yaml").unlink()


SPOILT = {
    "weights": "no weights (a request for ",
    "settings": "!!python/object/apply:os.system ['id']",
    "pickled settings": "a request for pathlib.Path.touch",
    "latents": "a request for pathlib.Path.touch",
    "other weights": "weights of other networks",
    "no weights": "weights of the last epoch",
    "no config": "no config.yaml or config.pkl",
    "nothing": "--poses, or --without-particles",
}


@pytest.mark.parametrize("name", SPOILT)
def test_what_is_wrong_is_said_and_nothing_runs(
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(GOLDEN / "trained", "project")
    spoil(Path("project"), name)
    words = ["import", "cryodrgn", "project", "-o", "run"]
    if name != "nothing":
        words += ["--particles", str(GOLDEN / "particles.mrcs")]
        words += ["--poses", str(GOLDEN / "poses.pkl"), "--ctf", str(GOLDEN / "ctf.pkl")]
    assert cli(words) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert SPOILT[name] in error
    assert not Path("harm").exists()
    assert not Path("run").exists()


def test_a_selection_that_is_missing_is_asked_for(tmp_path: Path) -> None:
    given = Tables(poses=GOLDEN / "poses.pkl", ctf=GOLDEN / "ctf.pkl")
    with pytest.raises(
        InputError, match=r"found ind: /project/ind\.pkl, which is not there.*Give `ind`"
    ):
        import_cryodrgn(
            GOLDEN / "linear", tmp_path / "run", GOLDEN / "particles.mrcs", tables=given
        )
