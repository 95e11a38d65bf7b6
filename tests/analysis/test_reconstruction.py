"""Reconstruction of stacks: truth, noise, masks, RELION's map, and what is refused."""

import json
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from builders import small_stack
from cryolatent.analysis import reconstruct, write_reconstruction
from cryolatent.data import ImageSource, ParticleStack, open_star
from cryolatent.errors import InputError
from cryolatent.io import read_volume, write_volume
from cryolatent.physics import fourier_shell_correlation
from cryolatent.physics.backprojection import sphere_distance
from cryolatent.simulate.truth import Truth


class InMemory(ImageSource):
    """Pixels in memory."""

    def __init__(self, pixels: np.ndarray) -> None:
        self.pixels, self.box = pixels, pixels.shape[-1]

    def __len__(self) -> int:
        return len(self.pixels)

    def read(self, positions):
        return self.pixels[positions]

    def name(self, position):
        return f"image {position + 1}"

    def fingerprint(self):
        return b""

    def select(self, positions):
        return InMemory(self.pixels[positions])


@pytest.fixture(scope="module")
def noisy(tmp_path_factory: pytest.TempPathFactory) -> ParticleStack:
    folder = tmp_path_factory.mktemp("noisy") / "data"
    return small_stack(folder, particles=800, box=32, pixel_size=9.0, snr=0.1)


def of_one_state(folder: Path, **options) -> tuple[ParticleStack, torch.Tensor]:
    stack = small_stack(folder, box=32, pixel_size=9.0, **options)
    truth = Truth.load(folder / "truth")
    chosen = torch.from_numpy(np.flatnonzero(truth.state == 0))
    return stack.select(chosen), truth.volumes[0]


def test_clean_stack_gives_the_true_map(tmp_path):
    stack, truth = of_one_state(tmp_path / "data", particles=2000, snr=1e4)
    made = reconstruct(stack)
    assert made.plain[1:15].min() > 0.98
    assert fourier_shell_correlation(made.volume, truth)[1:15].min() > 0.99
    assert made.resolution_angstrom == pytest.approx(32 * 9.0 / 15)
    scale = float((made.volume * truth).sum() / truth.square().sum())
    assert scale == pytest.approx(1, abs=0.03)


def test_weighted_map_is_nearer_to_the_truth_than_its_halves(tmp_path):
    stack, truth = of_one_state(tmp_path / "data", particles=600, snr=0.02)
    made = reconstruct(stack)
    error = (made.volume - truth).square().sum()
    assert error < 0.8 * ((made.halves[0] + made.halves[1]) / 2 - truth).square().sum()
    # expected correlation with the truth of a map whose halves correlate by c
    expected = (2 * made.plain.clamp(min=0) / (1 + made.plain.clamp(min=0))).sqrt()
    found = fourier_shell_correlation(made.volume, truth)
    assert (found - expected)[1:12].abs().max() < 0.12


def test_halves_of_noise_do_not_correlate(noisy):
    pixels = np.random.default_rng(0).normal(size=(800, 32, 32)).astype(np.float32)
    stack = replace(noisy, images=InMemory(pixels))
    made = reconstruct(stack)
    assert made.plain[4:].abs().max() < 0.25
    assert made.plain[4:].mean().abs() < 0.05
    assert made.resolution_angstrom > 50
    torch.testing.assert_close(made.noise_variance[2:], torch.ones(14), rtol=0, atol=0.1)
    energy = made.halves[0].square().sum()
    assert made.volume.square().sum() < 0.2 * energy


def test_files_and_summary(noisy, tmp_path):
    stages = []

    def stage(name, total):
        stages.append((name, total))
        return lambda done: None

    summary = write_reconstruction(noisy, tmp_path / "out", mask="auto", stage=stage)
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["half1.mrc", "half2.mrc", "map.mrc", "mask.mrc", "summary.json"]
    written = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert written["resolution_angstrom"] == summary.resolution_angstrom
    assert len(written["fsc_corrected"]) == 16
    assert written["particles"] == [400, 400]
    volume, pixel_size = read_volume(tmp_path / "out" / "map.mrc")
    assert volume.shape == (32, 32, 32)
    assert pixel_size == pytest.approx(9.0)
    assert [name for name, _ in stages] == ["half 1", "half 2", "maps"]
    assert np.isfinite(volume).all()


def test_mask_improves_the_resolution_and_is_corrected_for(noisy, tmp_path):
    inside = 0.5 * (1 + torch.cos(torch.pi * ((sphere_distance(32) - 12) / 4).clamp(0, 1)))
    write_volume(tmp_path / "mask.mrc", inside.numpy(), 9.0)
    plain, behind = reconstruct(noisy), reconstruct(noisy, mask=tmp_path / "mask.mrc")
    assert behind.resolution_angstrom <= plain.resolution_angstrom
    assert behind.behind_mask is not None
    assert torch.equal(plain.halves[0], behind.halves[0])
    torch.testing.assert_close(behind.mask, inside)


def test_shells_limit_the_map(noisy):
    made = reconstruct(replace(noisy, shells=6))
    assert made.plain[7:].abs().max() == 0
    assert made.resolution_angstrom >= 32 * 9.0 / 6 - 1e-6
    power = torch.fft.fftn(made.volume).abs().square()
    assert power[10:16].sum() < 1e-3 * power.sum()


def test_particles_without_weight_do_not_matter(noisy):
    weights = (torch.arange(800) < 300).float()
    weighted = reconstruct(noisy, weights=weights)
    alone = reconstruct(noisy.select(torch.arange(300)))
    assert weighted.particles == (150, 150)
    torch.testing.assert_close(weighted.volume, alone.volume, rtol=0, atol=1e-4)


def test_too_few_particles_are_refused(noisy):
    with pytest.raises(InputError, match="halves of 9 and 9 particles"):
        reconstruct(noisy.select(torch.arange(18)))


@pytest.mark.parametrize(
    ("volume", "found"),
    [
        (np.ones((16, 16, 16)), "a mask of 16 x 16 x 16 voxels"),
        (2 * np.ones((32, 32, 32)), "values from 2 to 2"),
        (np.zeros((32, 32, 32)), "no voxel above 0.5"),
    ],
)
def test_wrong_masks_are_refused(noisy, tmp_path, volume, found):
    write_volume(tmp_path / "mask.mrc", volume, 9.0)
    with pytest.raises(InputError, match=found):
        write_reconstruction(noisy, tmp_path / "out", mask=tmp_path / "mask.mrc")
    assert not (tmp_path / "out").exists()


def test_used_folder_is_refused_before_any_work(noisy, tmp_path):
    (tmp_path / "file").write_text("kept")
    with pytest.raises(InputError, match="found other files"):
        write_reconstruction(noisy, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.relion
@pytest.mark.parametrize(("particles", "box", "snr"), [(600, 32, 1e4), (3000, 48, 0.1)])
def test_map_is_that_of_relion(tmp_path, particles, box, snr):
    folder = tmp_path / "data"
    small_stack(folder, particles=particles, box=box, pixel_size=288 / box, snr=snr)
    command = ["relion_reconstruct", "--i", "particles.star", "--o", "map.mrc", "--ctf"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    theirs = torch.from_numpy(read_volume(folder / "map.mrc")[0])
    ours = reconstruct(open_star(folder / "particles.star")).volume
    last = box // 3
    assert fourier_shell_correlation(ours, theirs)[1 : last + 1].min() > 0.99
