"""Filtered images: sufficient statistics, in memory or in a file; particles kept aside."""

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import roma
import torch

from builders import small_stack, subspace_model
from cryolatent.data import (
    FilteredImages,
    FilteredStack,
    FilteredTogether,
    ParticleStack,
)
from cryolatent.errors import InputError, NonFiniteError
from cryolatent.models.decoders.coefficients import Linear
from cryolatent.physics import FourierDisc, view_order

EVERYTHING = [field.name for field in fields(FilteredImages) if field.name != "placing"]


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> ParticleStack:
    return small_stack(tmp_path_factory.mktemp("stack") / "data", particles=24, shift_spread=2.0)


@pytest.fixture
def paired(single: ParticleStack) -> ParticleStack:
    """Two observations per particle."""
    return replace(
        single,
        offsets=torch.arange(0, 25, 2),
        ids=single.ids[::2],
        half_set=single.half_set[::2],
    )


def joined(parts: list[FilteredImages], name: str) -> torch.Tensor:
    return torch.cat([getattr(part, name) for part in parts])


@pytest.mark.parametrize("small", [False, True])
@pytest.mark.parametrize("which", ["single", "paired"])
@pytest.mark.parametrize("memory", [2**30, 0])
def test_what_is_kept_is_what_is_read(
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    which: str,
    small: bool,
    memory: int,
) -> None:
    stack = request.getfixturevalue(which)
    index = torch.tensor([0, 1, 3, 4, 5, 8, 9, 11])
    if small:
        monkeypatch.setattr("cryolatent.data.filtered.CHUNK", 3 * 12 * 60)
    kept = FilteredStack(stack, index, memory, scratch=tmp_path)
    told: list[int] = []
    kept.read(told.append)
    assert told[-1] == len(index)
    assert not list(tmp_path.iterdir())  # a file there may be, but without a name
    for shells in (4, 7, 4, 5):
        disc = FourierDisc(16, shells, by_shell=True)
        parts = list(kept.chunks(disc))
        assert not small or len(parts) > 1
        found = joined(parts, "index")
        assert sorted(found.tolist()) == index.tolist()
        direct = FilteredImages.read(stack, found, disc)
        for name in EVERYTHING:
            if name != "owner":
                torch.testing.assert_close(joined(parts, name), getattr(direct, name), msg=name)
        for part in parts:
            counts = torch.bincount(part.owner, minlength=len(part))
            assert (counts == len(part.images) // len(part)).all()


def test_coefficients_by_shell_are_those_of_the_disc(single: ParticleStack) -> None:
    """In another order, the first ones those of fewer shells."""
    index, disc = torch.arange(6), single.disc
    by_row = FilteredImages.read(single, index, disc)
    by_shell = FilteredImages.read(single, index, replace(disc, by_shell=True))
    order = disc.by_shell_order
    torch.testing.assert_close(by_shell.images, by_row.images[:, order])
    torch.testing.assert_close(by_shell.weights, by_row.weights[:, order])
    torch.testing.assert_close(by_shell.power, by_row.power)
    few = FilteredImages.read(single, index, FourierDisc(16, 3, by_shell=True))
    torch.testing.assert_close(few.images, by_shell.images[:, : few.images.shape[1]])
    with pytest.raises(ValueError, match="row by row"):
        next(FilteredStack(single, index).chunks(disc))


def test_a_disk_without_room_is_said(
    single: ParticleStack, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def full(*_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", full)
    with pytest.raises(InputError, match="No space left on device") as error:
        FilteredStack(single, torch.arange(6), 0, scratch=tmp_path).read()
    assert "memory" in str(error.value)


def test_neighbours_see_alike() -> None:
    count = 2000
    rotations = torch.as_tensor(roma.random_rotmat(count))
    order = view_order(rotations)
    assert sorted(order.tolist()) == list(range(count))
    view = rotations[order, 2]
    # a strip is as wide as views are apart on average, 3.2 degrees; a step is a few of them
    steps = (view[1:] * view[:-1]).sum(-1).abs().clamp(max=1).acos()
    assert steps.median() < 0.08
    assert steps.quantile(0.99) < 0.3


def test_statistics_are_sufficient(single: ParticleStack) -> None:
    """``|x - C S g|² = |x|² - 2 Re(g* filtered) + C² |g|²`` for any slice g."""
    index, disc = torch.arange(6), single.disc
    part, batch = FilteredImages.read(single, index, disc), single.batch(index)
    slices = torch.randn(6, disc.size, dtype=torch.complex64)
    likelihood = subspace_model(Linear(1), disc=disc).likelihood
    expected = (batch.images - likelihood.predict(slices, batch)).abs().square().sum(-1)
    cross = (slices.conj() * part.images).real.sum(-1)
    square = (part.weights * slices.abs().square()).sum(-1)
    torch.testing.assert_close(part.power.sum(-1) - 2 * cross + square, expected, rtol=1e-4, atol=0)
    by_shell = disc.shell_sum(batch.images.abs().square())[:, 1:]
    torch.testing.assert_close(part.power, by_shell)
    assert torch.equal(part.rotations, batch.poses.rotations)


def test_sets_together_hold_all(single: ParticleStack) -> None:
    first, second = single.hold_out(0.25, seed=0)
    together = FilteredTogether((FilteredStack(single, first), FilteredStack(single, second)))
    assert len(together) == len(single)
    parts = list(together.chunks(FourierDisc(16, 4, by_shell=True)))
    found = joined(parts, "index").tolist()
    assert sorted(found[: len(first)]) == first.tolist()
    assert sorted(found[len(first) :]) == second.tolist()


def test_pixels_that_are_not_finite_are_named(tmp_path: Path) -> None:
    stack = small_stack(tmp_path / "data", particles=24)
    file = stack.source.with_suffix(".mrcs")
    pixels = np.memmap(file, "<f4", "r+", 1024, (24, 16, 16))
    pixels[7, 3, 3] = np.nan
    pixels.flush()
    wanted = rf"{file.name}, image 8: particle {stack.ids[7]} has pixels that are not finite"
    with pytest.raises(NonFiniteError, match=wanted):
        FilteredStack(stack, torch.arange(24)).read()


def test_held_out_share_follows_the_seed(single: ParticleStack) -> None:
    for seed in range(5):
        rest, held = (part.tolist() for part in single.hold_out(0.25, seed))
        assert len(held) == 6
        assert sorted(rest + held) == list(range(24))
        assert (rest, held) == (sorted(rest), sorted(held))
        assert single.hold_out(0.25, seed)[1].tolist() == held
    assert len({tuple(single.hold_out(0.25, s)[1].tolist()) for s in range(5)}) > 1


def test_copies_are_kept_aside_together(single: ParticleStack) -> None:
    names = [f"{n // 3:06d}@a.mrcs" + (f"#{n % 3}" if n % 3 else "") for n in range(24)]
    stack = replace(single, ids=np.array(names))
    for seed in range(10):
        rest, held = (part.tolist() for part in stack.hold_out(0.25, seed))
        assert len(held) == 6
        assert not {n // 3 for n in rest} & {n // 3 for n in held}
