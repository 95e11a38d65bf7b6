"""How noisy groups of images are: measured, shrunk, and taken out of images and optics."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from builders import ArrayImages, small_stack
from cryolatent.data import FilteredImages, NoiseLevels, ParticleStack, further_levels, scan
from cryolatent.data.noise import noise_levels
from cryolatent.errors import InputError
from cryolatent.models import FourierGaussian

GROUPS, EACH, ERROR = 60, 20, 0.04


def drawn(spread: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Names of groups, powers of images, and the groups' true levels."""
    rng = np.random.default_rng(seed)
    level = np.exp(spread * rng.normal(size=GROUPS))
    group = np.repeat(np.arange(GROUPS), EACH)
    power = 3 * level[group] * np.exp(ERROR * rng.normal(size=len(group)))
    return np.array([f"m{number:03d}" for number in group]), power, level


def test_levels_are_those_of_the_groups() -> None:
    names, power, level = drawn(0.3)
    found = noise_levels(names, power)
    assert found is not None
    values = np.array([found.levels[name] for name in np.unique(names)])
    expected = level / np.exp(np.log(level).mean())
    # a median of 20 has an error of 0.04 * (pi / 2 / 20) ** 0.5 = 1.1 %
    assert np.log(values / expected).std() < 0.015
    assert found.spread == pytest.approx(np.log(level).std(), rel=0.05)
    assert found.error == pytest.approx(ERROR, rel=0.1)
    assert np.log(found.of(names)).mean() == pytest.approx(0, abs=1e-9)
    assert "60 groups" in found.words()


@pytest.mark.parametrize("seed", range(10))
def test_groups_that_are_alike_are_not_told_apart(seed: int) -> None:
    names, power, _ = drawn(0.0, seed)
    assert noise_levels(names, power) is None


def test_a_small_group_is_pulled_towards_the_others() -> None:
    names, power, _ = drawn(0.02)
    names = np.append(names, "one")
    power = np.append(power, 3 * 1.3)
    found = noise_levels(names, power)
    assert found is not None
    assert 0 < np.log(found.levels["one"]) < 0.4 * np.log(1.3)


def test_a_few_images_of_something_else_move_no_level() -> None:
    names, power, _ = drawn(0.3)
    clean = noise_levels(names, power)
    rng = np.random.default_rng(1)
    junk = rng.random(len(power)) < 0.05
    found = noise_levels(names, np.where(junk, 10 * power, power))
    assert clean is not None and found is not None
    ratio = [found.levels[name] / clean.levels[name] for name in clean.levels]
    assert np.abs(np.log(ratio)).max() < 0.05


@pytest.mark.parametrize(
    "names", [np.array(["a"] * 4), np.array(list("abcd"))], ids=["one group", "groups of one"]
)
def test_of_too_little_nothing_is_said(names: np.ndarray) -> None:
    assert noise_levels(names, np.array([1.0, 2.0, 3.0, 4.0])) is None


def test_new_groups_join_the_known_ones() -> None:
    names, power, level = drawn(0.3)
    half = names < "m030"
    known = noise_levels(names[half], power[half])
    assert known is not None
    both = known.joined(names[~half], power[~half])
    values = np.array([both.levels[name] for name in np.unique(names)])
    offset = np.log(values / level)
    assert (offset - offset.mean()).std() < 0.015
    assert known.of(np.array(["m059"])) == 1.0


@pytest.fixture
def noisy(tmp_path: Path) -> ParticleStack:
    options = {"particles": 300, "micrographs": 8, "noise_spread": 0.5, "snr": 0.2}
    return small_stack(tmp_path / "data", **options)


