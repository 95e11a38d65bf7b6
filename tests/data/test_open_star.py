"""STAR files opened as stacks."""

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from cryolatent.data import open_star, scan, unique_ids
from cryolatent.data.stacks import locate_stack
from cryolatent.errors import InputError, InputWarning
from cryolatent.io import new_stack
from cryolatent.prepare.opening import open_mixed
from cryolatent.simulate.config import SimulateConfig
from cryolatent.simulate.stack import simulate


def test_columns_become_poses_and_transfer_functions(files):
    stack = open_star(files.write())
    angles = files.particles[["rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi"]].to_numpy()
    expected = Rotation.from_euler("ZYZ", angles, degrees=True).as_matrix().transpose(0, 2, 1)
    np.testing.assert_allclose(stack.poses.rotations, expected, rtol=0, atol=1e-6)
    origins = files.particles[["rlnOriginXAngst", "rlnOriginYAngst"]].to_numpy()
    np.testing.assert_allclose(stack.poses.shifts_angstrom, -origins, rtol=0, atol=1e-6)
    np.testing.assert_allclose(stack.ctf.defocus_u_angstrom, files.particles.rlnDefocusU)
    np.testing.assert_allclose(stack.ctf.defocus_v_angstrom, files.particles.rlnDefocusV)
    np.testing.assert_allclose(stack.ctf.defocus_angle_degrees, files.particles.rlnDefocusAngle)
    assert stack.ctf.voltage_kv.tolist() == [300, 200, 300, 200]
    assert stack.ctf.spherical_aberration_mm.tolist() == pytest.approx([2.7, 2.0] * 2)
    assert stack.ctf.amplitude_contrast.tolist() == pytest.approx([0.1, 0.07] * 2)
    assert stack.ctf.phase_shift_degrees.tolist() == [0] * 4


def test_particles_have_one_observation_each(files):
    stack = open_star(files.write())
    assert len(stack) == 4
    assert stack.images.box == 8
    assert stack.pixel_size_angstrom == 2.5
    assert stack.offsets.tolist() == [0, 1, 2, 3, 4]
    assert stack.ids.tolist() == files.particles.rlnImageName.tolist()
    assert stack.source_rows.tolist() == [0, 1, 2, 3]
    np.testing.assert_array_equal(stack.images.read(np.arange(4)), files.stacks["images.mrcs"])


def test_inverted_contrast_negates_the_images(files):
    star = files.write()
    plain, inverted = open_star(star), open_star(star, invert_contrast=True)
    rows = np.array([2, 0])
    np.testing.assert_array_equal(inverted.images.read(rows), -plain.images.read(rows))
    selected = inverted.select(torch.tensor([3]))
    np.testing.assert_array_equal(
        selected.images.read(np.array([0]))[0], -files.stacks["images.mrcs"][3]
    )


def test_images_come_from_several_stacks(files):
    images = files.stacks.pop("images.mrcs")
    files.stacks = {"b.mrcs": images[:2], "a.mrcs": images[2:]}
    files.particles["rlnImageName"] = ["2@b.mrcs", "1@a.mrcs", "1@b.mrcs", "2@a.mrcs"]
    stack = open_star(files.write())
    np.testing.assert_array_equal(stack.images.read(np.arange(4)), images[[1, 2, 0, 3]])
    assert stack.images.name(1) == f"{files.folder / 'a.mrcs'}, image 1"


def test_relion_30_pixel_size_and_origins(files):
    table = files.particles
    table["rlnOriginX"] = table.pop("rlnOriginXAngst") / 2.5
    table["rlnOriginY"] = table.pop("rlnOriginYAngst") / 2.5
    table["rlnVoltage"], table["rlnSphericalAberration"] = 300.0, 2.7
    table["rlnAmplitudeContrast"] = 0.1
    table["rlnMagnification"], table["rlnDetectorPixelSize"] = 20_000.0, 5.0
    files.optics = None
    stack = open_star(files.write())
    assert stack.pixel_size_angstrom == pytest.approx(2.5)
    expected = -2.5 * table[["rlnOriginX", "rlnOriginY"]].to_numpy()
    np.testing.assert_allclose(stack.poses.shifts_angstrom, expected, rtol=0, atol=3e-6)


