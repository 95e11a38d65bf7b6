"""Every broken input is one line that names the place, the finding and the way out."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from cryolatent.data import open_star, scan
from cryolatent.errors import InputError
from cryolatent.io import new_stack

CASES: dict[str, tuple[Callable, str, str | None, str, str]] = {}


def case(file: str, row: str | None, found: str, expected: str) -> Callable:
    def register(break_it: Callable) -> Callable:
        CASES[break_it.__name__.replace("_", " ")] = (break_it, file, row, found, expected)
        return break_it

    return register


@case("particles.star", None, "no such file", "a particle STAR file")
def missing_star(files):
    open_star(files.star)


@case("particles.star", None, "a folder", "a particle STAR file")
def folder_as_star(files):
    files.star.mkdir()
    open_star(files.star)


@case("particles.star", None, "no particles", "at least one row")
def zero_particles(files):
    files.particles = files.particles[:0]
    open_star(files.write())


@case("particles.star", "row 1", "no image stack at", "the file that rlnImageName names")
def missing_stack(files):
    files.stacks = {}
    open_star(files.write())


@case("particles.star", "row 4", "image 4 of", "at most 3")
def row_beyond_the_stack(files):
    files.stacks["images.mrcs"] = files.stacks["images.mrcs"][:3]
    open_star(files.write())


@case("particles.star", "row 2", "0@images.mrcs", "a positive number")
def image_number_zero(files):
    files.particles.loc[1, "rlnImageName"] = "0@images.mrcs"
    open_star(files.write())


@case("images.mrcs", "row 1", "7 x 7 pixels", "one even size")
def odd_box(files):
    files.stacks["images.mrcs"] = files.stacks["images.mrcs"][:, :7, :7]
    open_star(files.write())


@case("images.mrcs", "row 1", "8 x 6 pixels", "square images")
def oblong_images(files):
    files.stacks["images.mrcs"] = files.stacks["images.mrcs"][:, :, :6]
    open_star(files.write())


@case("other.mrcs", "row 3", "6 x 6 pixels", "the first stack, images.mrcs, has 8 x 8")
def mixed_boxes(files):
    files.stacks["other.mrcs"] = files.stacks["images.mrcs"][:, :6, :6]
    files.particles.loc[2, "rlnImageName"] = "1@other.mrcs"
    open_star(files.write())


@case("images.mrcs", None, "no readable MRC data", "a complete MRC file")
def text_as_stack(files):
    star = files.write()
    (files.folder / "images.mrcs").write_text("1 2 3\n" * 999)
    open_star(star)


def overwrite_pixel(files, image: int, value: float) -> None:
    header_bytes = 1024
    pixels = np.memmap(files.folder / "images.mrcs", "<f4", "r+", header_bytes, (4, 8, 8))
    pixels[image, 4, 4] = value


@case("images.mrcs", "row 3", "not finite", "a finite, varying image")
def nan_pixel(files):
    star = files.write()
    overwrite_pixel(files, 2, np.nan)
    scan(open_star(star), 2.0)


@case("images.mrcs", "row 4", "all pixels are equal", "a finite, varying image")
def constant_image(files):
    files.stacks["images.mrcs"][3] = 0.1
    scan(open_star(files.write()), 2.0)


@case("images.mrcs", "row 4", "not finite", "a finite, varying image")
def infinite_pixel_of_a_selection(files):
    star = files.write()
    overwrite_pixel(files, 3, np.inf)
    scan(open_star(star).select(torch.tensor([1, 3])), 2.0)


@case("particles.star", "row 2", "rlnAngleTilt = <NA>", "a finite number")
def nan_angle(files):
    files.particles.loc[1, "rlnAngleTilt"] = np.nan
    open_star(files.write())


@case("particles.star", "row 3", "no rotation", "determinant +1")
def reflected_pose(files):
    stack = open_star(files.write())
    rotations = stack.poses.rotations.clone()
    rotations[2] *= -1
    replace(stack, poses=replace(stack.poses, rotations=rotations))


@case("particles.star", "row 2", "no rotation", "determinant +1")
def nan_pose(files):
    stack = open_star(files.write())
    rotations = stack.poses.rotations.clone()
    rotations[1, 0, 0] = torch.nan
    replace(stack, poses=replace(stack.poses, rotations=rotations))


@case("particles.star", None, "no column rlnAnglePsi", "for every particle")
def missing_angle(files):
    del files.particles["rlnAnglePsi"]
    open_star(files.write())


@case("particles.star", None, "no pixel size", "rlnImagePixelSize")
def missing_pixel_size(files):
    del files.optics["rlnImagePixelSize"]
    open_star(files.write())


@case("particles.star", "row 2", "optics group 9", "one of [1, 2]")
def unknown_optics_group(files):
    files.particles.loc[1, "rlnOpticsGroup"] = 9
    open_star(files.write())


def with_optics(files, column: str, value: float) -> None:
    files.optics[column] = [300.0 if column == "rlnVoltage" else 0.1, value]
    open_star(files.write())


@case("particles.star", "row 2", "rlnVoltage = 0", "a positive number")
def no_voltage(files):
    with_optics(files, "rlnVoltage", 0.0)


@case("particles.star", "row 2", "rlnAmplitudeContrast = 1.5", "0 to 1")
def amplitude_contrast_above_one(files):
    with_optics(files, "rlnAmplitudeContrast", 1.5)


@case("particles.star", "row 1", "rlnImagePixelSize = 0", "a positive number")
def pixel_size_zero(files):
    files.optics["rlnImagePixelSize"] = 0.0
    open_star(files.write())


@case("particles.star", "row 1", "rlnMagnification = 0", "a positive number")
def magnification_zero(files):
    del files.optics["rlnImagePixelSize"]
    files.particles["rlnDetectorPixelSize"], files.particles["rlnMagnification"] = 5.0, 0.0
    open_star(files.write())


@pytest.mark.parametrize("name", CASES)
def test_broken_input_is_one_helpful_line(files, name):
    break_it, file, row, found, expected = CASES[name]
    with pytest.raises(InputError) as caught:
        break_it(files)
    error, message = caught.value, str(caught.value)
    assert error.exit_code == 2
    assert "\n" not in message
    assert str(files.folder / file) in message
    assert (error.row is None) if row is None else f"particle {row}" in message
    assert found in error.found
    assert error.found in message
    assert expected in error.expected
    assert error.expected in message
    assert message.endswith(f" {error.way_out}")
    assert error.way_out.endswith(".")


def test_first_bad_image_beyond_the_first_chunk_is_named(files):
    count = 260
    files.particles = files.particles.iloc[np.arange(count) % 4]
    files.particles["rlnImageName"] = [f"{row + 1}@images.mrcs" for row in range(count)]
    star = files.write()
    with new_stack(files.folder / "images.mrcs", (count, 8, 8), 1.0) as images:
        images[:] = np.random.default_rng(0).normal(size=(count, 8, 8))
        images[258] = 0
    with pytest.raises(InputError, match=r"images\.mrcs, image 259, .*particle row 259"):
        scan(open_star(star), 2.0)
