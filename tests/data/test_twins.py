"""Other evidence for the posterior: what is shown, to whom, and what stays."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from builders import ArrayImages, tilt_series
from cryolatent.data import Batch, ParticleStack, original_names, twin_of
from cryolatent.errors import InputError
from cryolatent.physics import Poses, disc_to_images, images_to_disc

KINDS = ("permuted", "noise", "same-pose", "ctf-only")


def named(ids: list[str], counts: list[int] | None = None) -> ParticleStack:
    stack = tilt_series(counts or [1] * len(ids))
    return replace(stack, ids=np.array(ids, dtype=np.str_))


def everything(stack: ParticleStack) -> Batch:
    return stack.batch(torch.arange(len(stack)))


def shown_to(stack: ParticleStack, twinned: ParticleStack) -> dict[str, str]:
    """Whose image each particle is shown, recognised by its coefficients."""
    images = everything(stack).images
    evidence = everything(twinned).evidence.images
    same = (evidence[:, None] == images[None]).all(-1)
    assert (same.sum(1) == 1).all()
    ids = stack.ids[same.int().argmax(1).numpy()]
    return dict(zip(twinned.ids.tolist(), ids.tolist(), strict=True))


copies = st.lists(st.integers(1, 4), min_size=2, max_size=12)


@given(copies, st.integers(0, 5))
@settings(deadline=None, max_examples=60)
def test_permuted_twins_are_other_particles_each_shown_once(counts: list[int], seed: int) -> None:
    ids = [f"{n}@a.mrcs" + f"#{k}" * (k > 0) for n, c in enumerate(counts) for k in range(c)]
    stack = named(ids)
    if 2 * max(counts) > len(ids):
        with pytest.raises(InputError, match=r"copies of one particle among .*`twin`"):
            twin_of(stack, "permuted", seed)
        return
    shown = shown_to(stack, twin_of(stack, "permuted", seed))
    assert sorted(shown.values()) == sorted(ids)
    for target, other in shown.items():
        first, second = original_names(np.array([target, other]))
        assert first != second


@given(st.permutations(range(9)), st.sets(st.integers(0, 8), min_size=1))
@settings(deadline=None, max_examples=40)
@pytest.mark.parametrize("kind", KINDS)
def test_twins_do_not_depend_on_order_selection_or_batch(kind, order, chosen) -> None:
    stack = named([f"{n // 2}@a.mrcs" + "#2" * (n % 2) for n in range(9)])
    turned = stack.select(torch.tensor(order))
    whole = everything(twin_of(stack, kind, 3)).evidence
    # made of the reordered particles, then selected, then read one by one
    part = twin_of(turned, kind, 3).select_ids(stack.ids[sorted(chosen)])
    for row, particle in enumerate(sorted(chosen)):
        evidence = part.batch(torch.tensor([row])).evidence
        torch.testing.assert_close(evidence.images[0], whole.images[particle], rtol=1e-6, atol=1e-6)
        assert (evidence.poses is None) == (whole.poses is None)
        if evidence.poses is not None and whole.poses is not None:
            assert torch.equal(evidence.poses.rotations[0], whole.poses.rotations[particle])


@pytest.mark.parametrize("kind", KINDS)
def test_whole_evidence_is_replaced_and_the_likelihood_sees_what_it_saw(kind) -> None:
    stack = tilt_series([2, 1, 3, 2])
    before, after = everything(stack), everything(twin_of(stack, kind, 0))
    for name in ("images", "index", "owner"):
        assert torch.equal(getattr(before, name), getattr(after, name))
    assert torch.equal(before.poses.rotations, after.poses.rotations)
    assert torch.equal(before.ctf.defocus_u_angstrom, after.ctf.defocus_u_angstrom)
    evidence = after.evidence
    assert not (evidence.images == before.images).any()
    if kind in ("permuted", "same-pose"):
        assert not (evidence.poses.rotations == before.poses.rotations).all((1, 2)).any()
        assert not (evidence.poses.shifts_angstrom == before.poses.shifts_angstrom).any()
        assert not (evidence.ctf.defocus_u_angstrom == before.ctf.defocus_u_angstrom).any()
    else:
        assert evidence.poses is None
        assert (evidence.ctf is None) == (kind == "noise")


@pytest.mark.parametrize("kind", ["permuted", "same-pose"])
def test_image_pose_and_transfer_function_are_one_particles(kind) -> None:
    stack = tilt_series([1] * 6)
    batch, evidence = everything(stack), everything(twin_of(stack, kind, 1)).evidence
    rows = (evidence.images[:, None] == batch.images[None]).all(-1).int().argmax(1)
    assert torch.equal(evidence.poses.rotations, batch.poses.rotations[rows])
    assert torch.equal(evidence.poses.shifts_angstrom, batch.poses.shifts_angstrom[rows])
    assert torch.equal(evidence.ctf.defocus_u_angstrom, batch.ctf.defocus_u_angstrom[rows])


@pytest.mark.parametrize("kind", KINDS)
def test_target_transfer_function_with_the_twins_image(kind) -> None:
    stack = tilt_series([2, 1, 3, 2])
    own, target = (everything(twin_of(stack, kind, 0, ctf)).evidence for ctf in ("own", "target"))
    assert torch.equal(own.images, target.images)
    assert (own.poses is None) == (target.poses is None)
    assert torch.equal(target.ctf.defocus_u_angstrom, stack.ctf.defocus_u_angstrom)


def test_observations_of_a_shorter_series_come_round_again() -> None:
    stack = tilt_series([3, 2])
    batch, evidence = everything(stack), everything(twin_of(stack, "permuted", 0)).evidence
    assert torch.equal(evidence.images, batch.images[torch.tensor([3, 4, 3, 0, 1])])


def test_nearest_view_by_hand() -> None:
    """Views at 0, 10, 12 and 90 degrees; those at 10 and 12 are copies of one particle."""
    angles = torch.deg2rad(torch.tensor([0.0, 10, 12, 90]))
    stack = named(["1@a.mrcs", "2@a.mrcs", "2@a.mrcs#2", "4@a.mrcs"])
    zero, one = torch.zeros(4), torch.ones(4)
    rows = [
        [angles.cos(), zero, -angles.sin()],
        [zero, one, zero],
        [angles.sin(), zero, angles.cos()],
    ]
    rotations = torch.stack([torch.stack(row, -1) for row in rows], -2)
    stack = replace(stack, poses=Poses(rotations, stack.poses.shifts_angstrom))
    assert shown_to(stack, twin_of(stack, "same-pose", 0)) == {
        "1@a.mrcs": "2@a.mrcs",
        "2@a.mrcs": "1@a.mrcs",
        "2@a.mrcs#2": "1@a.mrcs",
        "4@a.mrcs": "2@a.mrcs#2",
    }


@given(copies, st.integers(0, 3))
@settings(deadline=None, max_examples=40)
def test_nearest_views_are_those_of_an_exhaustive_search(counts: list[int], seed: int) -> None:
    ids = [f"{n}@a.mrcs" + f"#{k}" * (k > 0) for n, c in enumerate(counts) for k in range(c)]
    stack = named(ids)
    order = torch.randperm(len(ids), generator=torch.Generator().manual_seed(seed))
    shown = shown_to(stack, twin_of(stack.select(order), "same-pose", 0))
    views = stack.poses.rotations[:, 2].double()
    distance = (views[:, None] - views[None]).norm(dim=-1).numpy()
    names = np.array(original_names(stack.ids))
    distance[names[:, None] == names[None]] = np.inf
    for row, name in enumerate(ids):
        assert distance[row, ids.index(shown[name])] == pytest.approx(distance[row].min())


@pytest.mark.parametrize("kind", ["permuted", "same-pose"])
def test_copies_of_one_particle_alone_have_no_twin(kind) -> None:
    with pytest.raises(InputError, match="`twin`"):
        twin_of(named(["1@a.mrcs", "1@a.mrcs#2"]), kind, 0)


def test_symmetric_copies_are_never_shown_to_each_other() -> None:
    stack = named([f"{n}@a.mrcs" for n in range(3)]).expanded("C3")
    evidence = everything(twin_of(stack, "permuted", 0)).evidence.images
    assert not (evidence == everything(stack).images).all(-1).any()


def noisy(count: int) -> ParticleStack:
    pixels = np.random.default_rng(5).normal(3.0, 2.0, (count, 8, 8)).astype(np.float32)
    return replace(tilt_series([1] * count), images=ArrayImages(pixels))


def test_noise_has_the_datas_mean_and_variance() -> None:
    stack = noisy(1500)
    twin = twin_of(stack, "noise", 0).twin
    pixels = np.stack([twin.pixels(name, 0) for name in stack.ids.tolist()])
    assert pixels.mean() == pytest.approx(3.0, abs=0.03)
    assert pixels.std() == pytest.approx(2.0, abs=0.03)
    # white: the power of every coefficient is the pixels' variance
    power = images_to_disc(torch.from_numpy(pixels), stack.disc).abs().square().mean(0)
    torch.testing.assert_close(power, torch.full_like(power, 4.0), rtol=0.15, atol=0)


def test_noise_differs_between_particles_observations_and_seeds_only() -> None:
    stack = tilt_series([2, 2, 2])
    images = everything(twin_of(stack, "noise", 0)).evidence.images
    other = everything(twin_of(stack, "noise", 1)).evidence.images
    every = torch.cat([images, other])
    assert len(torch.unique(torch.view_as_real(every).flatten(1), dim=0)) == 12
    again = twin_of(stack, "noise", 0).batch(torch.tensor([2, 1])).evidence.images
    assert torch.equal(again, images[[4, 5, 2, 3]])


def test_noise_is_not_stored() -> None:
    twin = twin_of(noisy(50), "noise", 0).twin
    assert not any(hasattr(value, "nbytes") for value in vars(twin).values())


def test_transfer_function_alone_says_nothing_of_the_image() -> None:
    stack = noisy(200)
    other = replace(stack, images=stack.images.select(np.arange(200)[::-1]))
    first, second = (everything(twin_of(s, "ctf-only", 0)).evidence for s in (stack, other))
    torch.testing.assert_close(first.images, second.images)
    transfer = stack.ctf.evaluate(stack.disc.cycles_per_pixel)
    torch.testing.assert_close(
        first.images, (2.0 * transfer).to(torch.complex64), rtol=0.15, atol=1e-4
    )


def test_particle_from_elsewhere_has_no_twin() -> None:
    stack = tilt_series([1, 1, 1])
    twinned = twin_of(stack, "permuted", 0)
    stranger = replace(twinned, ids=np.array(["particle 0", "particle 1", "particle 10"]))
    with pytest.raises(InputError, match="no twin of particle particle 10"):
        everything(stranger)


def test_twin_of_a_twin_begins_anew() -> None:
    stack = tilt_series([1] * 5)
    again = twin_of(twin_of(stack, "noise", 0), "permuted", 0)
    assert shown_to(stack, again) == shown_to(stack, twin_of(stack, "permuted", 0))
    assert torch.isfinite(disc_to_images(everything(again).evidence.images, stack.disc)).all()