def test_datadir_comes_first(files, tmp_path, monkeypatch):
    star, other, rows = files.write(), tmp_path / "other", np.arange(4)
    own = files.stacks["images.mrcs"]
    other.mkdir()
    with pytest.warns(InputWarning, match=r"no images\.mrcs in .*other .*images\.mrcs is read"):
        beside = open_star(star, datadir=other)
    np.testing.assert_array_equal(beside.images.read(rows), own)
    assert beside.datadir is None
    for name in ("images.mrcs", "flat.mrcs"):
        with new_stack(other / name, (4, 8, 8), 1.0) as images:
            images[:] = 2 * own
    given = open_star(star, datadir=other)
    np.testing.assert_array_equal(given.images.read(rows), 2 * own)
    assert given.datadir == other.resolve()
    np.testing.assert_array_equal(
        open_mixed(star, datadir=other).parts[0].images.read(rows), 2 * own
    )
    # without the option the working directory comes second
    monkeypatch.chdir(other)
    np.testing.assert_array_equal(open_star(star).images.read(rows), own)
    (star.parent / "images.mrcs").unlink()
    np.testing.assert_array_equal(open_star(star).images.read(rows), 2 * own)
    files.stacks = {"flat.mrcs": own}
    files.particles["rlnImageName"] = [f"{row + 1}@deep/flat.mrcs" for row in rows]
    files.write()
    np.testing.assert_array_equal(open_star(star, datadir=other).images.read(rows), 2 * own)


def test_a_stack_that_is_given_is_the_stack_whatever_datadir_holds(files, tmp_path):
    path, other = files.write().with_name("images.mrcs"), tmp_path / "other"
    other.mkdir()
    with new_stack(other / "images.mrcs", (4, 8, 8), 1.0) as images:
        images[:] = 0
    located = locate_stack(path, path.name, other, "the line", "line 1")
    assert located == (path, False, None)


def linked(files, folder: Path) -> tuple[Path, Path]:
    """The particle file in a folder, and a link to it in another."""
    star = files.write()
    real, link = folder / "real" / "particles.star", folder / "work" / "particles.star"
    for path in (real, link):
        path.parent.mkdir()
    star.rename(real)
    link.symlink_to(Path("..") / "real" / "particles.star")
    return real, link


@pytest.mark.parametrize("reader", [open_star, open_mixed])
def test_images_of_a_link_are_beside_the_link_first_and_its_target_second(files, tmp_path, reader):
    own = files.stacks["images.mrcs"]
    real, link = linked(files, tmp_path)
    stack = tmp_path / "images.mrcs"

    def read() -> np.ndarray:
        opened = reader(link)
        images = opened.images if reader is open_star else opened.parts[0].images
        return images.read(np.arange(4))

    stack.rename(real.with_name("images.mrcs"))
    with pytest.warns(InputWarning, match=r"a link; images are read from the folder of its target"):
        np.testing.assert_array_equal(read(), own)
    with new_stack(link.with_name("images.mrcs"), (4, 8, 8), 1.0) as images:
        images[:] = 2 * own
    with pytest.warns(InputWarning, match=r"a link; .*work.* is read, and not .*real"):
        np.testing.assert_array_equal(read(), 2 * own)
    real.with_name("images.mrcs").unlink()
    real.with_name("images.mrcs").symlink_to(link.with_name("images.mrcs"))
    np.testing.assert_array_equal(read(), 2 * own)


def test_shells_limit_the_disc(files):
    star = files.write()
    assert open_star(star).disc.radius == 3
    assert open_star(star, shells=2).disc.radius == 2
    with pytest.raises(InputError, match="found 4 shells asked for; expected 1 to 3 at box 8"):
        open_star(star, shells=4)


