import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from builders import small_config, small_stack
from cryolatent.analysis import analyze, oracle, per_image_fsc, read_summary
from cryolatent.errors import InputError
from cryolatent.io import read_volume
from cryolatent.models import Decoder
from cryolatent.runs.run import Run
from cryolatent.sessions.training import begin, train
from cryolatent.simulate.truth import Truth
from cryolatent.train import Watch


class PerfectDecoder(Decoder):
    """Renders the true volume whose number the latent is."""

    def __init__(self, volumes: torch.Tensor) -> None:
        super().__init__()
        self.volumes = volumes

    def slices(self, z, poses):
        raise NotImplementedError

    def volume(self, z):
        return self.volumes[z[:, 0].long()]


@pytest.mark.parametrize(("snr", "least", "most"), [(20.0, 1.0, 1.0), (1e-6, 0.05, 0.6)])
def test_oracle_is_perfect_without_noise_and_ignorant_in_noise(
    tmp_path: Path, snr: float, least: float, most: float
) -> None:
    stack = small_stack(tmp_path / "data", snr=snr, junk=0.0)
    truth = Truth.load(tmp_path / "data" / "truth")
    right = (oracle(stack, truth, np.arange(len(stack))).state == truth.state).mean()
    assert least <= right <= most


def test_oracle_follows_the_particles_into_another_order(tmp_path: Path) -> None:
    stack = small_stack(tmp_path / "data", snr=20.0, contrast_spread=0.3)
    truth = Truth.load(tmp_path / "data" / "truth")
    shuffled = stack.select(torch.randperm(len(stack)))
    rows = truth.match(shuffled.ids, stack.source)
    assert (oracle(shuffled, truth, rows).state == truth.state[rows]).all()


def test_fsc_of_the_true_volume_is_one_and_of_another_less(tmp_path: Path) -> None:
    small_stack(tmp_path / "data")
    truth = Truth.load(tmp_path / "data" / "truth")
    decoder = PerfectDecoder(truth.volumes)
    own = per_image_fsc(decoder, torch.tensor([[0.0], [2.0]]), truth.volumes[[0, 2]])
    other = per_image_fsc(decoder, torch.tensor([[0.0]]), truth.volumes[3:])
    torch.testing.assert_close(own[:, 1:], torch.ones_like(own[:, 1:]))
    assert other[0, 2:].mean() < 0.9


@pytest.fixture(scope="module")
def analysed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Path]:
    folder = tmp_path_factory.mktemp("analysed")
    stack = small_stack(folder / "data", junk=0.1)
    run = begin(folder / "run", small_config("table"), stack, Watch())
    train(run, stack)
    run = Run.open(run.path)
    analyze(run, clusters=3, truth=folder / "data" / "truth")
    return run, folder / "data" / "truth"


def test_analysis_writes_volumes_with_the_right_pixel_size(analysed: tuple[Run, Path]) -> None:
    run, _ = analysed
    for cluster in read_summary(run).clusters:
        volume, pixel_size = read_volume(run.path / cluster.volume)
        assert volume.shape == (16, 16, 16)
        assert pixel_size == pytest.approx(18.0)


def test_analysis_counts_every_particle_once(analysed: tuple[Run, Path]) -> None:
    run, folder = analysed
    summary, truth = read_summary(run), Truth.load(folder)
    assert sum(cluster.size for cluster in summary.clusters) == 40
    assert summary.truth is not None
    assert summary.truth.junk == (truth.state == -1).sum()
    assert summary.elbo.value == pytest.approx(float(run.latents().elbo.mean()), rel=1e-6)


def test_analysis_again_replaces_and_repeats(analysed: tuple[Run, Path]) -> None:
    run, truth = analysed
    before = read_summary(run)
    assert analyze(run, clusters=3, truth=truth) == before
    fewer = analyze(run, clusters=2)
    assert len(list((run.path / "analysis" / "volumes").iterdir())) == 2
    assert fewer.truth is None
    analyze(run, clusters=3, truth=truth)


def test_analysis_cut_short_leaves_no_summary(
    analysed: tuple[Run, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, truth = analysed

    def dies(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(sys.modules[analyze.__module__], "write_volume", dies)
        with pytest.raises(KeyboardInterrupt):
            analyze(run, clusters=3, truth=truth)
    with pytest.raises(InputError, match="no analysis"):
        read_summary(run)
    analyze(run, clusters=3, truth=truth)


def test_truth_of_other_particles_is_refused(analysed: tuple[Run, Path], tmp_path: Path) -> None:
    run, _ = analysed
    small_stack(tmp_path / "other", particles=10)
    with pytest.raises(InputError, match=r"000011@particles\.mrcs"):
        analyze(run, truth=tmp_path / "other" / "truth")
