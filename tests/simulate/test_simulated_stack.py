"""A written stack holds what its truth says."""

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from cryolatent.data import ParticleStack, open_star
from cryolatent.errors import InputError
from cryolatent.physics import disc_to_images, images_to_disc, shift_phases, slice_volume
from cryolatent.physics import volume_to_fourier as to_fourier
from cryolatent.simulate.config import SimulateConfig
from cryolatent.simulate.stack import simulate
from cryolatent.simulate.truth import JUNK, Truth

COUNT, BOX = 400, 32
SMALL = SimulateConfig(particles=10, box=16, pixel_size=18.0)


@dataclass(frozen=True)
class Simulated:
    config: SimulateConfig
    truth: Truth
    stack: ParticleStack
    images: torch.Tensor
    clean: torch.Tensor


def clean_images(stack: ParticleStack, truth: Truth, state: np.ndarray) -> torch.Tensor:
    slices = torch.zeros(len(stack), stack.disc.size, dtype=torch.complex64)
    for number, volume in enumerate(truth.volumes):
        here = torch.from_numpy(state == number)
        slices[here] = slice_volume(to_fourier(volume), truth.poses.rotations[here], stack.disc)
    shifts = truth.poses.shifts_angstrom / truth.pixel_size_angstrom
    slices = slices * stack.ctf.evaluate(stack.disc.cycles_per_pixel)
    contrast = torch.from_numpy(truth.contrast).float()
    return disc_to_images(slices * shift_phases(stack.disc, shifts) * contrast[:, None], stack.disc)


def simulated(folder: Path, **options: float) -> Simulated:
    config = SimulateConfig(particles=COUNT, box=BOX, pixel_size=9.0, **options)
    truth = simulate(config, folder)
    stack = open_star(folder / "particles.star")
    images = torch.from_numpy(stack.images.read(np.arange(COUNT)))
    return Simulated(config, truth, stack, images, clean_images(stack, truth, truth.state))


@pytest.fixture(scope="module")
def ideal(tmp_path_factory) -> Simulated:
    return simulated(tmp_path_factory.mktemp("ideal"), snr=0.2, contrast_spread=0.3)


@pytest.fixture(scope="module")
def flawed(tmp_path_factory) -> Simulated:
    return simulated(
        tmp_path_factory.mktemp("flawed"),
        snr=0.3,
        noise_colour=3.0,
        angle_error=4.0,
        shift_error=0.8,
        junk=0.25,
    )


def test_stated_signal_to_noise_ratio_holds(ideal):
    signal = ideal.clean.flatten(1).var(dim=1).mean()
    noise = (ideal.images - ideal.clean).var()
    noise_error = (2 / ideal.images.numel()) ** 0.5
    assert float(signal / noise) == pytest.approx(0.2, rel=4 * noise_error)
    assert float(noise) == pytest.approx(1.0, rel=4 * noise_error)


def test_contrast_has_the_stated_spread(ideal):
    assert ideal.truth.contrast.mean() == pytest.approx(1.0, abs=4 * 0.3 / COUNT**0.5)
    assert ideal.truth.contrast.std() == pytest.approx(0.3, rel=4 / (2 * COUNT) ** 0.5)


def test_states_are_equally_frequent(ideal):
    count = np.bincount(ideal.truth.state, minlength=4)
    assert len(count) == len(ideal.truth.state_names) == len(ideal.truth.volumes) == 4
    assert np.abs(count - COUNT / 4).max() < 4 * (COUNT * 3 / 16) ** 0.5


def test_recorded_poses_are_the_true_ones_without_error(ideal):
    difference = ideal.stack.poses.rotations - ideal.truth.poses.rotations
    assert difference.abs().max() < 2e-6