NOT_MODELLED = {
    "rlnCtfDataAreCtfPremultiplied": (0.0, 1.0),
    "rlnCtfDataArePhaseFlipped": (0.0, 1.0),
}


@pytest.mark.parametrize("column", NOT_MODELLED)
def test_correction_that_is_not_modelled_is_refused_by_name(files, column):
    neutral, value = NOT_MODELLED[column]
    files.optics[column] = [neutral, value]
    with pytest.raises(InputError, match=f"particle row 2: found {column} = "):
        open_star(files.write())
    files.optics[column] = neutral
    assert len(open_star(files.write())) == 4


def test_two_pixel_sizes_are_refused_by_their_groups(files):
    files.optics["rlnImagePixelSize"] = [2.5, 2.6]
    one, other = r"2\.5000 Å \(optics group 1, particle row 1\)", r"2\.6000 Å \(optics group 2"
    with pytest.raises(InputError, match=f"pixel sizes of {one} and {other}"):
        open_star(files.write())


def test_two_boxes_are_refused_by_their_groups(files):
    files.optics["rlnImageSize"] = [8, 10]
    with pytest.raises(InputError, match=r"8 pixels \(optics group 1, .* and 10 \(optics group 2"):
        open_star(files.write())


def test_two_detectors_are_refused_by_column_and_group(files):
    files.optics["rlnMtfFileName"] = "k2.star"
    assert len(open_star(files.write())) == 4
    files.optics["rlnMtfFileName"] = ["k2.star", "k3.star"]
    found = r"row 2, optics group 2: found rlnMtfFileName = k3\.star beside k2\.star"
    with pytest.raises(InputError, match=found):
        open_star(files.write())


@pytest.mark.parametrize(
    ("column", "value", "found"),
    [
        ("rlnImageDimensionality", 3, "subtomograms"),
        ("rlnTomoSubTomosAre2DStacks", 1, "stacks of tilted images"),
    ],
)
def test_tomograms_are_refused(files, column, value, found):
    files.optics[column] = value
    with pytest.raises(InputError, match=found):
        open_star(files.write())


def test_repeated_images_get_ids_of_their_own(files):
    files.particles["rlnImageName"] = ["1@images.mrcs", "2@images.mrcs"] * 2
    ids = open_star(files.write()).ids.tolist()
    assert ids == ["1@images.mrcs", "2@images.mrcs", "1@images.mrcs#2", "2@images.mrcs#2"]
    assert unique_ids(["a", "a", "a"]).tolist() == ["a", "a#2", "a#3"]


def test_simulated_stack_opens_with_its_truth(tmp_path):
    config = SimulateConfig(particles=20, box=16, pixel_size=18.0, shift_spread=2.0)
    truth = simulate(config, tmp_path)
    stack = open_star(tmp_path / "particles.star")
    assert stack.ids.tolist() == truth.ids.tolist()
    assert stack.pixel_size_angstrom == 18.0
    # Written with six decimals, kept as float32: 2^-17 degrees near 180 and half of 1e-6 Å.
    torch.testing.assert_close(stack.poses.rotations, truth.poses.rotations, rtol=0, atol=2e-6)
    torch.testing.assert_close(
        stack.poses.shifts_angstrom, truth.poses.shifts_angstrom, rtol=1e-6, atol=1e-6
    )
    assert [len(half) for half in stack.split(seed=0)] == [10, 10]


@pytest.mark.shared_data
def test_relion_31_stack_opens_and_scans(shared_data: Path):
    source = shared_data / "relion31.star"
    stack = open_star(source)
    assert (len(stack), stack.images.box) == (5, 256)
    assert stack.pixel_size_angstrom == pytest.approx(2.806)
    assert stack.half_set.tolist() == [1] * 5
    assert float(stack.poses.shifts_angstrom[0, 0]) == pytest.approx(-0.019324)
    assert float(stack.ctf.defocus_u_angstrom[4]) == pytest.approx(12725.5411)
    assert scan(stack, 80.0).statistics.background.isfinite().all()


