"""Every kind of particle that should not be used is found, and no other."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from builders import small_stack
from cryolatent.data.contrast import contrast_score
from cryolatent.data.stack import ParticleStack
from cryolatent.errors import InputError
from cryolatent.physics import Poses
from cryolatent.prepare.checks import (
    find_all,
    image_findings,
    image_moments,
    measure,
    repeat_findings,
)
from cryolatent.prepare.findings import refuse, write_findings
from cryolatent.prepare.opening import Opened, open_mixed


@pytest.fixture
def stack(tmp_path: Path) -> ParticleStack:
    return small_stack(tmp_path / "data")


def spoil(stack: ParticleStack, image: int, change) -> None:
    pixels = np.memmap(stack.source.parent / "particles.mrcs", "<f4", "r+", 1024, (40, 16, 16))
    pixels[image] = change(pixels[image])
    pixels.flush()


def checks(opened: Opened) -> list[tuple[int, str]]:
    return [(finding.row, finding.check) for finding in find_all(opened, measure(opened, 2))]


def test_good_particles_have_no_findings(stack) -> None:
    assert checks(open_mixed(stack.source)) == []


@pytest.mark.parametrize(
    ("change", "check"),
    [
        (lambda image: np.where(np.arange(256).reshape(16, 16) == 7, np.nan, image), "finite"),
        (lambda image: np.where(np.arange(256).reshape(16, 16) == 7, -np.inf, image), "finite"),
        (lambda image: 0 * image + 1e30, "varying"),
        (lambda image: 0 * image + 0.1, "varying"),
        (lambda image: 30 * image, "scale"),
        (lambda image: 1e30 * image, "scale"),
        (lambda image: image / 30, "scale"),
    ],
)
def test_images(stack, change, check) -> None:
    spoil(stack, 11, change)
    found = checks(open_mixed(stack.source))
    assert [(row, name.split()[0]) for row, name in found] == [(11, check)]


def test_moments_of_images_far_from_zero() -> None:
    rng = np.random.default_rng(0)
    images = (1e4 + rng.normal(size=(3, 32, 32))).astype(np.float32)
    expected = images.astype(float).std(axis=(1, 2))
    finite, spread = image_moments(images)
    assert finite.all()
    np.testing.assert_allclose(spread, expected, rtol=1e-3)


def test_poses_defoci_and_repeats(stack) -> None:
    opened = open_mixed(stack.source)
    rotations, shifts = opened.poses.rotations.clone(), opened.poses.shifts_angstrom.clone()
    rotations[3, 0] *= 1.1
    rotations[4, 0, 0] = torch.nan
    rotations[5] *= -1
    shifts[6, 1] = -145.0  # half the box is 144 Å
    shifts[7, 1] = 143.0
    u, v = opened.ctf.defocus_u_angstrom.clone(), opened.ctf.defocus_v_angstrom.clone()
    u[8], v[9] = -2e4, v[9] - 3e4
    u[10] = v[10] = 2e5
    ctf = replace(opened.ctf, defocus_u_angstrom=u, defocus_v_angstrom=v)
    broken = replace(opened, poses=Poses(rotations, shifts), ctf=ctf)
    found = checks(broken)
    assert found == [
        *((row, "rotation") for row in (3, 4, 5)),
        (6, "shift"),
        *((row, "defocus") for row in (8, 9, 10)),
    ]


def test_a_repeated_row_is_bad_and_an_image_in_another_pose_is_not(stack) -> None:
    opened = open_mixed(stack.source).select(np.array([0, 1, 2, 1, 2]))
    rotations = opened.poses.rotations.clone()
    rotations[4] = rotations[0]
    found = repeat_findings(replace(opened, poses=Poses(rotations, opened.poses.shifts_angstrom)))
    assert [(finding.check, finding.bad) for finding in found] == [
        ("repeated row", True),
        ("repeated image", False),
    ]
    assert "particle row 2" in found[0].found
    assert "1 rows" in found[1].found


def test_scale_is_judged_among_images_of_one_kind(stack) -> None:
    opened = open_mixed(stack.source)
    moments = measure(opened, 1)
    parts = opened.parts * 2
    of_two = replace(opened, parts=parts, part=np.arange(40) % 2)
    spread = np.where(np.arange(40) % 2, 50, 1) * moments.spread
    assert image_findings(of_two, replace(moments, spread=spread)) == []
    assert len(image_findings(opened, replace(moments, spread=spread))) == 0  # half and half
    spread = np.where(np.arange(40) % 10 == 0, 50, 1) * moments.spread
    assert len(image_findings(opened, replace(moments, spread=spread))) == 4


@pytest.mark.parametrize("dark", [False, True])
def test_contrast_is_seen_in_the_images(stack, dark) -> None:
    opened = open_mixed(stack.source, invert_contrast=dark)
    score = contrast_score(opened.stack(opened.parts[0].frame))
    assert score is not None
    assert (score < -8) if dark else (score > 8)


def test_noise_has_no_contrast(stack) -> None:
    rng = np.random.default_rng(0)
    for image in range(40):
        spoil(stack, image, lambda image: rng.normal(size=image.shape))
    opened = open_mixed(stack.source)
    score = contrast_score(opened.stack(opened.parts[0].frame))
    assert score is not None
    assert abs(score) < 4
    few = opened.select(np.arange(15))
    assert contrast_score(few.stack(few.parts[0].frame)) is None


def test_the_table_is_written_and_its_first_row_is_the_message(stack, tmp_path) -> None:
    spoil(stack, 11, lambda image: 0 * image)
    spoil(stack, 5, lambda image: 100 * image)
    opened = open_mixed(stack.source)
    findings = find_all(opened, measure(opened, 1))
    write_findings(tmp_path, findings)
    entries = json.loads((tmp_path / "findings.json").read_text())
    assert [entry["row"] for entry in entries] == [6, 12]
    assert pq.read_table(tmp_path / "findings.parquet").to_pylist() == entries
    with pytest.raises(InputError, match="2 of 40 particles") as caught:
        refuse(stack.source, findings, 40)
    assert "row 6 (000006@particles.mrcs)" in str(caught.value)
    assert '`on_bad="drop"`' in str(caught.value)
    write_findings(tmp_path, [])
    assert pq.read_table(tmp_path / "findings.parquet").num_rows == 0
