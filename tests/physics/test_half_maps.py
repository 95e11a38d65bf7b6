"""Half-maps place by place: known resolutions, known differences, noise that is none."""

import pytest
import torch

from cryolatent.physics import fourier_shell_correlation, resolution_angstrom, soft_sphere
from cryolatent.physics.half_maps import (
    difference,
    discovery_level,
    local_resolution,
    mask_noise,
)
from cryolatent.physics.volumes import weigh_shells, within_shells

BOX, PIXEL = 32, 5.0
INSIDE = soft_sphere(BOX, PIXEL, 60.0, 0.0) > 0.5


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(seed: int, amplitude: float = 1.0) -> torch.Tensor:
    return amplitude * torch.randn(BOX, BOX, BOX, generator=generator(seed))


def shells_to(last: int) -> torch.Tensor:
    return (torch.arange(BOX // 2) <= last).float()


def halves(signal: torch.Tensor, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    return signal + noise(seed, 0.5), signal + noise(seed + 1, 0.5)


def test_weights_of_shells_keep_and_remove_them() -> None:
    volume = noise(0)
    kept = weigh_shells(volume, shells_to(7))
    torch.testing.assert_close(kept, within_shells(volume, 0, 7))
    torch.testing.assert_close(weigh_shells(kept, 2 * shells_to(BOX // 2)), 2 * kept)


def test_each_side_has_its_own_resolution() -> None:
    """Left of the middle halves agree to shell 20, right of it to shell 8."""
    size, (signal, one, two) = 64, torch.randn(3, 64, 64, 64, generator=generator(1))
    left = torch.arange(size) < size // 2
    signal = torch.where(left, within_shells(signal, 1, 20), within_shells(signal, 1, 8))
    found = local_resolution((signal + 0.6 * one, signal + 0.6 * two), PIXEL, size // 2 - 1)
    assert size * PIXEL / found[..., 10:22].median() == pytest.approx(20, abs=3)
    assert size * PIXEL / found[..., 42:54].median() == pytest.approx(8, abs=2)


def test_local_resolution_of_even_signal_is_the_curves() -> None:
    spectrum = torch.exp(-((torch.arange(BOX // 2) / 6.0) ** 2))
    signal = weigh_shells(noise(1, 4.0), spectrum)
    pair = signal + noise(2), signal + noise(3)
    whole = resolution_angstrom(fourier_shell_correlation(*pair), PIXEL, 0.5)
    found = local_resolution(pair, PIXEL, BOX // 2 - 1)
    assert found.median() == pytest.approx(whole, rel=0.12)


def test_a_block_that_one_map_lacks_is_found_where_it_is() -> None:
    block = torch.zeros(BOX, BOX, BOX)
    block[10:15, 12:17, 17:22] = 1.5
    found = difference(halves(block, 1), halves(0 * block, 3), shells_to(8))
    level = discovery_level(found.significance, INSIDE)
    assert level is not None
    chosen = INSIDE & (found.significance > level)
    assert (chosen & (block > 0)).sum() > 0.8 * (block > 0).sum()
    centre = torch.nonzero(chosen).float().mean(0)
    torch.testing.assert_close(centre, torch.tensor([12.0, 14.0, 19.0]), atol=0.7, rtol=0)
    mass = float(found.volume[chosen].sum())
    assert mass == pytest.approx(float(block.sum()), rel=0.25)


def test_equal_maps_do_not_differ() -> None:
    signal = within_shells(noise(0, 5.0), 1, 8)
    false = 0
    for seed in range(10, 50, 4):
        found = difference(halves(signal, seed), halves(signal, seed + 2), shells_to(8))
        false += discovery_level(found.significance, INSIDE) is not None
        spread = found.significance[INSIDE].std(), found.null_significance[INSIDE].std()
        assert spread[0] == pytest.approx(1, abs=0.15)
        assert spread[1] == pytest.approx(1, abs=0.1)
    assert false <= 1


def test_what_two_maps_share_is_no_noise_of_their_difference() -> None:
    """A map less one that is made of it and of others: common noise cancels."""
    first = halves(torch.zeros(BOX, BOX, BOX), 1)
    second = tuple(half + noise(seed, 0.05) for half, seed in zip(first, (3, 4), strict=True))
    found = difference(first, (second[0], second[1]), shells_to(8))
    alone = weigh_shells(noise(5, 0.05 / 2**0.5), shells_to(8))
    assert found.noise[INSIDE].mean() == pytest.approx(float(alone.std()), rel=0.1)


def test_noise_behind_a_mask_is_that_of_a_sum() -> None:
    mask = torch.zeros(BOX, BOX, BOX)
    mask[:4, :4, :4] = 1
    assert mask_noise(noise(7, 2.0), mask) == pytest.approx(2.0 * 64**0.5, rel=0.1)