@pytest.mark.shared_data
def test_stack_without_poses_is_refused(shared_data: Path):
    with pytest.raises(InputError, match="found no column rlnAngleRot"):
        open_star(shared_data / "empiar_10076_7.star")


def test_box_that_is_not_the_stacks_is_refused(files):
    files.optics["rlnImageSize"] = [8, 8]
    assert len(open_star(files.write())) == 4
    files.optics["rlnImageSize"] = [16, 16]
    with pytest.raises(InputError, match=r"particle row 1: found a box of 16 .*expected 8, as in"):
        open_star(files.write())
    with pytest.raises(InputError, match=r"particle row 1: found a box of 16 .*expected 8, as in"):
        open_mixed(files.star)


def test_particle_beyond_its_image_is_refused(files):
    files.particles.loc[2, "rlnOriginYAngst"] = 10.0
    with pytest.raises(InputError, match=r"row 3: found a particle 10\.0 Å .*less than half"):
        open_star(files.write())
    assert len(open_mixed(files.star)) == 4


def test_stacks_of_one_last_name_are_not_merged(files, tmp_path):
    flat = tmp_path / "flat"
    flat.mkdir()
    files.stacks = {"flat/x.mrcs": files.stacks["images.mrcs"]}
    names = ["1@A/x.mrcs", "2@A/x.mrcs", "1@A/../A/x.mrcs", "2@A/x.mrcs"]
    files.particles["rlnImageName"] = names
    assert len(open_star(files.write(), datadir=flat)) == 4
    files.particles["rlnImageName"] = [*names[:3], "1@B/x.mrcs"]
    with pytest.raises(InputError, match=r"A/x\.mrcs and B/x\.mrcs"):
        open_star(files.write(), datadir=flat)
    # the first name is right, the second is found by its last part
    files.particles["rlnImageName"] = ["1@x.mrcs", "2@x.mrcs", "3@x.mrcs", "1@B/x.mrcs"]
    with pytest.raises(InputError, match=r"found x\.mrcs and B/x\.mrcs"):
        open_star(files.write(), datadir=flat)


def test_stacks_of_tilted_images_are_refused_wherever_it_is_said(files):
    files.write()
    text = files.star.read_text()
    general = "data_general\n\n_rlnTomoSubTomosAre2DStacks  {}\n\n"
    files.star.write_text(general.format(0) + text)
    assert len(open_star(files.star)) == 4
    loop = general.replace("_rln", "loop_\n_rln").replace("  {}", " #1\n{}")
    for said in (general, loop):
        files.star.write_text(said.format(1) + text)
        with pytest.raises(InputError, match=r"stacks of tilted images \(rlnTomoSubTomosAre2DSta"):
            open_star(files.star)
        with pytest.raises(InputError, match="stacks of tilted images"):
            open_mixed(files.star)


TILTED = {
    "frames": ({"rlnTomoVisibleFrames": "[1,1,0]"}, "stacks of tilted images"),
    "Warp": ({"rlnMicrographName": "TS_01.tomostar"}, "tilted images of Warp or M"),
    "WarpTools": ({"rlnTomoName": "TS_01.tomostar"}, "tilted images of Warp or M"),
    "M": ({"rlnGroupName": "001_TS_01", "rlnCtfBfactor": [0, -4, -8, -12]}, "a B-factor for each"),
}


@pytest.mark.parametrize("what", TILTED)
def test_tilt_series_of_other_programs_are_refused(files, what):
    columns, found = TILTED[what]
    files.particles = files.particles.assign(**columns)
    with pytest.raises(InputError, match=found):
        open_star(files.write())


def test_groups_of_micrographs_are_no_tilt_series(files):
    groups = {"rlnGroupName": "group_1", "rlnCtfBfactor": [10, 20, 10, 20]}
    files.particles = files.particles.assign(**groups, rlnMicrographName="a.mrc")
    assert len(open_star(files.write())) == 4
