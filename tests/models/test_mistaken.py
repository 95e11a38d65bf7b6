"""Dimensions that a wrong pose or contrast could pass for."""

from pathlib import Path

import pytest
import torch

from builders import small_stack, spectra
from cryolatent.models import (
    Categorical,
    ExactGaussian,
    FourierGaussian,
    GenerativeModel,
    SubspaceDecoder,
)
from cryolatent.models.decoders.coefficients import Linear, Shares
from cryolatent.models.mistaken import mistakable
from cryolatent.models.system import System
from cryolatent.physics import Interpolation
from cryolatent.simulate.truth import Truth


def test_dimensions_along_nuisances_are_told_from_others(tmp_path: Path) -> None:
    stack = small_stack(tmp_path / "data", particles=60, box=24, pixel_size=12.0, only=("mature",))
    mean = Truth.load(tmp_path / "data" / "truth").volumes[0]
    # what a small turn about z, and a small move along x, add
    moved = (mean.roll(1, 2) - mean.roll(-1, 2)) / 2
    y, x = (torch.arange(24) - 12.0).view(-1, 1), torch.arange(24) - 12.0
    slope_x, slope_y = torch.gradient(mean, dim=(2, 1))
    about_z = x * slope_y - y * slope_x
    elsewhere = torch.randn_like(mean) * (mean.abs() > 0.1 * mean.abs().max())
    volumes = torch.stack([mean, mean, about_z, moved, elsewhere])
    noise = spectra(stack).background
    decoder = SubspaceDecoder(
        stack.disc, Linear(4), torch.ones_like(noise), interpolation=Interpolation.NEAREST
    )
    decoder.set_volumes(volumes)
    model = GenerativeModel(decoder, FourierGaussian(stack.disc, noise, noise))
    found = mistakable(System(model, ExactGaussian(4)), stack)
    assert found is not None
    contrast, turn, shift, other = found
    assert contrast == pytest.approx(1, abs=1e-3)
    # central differences are a little less steep than slopes
    assert min(turn, shift) > 0.85
    assert other < 0.2


def test_states_have_no_dimensions(tmp_path: Path) -> None:
    stack = small_stack(tmp_path / "data", particles=12)
    noise = spectra(stack).background
    decoder = SubspaceDecoder(stack.disc, Shares(2), torch.ones_like(noise))
    model = GenerativeModel(decoder, FourierGaussian(stack.disc, noise, noise))
    assert mistakable(System(model, Categorical(2)), stack) is None
