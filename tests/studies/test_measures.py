"""What is measured of an experiment's run."""

import numpy as np
import pytest
import torch

from cryolatent.physics import within_shells
from cryolatent.studies.reproduce.measures import recovered_heterogeneity

STATE = np.arange(60) % 3


def truth() -> torch.Tensor:
    return torch.randn(3, 8, 8, 8)


def test_true_volumes_recover_all() -> None:
    volumes = truth()
    assert recovered_heterogeneity(volumes[STATE], STATE, volumes).value == pytest.approx(1)


def test_one_volume_recovers_nothing() -> None:
    volumes = truth()
    consensus = volumes.mean(dim=0).expand(60, -1, -1, -1)
    assert recovered_heterogeneity(consensus, STATE, volumes).value == pytest.approx(0, abs=1e-6)


def test_share_is_the_slope_whatever_is_added_to_all() -> None:
    volumes = truth()
    shown = 0.3 * volumes[STATE] + torch.randn(8, 8, 8)
    assert recovered_heterogeneity(shown, STATE, volumes).value == pytest.approx(0.3, abs=1e-5)


def test_wrong_volumes_are_within_the_null() -> None:
    volumes = truth()
    shuffled = np.random.default_rng(1).permutation(STATE)
    found = recovered_heterogeneity(volumes[shuffled], STATE, volumes)
    assert found.low < found.value < found.high
    assert found.low < 0 < found.high < 0.5


def test_null_is_far_from_the_truth() -> None:
    volumes = truth()
    found = recovered_heterogeneity(volumes[STATE], STATE, volumes)
    assert found.high < 0.5 < found.value


def test_shells_are_kept_or_removed() -> None:
    axis = torch.arange(16) * 2 * torch.pi / 16
    slow, fast = torch.cos(2 * axis), torch.cos(5 * axis)
    volume = (1.5 + slow + fast).expand(1, 16, 16, 16)
    kept = within_shells(volume, 1, 4)
    torch.testing.assert_close(kept, slow.expand(1, 16, 16, 16), atol=1e-5, rtol=0)
