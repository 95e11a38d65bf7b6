"""Images of particles against a transform of numpy, and against what a right model leaves over."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import cryolatent
from builders import small_stack
from cryolatent.analysis.particle_images import particle_images
from cryolatent.analysis.state_maps import believed_stack
from cryolatent.errors import InputError
from cryolatent.notebook import OpenRun
from cryolatent.physics import Poses
from cryolatent.sessions.systems import restore


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> OpenRun:
    folder = tmp_path_factory.mktemp("images")
    stack = small_stack(folder / "data", particles=150)
    options = {"states": 2, "starts": 1, "threads": 1, "seed": 1}
    return cryolatent.fit(stack, folder / "run", posterior="categorical", **options)


def power_by_shell(images: np.ndarray, last: int) -> np.ndarray:
    """Mean power of a unitary transform in shells 1 to `last`, both signs of k."""
    box = images.shape[-1]
    frequency = np.fft.fftfreq(box, 1 / box)
    shell = np.hypot(frequency[:, None], frequency).round()
    power = np.abs(np.fft.fft2(images, norm="ortho")) ** 2
    return np.stack([power[:, shell == k].mean(1) for k in range(1, last + 1)], axis=1)


def test_chi_squared_is_what_is_left_over_in_units_of_the_noise(trained: OpenRun) -> None:
    found = trained.images([3, 40, 7], low_pass_angstrom=0.5)
    assert found.expected is not None
    assert found.chi_squared is not None
    noise = restore(trained.run).model.likelihood.noise_by_shell().numpy()
    left = power_by_shell(found.raw - found.expected, len(noise) - 1)
    np.testing.assert_allclose(found.chi_squared[:, 1:], left / noise[1:], rtol=2e-3)
    assert np.isnan(found.chi_squared[:, 0]).all()
    assert found.residual is not None
    np.testing.assert_allclose(
        power_by_shell(found.residual, len(noise) - 1), found.chi_squared[:, 1:], rtol=2e-3
    )


def test_a_right_model_leaves_noise_and_a_wrong_one_more(trained: OpenRun) -> None:
    run, latents = trained.run, trained.run.latents()
    stack, model = believed_stack(run, latents), restore(run).model
    every = torch.arange(len(stack))
    right = particle_images(stack, latents, model, every, 20.0)
    assert right.chi_squared is not None
    assert np.nanmean(right.chi_squared) == pytest.approx(1, abs=0.1)
    poses = Poses(stack.poses.rotations.roll(1, 0), stack.poses.shifts_angstrom)
    wrong = particle_images(replace(stack, poses=poses), latents, model, every, 20.0)
    assert wrong.chi_squared is not None
    worse = wrong.chi_squared[:, 1:4].mean() / right.chi_squared[:, 1:4].mean()
    assert worse > 1.1


def test_a_low_pass_leaves_nothing_fine_and_everything_coarse(trained: OpenRun) -> None:
    found, manifest = trained.images([0, 1]), trained.run.manifest
    detail = 8 * manifest.pixel_size_angstrom
    last = int(manifest.box * manifest.pixel_size_angstrom / detail)
    before = power_by_shell(found.raw, manifest.shells)
    after = power_by_shell(found.low_passed, manifest.shells)
    np.testing.assert_allclose(after[:, : last - 1], before[:, : last - 1], rtol=1e-3)
    assert after[:, last + 1 :].max() < 1e-6 * before.max()


def test_rows_that_are_not_there_are_told(trained: OpenRun) -> None:
    with pytest.raises(InputError, match="0 to 149"):
        trained.images([150])
    with pytest.raises(InputError, match="0 to 149"):
        trained.images([-1])


def test_latents_alone_have_images_and_nothing_expected(trained: OpenRun, tmp_path: Path) -> None:
    run, latents = trained.run, trained.run.latents()
    found = particle_images(believed_stack(run, latents), latents, None, torch.tensor([5]), 20.0)
    assert found.expected is None
    assert found.raw.shape == found.low_passed.shape == (1, run.manifest.box, run.manifest.box)