def test_a_scan_finds_the_levels_of_micrographs(noisy: ParticleStack) -> None:
    found = scan(noisy, 6.0)
    truth = np.load(noisy.source.parent / "truth" / "truth.npz")["noise_level"]
    assert found.levels is not None
    assert noisy.noise_groups is not None
    assert len(found.levels.levels) == 8
    ratio = np.log(found.levels.of(noisy.noise_groups) / truth)
    assert ratio.std() < 0.04
    # spectra are those of images at one level
    levelled = noisy.levelled(found.levels)
    images = ArrayImages(levelled.pixels(np.arange(300)), levelled.images.box)
    again = scan(replace(levelled, images=images, noise_groups=None), 6.0)
    torch.testing.assert_close(again.statistics.background, found.statistics.background)
    torch.testing.assert_close(again.statistics.power, found.statistics.power)


def test_levels_are_noise_of_their_own_for_each_image(noisy: ParticleStack) -> None:
    """Against the density that is written out, with a variance for each image."""
    levels = scan(noisy, 6.0).levels
    assert levels is not None and noisy.noise_groups is not None
    stack, index = noisy.levelled(levels), torch.arange(20)
    noise = torch.linspace(2.0, 1.0, stack.disc.radius + 1)
    slices = torch.randn(20, stack.disc.size, dtype=torch.complex64)
    plain = noisy.batch(index)
    expected = []
    for row, level in enumerate(levels.of(noisy.noise_groups)[:20]):
        likelihood = FourierGaussian(stack.disc, float(level) * noise, noise)
        two = [
            likelihood.negative_log(plain.images, likelihood.predict(factor * slices, plain))[row]
            for factor in (1.0, 0.0)
        ]
        expected.append(two[0] - two[1])
    batch, likelihood = stack.batch(index), FourierGaussian(stack.disc, noise, noise)
    one, none = (
        likelihood.negative_log(batch.images, likelihood.predict(factor * slices, batch))
        for factor in (1.0, 0.0)
    )
    torch.testing.assert_close(one - none, torch.stack(expected), rtol=1e-4, atol=1e-2)
    # what expectation maximisation keeps of images is the same
    part = FilteredImages.read(stack, index, stack.disc)
    raw = FilteredImages.read(noisy, index, stack.disc)
    scale = torch.from_numpy(levels.of(noisy.noise_groups)[:20]).float()
    torch.testing.assert_close(part.images, raw.images / scale[:, None])
    torch.testing.assert_close(part.weights, raw.weights / scale[:, None])


def test_levels_follow_their_images(noisy: ParticleStack) -> None:
    stack = noisy.levelled(scan(noisy, 6.0).levels)
    chosen = torch.tensor([250, 3, 120])
    some = stack.select(chosen)
    assert stack.noise_level is not None and some.noise_level is not None
    assert some.noise_level.tolist() == stack.noise_level[chosen].tolist()
    assert noisy.levelled(None).noise_level is None
    few = noisy.of_images(torch.tensor([5, 200]))
    assert few.noise_groups is not None and noisy.noise_groups is not None
    assert few.noise_groups.tolist() == noisy.noise_groups[[5, 200]].tolist()


def test_images_of_unknown_groups_are_measured_and_no_others(noisy: ParticleStack) -> None:
    levels = scan(noisy, 6.0).levels
    assert levels is not None and noisy.noise_groups is not None
    name = str(noisy.noise_groups[-1])
    rest = {n: level for n, level in levels.levels.items() if n != name}
    fewer = NoiseLevels.model_validate(levels.model_dump() | {"levels": rest})
    found = further_levels(noisy, fewer, 6.0)
    assert found.levels[name] == pytest.approx(levels.levels[name], rel=0.05)
    assert {n: found.levels[n] for n in rest} == rest
    assert further_levels(noisy, levels, 6.0) is levels


def test_the_column_of_the_groups_can_be_chosen(noisy: ParticleStack) -> None:
    from cryolatent.data import open_particles

    star = noisy.source
    assert open_particles(star, noise_groups="none").noise_groups is None
    optics = open_particles(star, noise_groups="rlnOpticsGroup").noise_groups
    assert optics is not None and set(optics) == {"1"}
    with pytest.raises(InputError, match=r"no column rlnGroupName.*rlnMicrographName"):
        open_particles(star, noise_groups="rlnGroupName")