@pytest.mark.parametrize("fixture", ["ideal", "flawed"])
def test_noise_has_the_stated_spectrum(request, fixture):
    s = request.getfixturevalue(fixture)
    disc, real = s.stack.disc, torch.from_numpy(s.truth.state != JUNK)
    radius = disc.coordinates.norm(dim=-1)
    axis = torch.fft.fftfreq(BOX, 1 / BOX)
    colour = s.config.noise_colour

    def spectrum(k: torch.Tensor) -> torch.Tensor:
        return 1 + colour / (1 + (8 * k / BOX) ** 2)

    scale = spectrum(torch.hypot(axis[:, None], axis)).mean()
    power = images_to_disc((s.images - s.clean)[real], disc).abs().square().mean(0)
    count = torch.bincount(disc.shells)[1:] * real.sum()
    expected = disc.shell_mean(spectrum(radius) / scale)[1:]
    deviation = (disc.shell_mean(power)[1:] / expected - 1) * count.sqrt()
    assert deviation.abs().max() < 4
    recorded = s.truth.noise_spectrum
    torch.testing.assert_close(recorded, spectrum(torch.arange(BOX / 2)) / scale)


def test_recorded_poses_have_the_stated_errors(flawed):
    turn = flawed.stack.poses.rotations.double() @ flawed.truth.poses.rotations.double().mT
    degrees = np.rad2deg(Rotation.from_matrix(turn.numpy()).as_rotvec())
    assert degrees.std() == pytest.approx(4.0, rel=4 / (6 * COUNT) ** 0.5)
    moved = flawed.stack.poses.shifts_angstrom - flawed.truth.poses.shifts_angstrom
    assert float(moved.std()) == pytest.approx(0.8 * 9.0, rel=4 / (4 * COUNT) ** 0.5)


def test_junk_has_the_stated_share_and_looks_like_no_state(flawed):
    junk = torch.from_numpy(flawed.truth.state == JUNK)
    assert float(junk.float().mean()) == pytest.approx(0.25, abs=4 * (0.25 * 0.75 / COUNT) ** 0.5)
    flat = flawed.images.flatten(1)
    likeness = torch.zeros(COUNT)
    for number in range(4):
        state = np.full(COUNT, number)
        clean = clean_images(flawed.stack, flawed.truth, state).flatten(1)
        likeness += torch.cosine_similarity(flat, clean) / 4
    assert likeness[junk].mean() < likeness[~junk].mean() / 2


def test_same_seed_gives_identical_files(tmp_path):
    simulate(SMALL, tmp_path / "first")
    time.sleep(1.1)  # past the second that a time stamp would show
    simulate(SMALL, tmp_path / "second")
    names = sorted(p.relative_to(tmp_path / "first") for p in (tmp_path / "first").rglob("*.*"))
    contents = [[(tmp_path / run / n).read_bytes() for n in names] for run in ("first", "second")]
    assert [n for n, a, b in zip(names, *contents, strict=True) if a != b] == []


def test_same_seed_gives_identical_pixels_and_rows(tmp_path):
    truths = [simulate(SMALL, tmp_path / name) for name in "ab"]
    stacks = [open_star(tmp_path / name / "particles.star") for name in "ab"]
    images = [stack.images.read(np.arange(10)) for stack in stacks]
    np.testing.assert_array_equal(*images)
    np.testing.assert_array_equal(*(truth.state for truth in truths))
    assert torch.equal(stacks[0].poses.rotations, stacks[1].poses.rotations)
    assert torch.equal(stacks[0].ctf.defocus_u_angstrom, stacks[1].ctf.defocus_u_angstrom)


def test_another_seed_gives_other_particles(tmp_path):
    one = simulate(SMALL, tmp_path / "one")
    other = simulate(SMALL.model_copy(update={"seed": 1}), tmp_path / "other")
    assert not torch.allclose(one.poses.rotations, other.poses.rotations)


def test_taken_folder_is_left_alone(tmp_path):
    simulate(SMALL, tmp_path)
    before = (tmp_path / "particles.mrcs").read_bytes()
    with pytest.raises(
        InputError, match=r"other files; expected a new or empty folder.* another\.$"
    ):
        simulate(SMALL, tmp_path)
    assert (tmp_path / "particles.mrcs").read_bytes() == before


def test_file_in_the_folders_place_is_an_error(tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(InputError):
        simulate(SMALL, tmp_path / "taken")


def test_progress_ends_with_the_number_of_particles(tmp_path):
    done = []
    simulate(SMALL.model_copy(update={"particles": 300}), tmp_path, done.append)
    assert done == [256, 300]
