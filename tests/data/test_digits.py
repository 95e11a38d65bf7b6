"""Digits as a source of examples: where they come from, what a batch holds, their twins."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from builders import small_digits
from cryolatent.data import digits as module
from cryolatent.data import open_digits, twin_of
from cryolatent.errors import InputError


def idx(values: np.ndarray) -> bytes:
    head = bytes([0, 0, 8, values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape)
    return head + values.astype(np.uint8).tobytes()


def arrays(count: int = 20, side: int = 6) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(count)
    images = rng.integers(0, 256, (count, side, side)).astype(np.uint8)
    return images, rng.integers(0, 10, count).astype(np.uint8)


def test_built_in_digits_are_five_thousand_in_two_parts() -> None:
    kept, held = open_digits(None)
    assert (len(kept), len(held)) == (4500, 500)
    assert not set(kept.ids) & set(held.ids)
    assert kept.values.shape == (4500, 784)
    assert (float(kept.values.min()), float(kept.values.max())) == (0.0, 1.0)
    assert sorted(np.unique(kept.labels)) == list(range(10))
    # a one has less ink than a zero: labels belong to the pictures
    ink = [float(kept.values[torch.from_numpy(kept.labels == digit)].mean()) for digit in (0, 1)]
    assert ink[0] > 2 * ink[1]


@pytest.mark.parametrize("form", ["npz", "folder", "gzipped folder", "one file", "dotted"])
def test_all_forms_give_the_same_digits(tmp_path: Path, form: str) -> None:
    train, test = arrays(20), arrays(5)
    path = tmp_path / "mnist.npz"
    np.savez(path, x_train=train[0], y_train=train[1], x_test=test[0], y_test=test[1])
    if form != "npz":
        end, dot = ".gz" if "gz" in form else "", "." if form == "dotted" else "-"
        for stem, part in (("train", train), ("t10k", test)):
            for kind, rank, values in (("images", 3, part[0]), ("labels", 1, part[1])):
                content = gzip.compress(idx(values)) if end else idx(values)
                (tmp_path / f"{stem}-{kind}{dot}idx{rank}-ubyte{end}").write_bytes(content)
        path = tmp_path / "train-images-idx3-ubyte" if form == "one file" else tmp_path
    kept, held = open_digits(path)
    for found, (images, labels) in ((kept, train), (held, test)):
        pixels = found.pixels(np.arange(len(found)))
        np.testing.assert_allclose(pixels, images / 255, rtol=1e-6)
        assert np.array_equal(found.labels, labels)


def test_without_test_digits_a_share_is_kept_aside(tmp_path: Path) -> None:
    images, labels = arrays(40)
    np.savez(tmp_path / "a.npz", x_train=images / 255.0, y_train=labels)
    kept, held = open_digits(tmp_path / "a.npz", hold_out=0.25)
    assert (len(kept), len(held)) == (30, 10)
    assert open_digits(tmp_path / "a.npz", hold_out=0.25)[1].ids.tolist() == held.ids.tolist()


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"y_train": np.zeros(3, np.uint8)}, "20 train images and labels of shape"),
        ({"x_train": np.zeros((20, 6, 5), np.uint8)}, "shape"),
        ({"x_train": np.zeros((20, 36), np.uint8)}, "shape"),
        ({"x_train": np.full((20, 6, 6), 2.0)}, "not all between 0 and 1"),
        ({"x_train": np.full((20, 6, 6), np.nan)}, "not all between 0 and 1"),
        ({"y_train": np.full(20, 10)}, "labels from 10 to 10"),
        ({"y_train": np.full(20, 0.5)}, "float64"),
        ({"x_test": np.zeros((4, 5, 5), np.uint8)}, "different sizes"),
    ],
)
def test_wrong_content_is_refused(tmp_path: Path, change: dict, found: str) -> None:
    train, test = arrays(20), arrays(4)
    content = {"x_train": train[0], "y_train": train[1], "x_test": test[0], "y_test": test[1]}
    np.savez(tmp_path / "a.npz", **(content | change))
    with pytest.raises(InputError, match=rf"a\.npz.*{found}"):
        open_digits(tmp_path / "a.npz")


@pytest.mark.parametrize("name", ["none", "empty", "notes.txt", "a.npz"])
def test_other_files_are_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("digits")
    np.savez(tmp_path / "a.npz", other=np.zeros(3))
    with pytest.raises(InputError, match=name):
        open_digits(tmp_path / name)


def test_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'cryolatent\[digits\]'"):
        open_digits(None)


def test_batch_holds_pictures_without_pose_and_transfer_function() -> None:
    digits = small_digits(9)
    batch = digits.batch(torch.tensor([4, 0]))
    assert torch.equal(batch.images, digits.values[[4, 0]])
    assert torch.equal(batch.evidence.images, batch.images)
    assert batch.poses is None
    assert batch.ctf is None
    assert batch.owner.tolist() == [0, 1]
    assert torch.equal(digits.select(torch.tensor([4, 0])).values, batch.images)


@pytest.mark.parametrize("kind", ["permuted", "noise"])
def test_twins_replace_what_is_seen_alone(kind: str) -> None:
    digits = small_digits(30)
    twinned = twin_of(digits, kind, 1)
    batch = twinned.batch(torch.tensor([3, 17]))
    assert torch.equal(batch.images, digits.values[[3, 17]])
    assert not (batch.evidence.images == batch.images).all(1).any()
    # what a picture is shown depends on its name alone, not on batch or selection
    part = twinned.select(torch.tensor([17, 3, 5])).batch(torch.tensor([1, 0]))
    assert torch.equal(part.evidence.images, batch.evidence.images)


def test_permuted_twins_show_each_picture_once() -> None:
    digits = small_digits(30)
    shown = twin_of(digits, "permuted", 1).batch(torch.arange(30)).evidence.images
    same = (shown[:, None] == digits.values[None]).all(-1)
    assert (same.sum(0) == 1).all()
    assert (same.sum(1) == 1).all()
    assert not same.diagonal().any()


def test_noise_has_the_pictures_mean_and_variance() -> None:
    digits = small_digits(400)
    noise = twin_of(digits, "noise", 1).batch(torch.arange(400)).evidence.images
    assert float(noise.mean()) == pytest.approx(float(digits.values.mean()), abs=0.02)
    assert float(noise.std()) == pytest.approx(float(digits.values.std()), rel=0.05)


@pytest.mark.parametrize("kind", ["same-pose", "ctf-only"])
def test_twins_of_poses_are_refused(kind: str) -> None:
    with pytest.raises(InputError, match=f"{kind} of digits"):
        twin_of(small_digits(9), kind, 0)


def test_fingerprint_knows_pictures_labels_and_names() -> None:
    digits = small_digits(5)
    prints = {digits.fingerprint(), digits.select(torch.tensor([1, 0, 2, 3, 4])).fingerprint()}
    relabelled = small_digits(5)
    relabelled.labels[0] += 1
    assert len(prints | {relabelled.fingerprint()}) == 3
