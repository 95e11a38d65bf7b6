"""Filtered images: sufficient statistics, in memory or streamed; particles kept aside."""

from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from builders import small_stack, subspace_model
from cryolatent.data import (
    FilteredImages,
    FilteredStack,
    FilteredTogether,
    ParticleStack,
)
from cryolatent.models.decoders.coefficients import Linear
from cryolatent.physics import FourierDisc

EVERYTHING = [field.name for field in fields(FilteredImages)]


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


@pytest.mark.parametrize("chunk", [None, 5])
@pytest.mark.parametrize("which", ["single", "paired"])
def test_memory_and_stream_are_the_same(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, which: str, chunk: int | None
) -> None:
    stack = request.getfixturevalue(which)
    index = torch.tensor([0, 1, 3, 4, 5, 8, 9, 11])
    if chunk is not None:
        monkeypatch.setattr("cryolatent.data.filtered.CHUNK_BYTES", chunk * 12 * 60)
    kept, streamed = FilteredStack(stack, index), FilteredStack(stack, index, memory_bytes=0)
    for shells in (4, 7, 4, 5):
        disc = FourierDisc(16, shells)
        a, b = list(kept.chunks(disc)), list(streamed.chunks(disc))
        assert chunk is None or len(a) > 1
        for name in EVERYTHING:
            if name != "owner":
                torch.testing.assert_close(joined(a, name), joined(b, name), msg=name)
        for part in [*a, *b]:
            counts = torch.bincount(part.owner, minlength=len(part))
            assert (counts == len(part.images) // len(part)).all()
        assert torch.equal(joined(a, "index"), index)


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
    parts = list(together.chunks(FourierDisc(16, 4)))
    assert joined(parts, "index").tolist() == [*first.tolist(), *second.tolist()]


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
