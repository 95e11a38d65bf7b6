"""A part that turns: against directly turned points, and as written and read."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from builders import random_rotations
from cryolatent.data import open_star
from cryolatent.errors import InputError
from cryolatent.io import read_volume
from cryolatent.physics import (
    FourierDisc,
    disc_to_images,
    fourier_shell_correlation,
    images_to_disc,
    shift_phases,
    slice_volume,
    volume_to_fourier,
)
from cryolatent.simulate.config import SimulateConfig
from cryolatent.simulate.density import density_map
from cryolatent.simulate.molecule import Molecule, load_molecule
from cryolatent.simulate.motion import Hinge, Motion
from cryolatent.simulate.stack import simulate
from cryolatent.simulate.truth import Truth

BOX, PIXEL, SIGMA = 32, 4.0, 6.0
AXIS, CENTRE = np.array([1.0, 2.0, 2.0]) / 3, np.array([4.0, -8.0, 2.0])
MOVING = SimulateConfig(particles=30, box=32, pixel_size=9.0, motion=60.0, snr=1e3, junk=0.2)


def render(points: np.ndarray) -> torch.Tensor:
    volume = density_map(
        points, np.ones(len(points)), box=BOX, pixel_size_angstrom=PIXEL, sigma_angstrom=SIGMA
    )
    return torch.from_numpy(volume).float()


@pytest.fixture
def points() -> np.ndarray:
    return np.random.default_rng(0).uniform(-20, 20, (15, 3))


def turned_points(points: np.ndarray, degrees: float) -> np.ndarray:
    turn = Rotation.from_rotvec(np.deg2rad(degrees) * AXIS)
    return turn.apply(points - CENTRE) + CENTRE


def motion_of(points: np.ndarray) -> Motion:
    return Motion(90.0, AXIS, CENTRE, np.zeros(1), {0: render(points)}, PIXEL)


@pytest.mark.parametrize("degrees", [-40.0, 7.0, 90.0])
def test_turned_density_is_that_of_the_turned_points(points, degrees):
    fsc = fourier_shell_correlation(
        motion_of(points).turned(0, degrees), render(turned_points(points, degrees))
    )
    # beyond shell 9 the Gaussians' transform is below 2 %, and the rendering's own aliases show
    assert fsc[1:10].min() > 0.999


def test_density_turned_by_nothing_is_unchanged(points):
    turned = motion_of(points).turned(0, 0.0)
    torch.testing.assert_close(turned, render(points), rtol=0, atol=1e-5 * float(turned.max()))


@pytest.mark.parametrize("degrees", [-40.0, 7.0, 90.0])
def test_turned_slices_are_those_of_the_turned_points(points, degrees):
    disc = FourierDisc(BOX, 10)
    rotations, motion = random_rotations(6), motion_of(points)
    transform = volume_to_fourier(motion.parts[0])
    ours = motion.slices(transform, rotations, np.full(6, degrees), disc)
    turned = volume_to_fourier(render(turned_points(points, degrees)))
    theirs = slice_volume(turned, rotations, disc)
    assert (ours - theirs).norm() < 0.02 * theirs.norm()


def test_hinge_lies_where_the_part_touches_the_rest():
    """A door of 20 x 30 Å hangs on a wall along y at x = 0."""
    grid = np.stack(np.meshgrid(np.arange(6.0, 26, 2), np.arange(-14.0, 16, 2)), axis=-1)
    door = np.concatenate([grid.reshape(-1, 2), np.zeros((150, 1))], axis=1)
    wall = np.stack([np.zeros(40), np.linspace(-40, 40, 40), np.zeros(40)], axis=1)
    moving = np.arange(190) < 150
    hinge = Hinge.at_contact(np.concatenate([door, wall]), moving)
    np.testing.assert_allclose(hinge.axis, [0, 1, 0], atol=1e-6)
    np.testing.assert_allclose(hinge.centre_angstrom[[1, 2]], 0, atol=1e-6)
    assert 6 <= hinge.centre_angstrom[0] <= 11
    turned = hinge.turned(np.concatenate([door, wall]), 180.0)
    np.testing.assert_allclose(turned[150:], wall)
    np.testing.assert_allclose(turned[:150, 0], 2 * hinge.centre_angstrom[0] - door[:, 0])


@pytest.fixture(scope="module")
def moving(tmp_path_factory) -> tuple[Path, Truth]:
    folder = tmp_path_factory.mktemp("moving") / "data"
    return folder, simulate(MOVING, folder)


def test_angles_are_uniform_in_their_range_and_follow_the_seed(tmp_path):
    options = {"particles": 400, "box": 16, "pixel_size": 18.0, "motion": 60.0}
    angles = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        config = SimulateConfig.model_validate(options | {"seed": seed})
        angles.append(simulate(config, tmp_path / name).motion.angle_degrees)
    np.testing.assert_array_equal(angles[0], angles[1])
    assert np.abs(angles[0] - angles[2]).max() > 1
    assert np.abs(angles[0]).max() <= 30
    assert len(np.unique(angles[0])) == 400
    assert angles[0].std() == pytest.approx(60 / 12**0.5, rel=4 / (5 * 400) ** 0.5)


def test_motion_changes_nothing_else(moving, tmp_path):
    _, truth = moving
    still = simulate(MOVING.model_copy(update={"motion": 0.0}), tmp_path / "still")
    assert still.motion is None
    assert not still.moves.any()
    np.testing.assert_array_equal(still.state, truth.state)
    assert torch.equal(still.poses.rotations, truth.poses.rotations)
    scale = (truth.volumes * still.volumes).sum() / still.volumes.square().sum()
    torch.testing.assert_close(truth.volumes, scale * still.volumes)


def test_volume_at_zero_is_the_states(moving):
    _, truth = moving
    for state, volume in enumerate(truth.volumes):
        difference = (truth.volume_at(state, 0.0) - volume).abs()
        assert difference[1:-1, 1:-1, 1:-1].max() < 1e-5 * volume.max()
        assert difference.max() < 5e-3 * volume.max()  # the outermost voxels lack a neighbour


def test_only_states_that_have_the_part_move(moving):
    _, truth = moving
    names = [truth.state_names[state] for state in truth.motion.parts]
    assert names == ["mature", "without domains III and VI"]
    np.testing.assert_array_equal(truth.moves, np.isin(truth.state, list(truth.motion.parts)))
    early = truth.state_names.index("early")
    assert torch.equal(truth.volume_at(early, 25.0), truth.volumes[early])


def test_images_show_each_particles_own_volume(moving):
    folder, truth = moving
    stack = open_star(folder / "particles.star")
    images = torch.from_numpy(stack.images.read(np.arange(len(stack))))
    for row in np.flatnonzero(truth.state >= 0).tolist():
        poses, ctf = truth.poses[row : row + 1], stack.ctf[row : row + 1]
        likeness = []
        for volume in (truth.volume(row), truth.volumes[truth.state[row]]):
            slices = slice_volume(volume_to_fourier(volume), poses.rotations, stack.disc)
            slices = slices * shift_phases(stack.disc, poses.shifts_angstrom / 9.0)
            clean = disc_to_images(
                slices * ctf.evaluate(stack.disc.cycles_per_pixel), stack.disc
            ).flatten()
            band = disc_to_images(images_to_disc(images[row], stack.disc), stack.disc).flatten()
            likeness.append(float(torch.cosine_similarity(clean, band, dim=0)))
        assert likeness[0] > 0.995
        if truth.moves[row] and abs(truth.motion.angle_degrees[row]) > 10:
            assert likeness[1] < likeness[0] - 0.005


def test_signal_to_noise_ratio_counts_the_moving_part(moving):
    folder, _ = moving
    stack = open_star(folder / "particles.star")
    images = torch.from_numpy(stack.images.read(np.arange(len(stack))))
    assert float(images.flatten(1).var(dim=1).mean()) == pytest.approx(1e3, rel=0.01)


def test_motion_is_written_and_read(moving):
    folder, truth = moving
    loaded = Truth.load(folder / "truth")
    assert loaded.motion is not None
    np.testing.assert_array_equal(loaded.motion.angle_degrees, truth.motion.angle_degrees)
    assert loaded.motion.range_degrees == 60.0
    for row in np.flatnonzero(truth.state >= 0)[:5].tolist():
        torch.testing.assert_close(loaded.volume(row), truth.volume(row))
    part, pixel_size = read_volume(folder / "truth" / "moving_0.mrc")
    np.testing.assert_array_equal(part, truth.motion.parts[0])
    assert pixel_size == pytest.approx(9.0)


def test_junk_has_no_volume(moving):
    _, truth = moving
    with pytest.raises(ValueError, match="is junk"):
        truth.volume(int(np.flatnonzero(truth.state == -1)[0]))


def test_truth_without_part_of_its_motion_is_an_error(moving, tmp_path):
    _, truth = moving
    truth.save(tmp_path)
    (tmp_path / "moving_0.mrc").unlink()
    with pytest.raises(InputError, match="moving_0"):
        Truth.load(tmp_path)


def test_only_the_chosen_states_are_simulated(tmp_path):
    truth = simulate(SMALL.model_copy(update={"only": ("early", "mature")}), tmp_path / "two")
    assert truth.state_names == ("early", "mature")
    assert set(truth.state.tolist()) == {0, 1}


SMALL = SimulateConfig(particles=10, box=16, pixel_size=18.0)


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"only": ("late",)}, "`only`: found late; expected one of mature"),
        ({"only": ("early",), "motion": 5.0}, "`motion`: found .* without the part"),
        ({"motion": 60.0, "pixel_size": 14.82}, "`box`: found a side of 237 Å.*molecule's 238 Å"),
    ],
)
def test_impossible_motion_is_one_helpful_line(tmp_path, options, found):
    with pytest.raises(InputError, match=found):
        simulate(SMALL.model_copy(update=options), tmp_path / "new")
    assert not (tmp_path / "new").exists()


def write_blocks(folder: Path, states: object) -> tuple[str, Path]:
    xyz = np.array([[-20.0, 0, 0], [-10, 0, 0], [0, 0, 0], [10, 0, 0], [20, 0, 5], [20, 0, -5]])
    np.savez(
        folder / "blocks.npz",
        xyz=xyz,
        w=np.full(6, 7.0),
        block=np.array([0, 0, 0, 0, 1, 1]),
        names=np.array(["core", "arm"]),
    )
    (folder / "states.json").write_text(json.dumps(states))
    return str(folder / "blocks.npz"), folder / "states.json"


def with_motion(folder: Path, motion: object) -> Molecule:
    full = {"full": ["core", "arm"], "motion": motion}
    return load_molecule(*write_blocks(folder, full))


def test_motion_of_blocks_is_read_from_the_states(tmp_path):
    molecule = with_motion(tmp_path, {"parts": ["arm"], "axis": [0, 0, 2], "centre": [1, 2, 3]})
    assert list(molecule.states) == ["full"]
    assert molecule.hinge is not None
    assert molecule.hinge.moving.tolist() == [False] * 4 + [True] * 2
    assert molecule.hinge.axis.tolist() == [0, 0, 1]
    assert molecule.hinge.centre_angstrom.tolist() == [1, 2, 3]


def test_hinge_is_at_the_contact_if_none_is_given(tmp_path):
    hinge = with_motion(tmp_path, {"parts": ["arm"]}).hinge
    assert hinge is not None
    np.testing.assert_allclose(np.abs(hinge.axis), [0, 0, 1], atol=1e-9)
    assert hinge.centre_angstrom.tolist() == [20, 0, 0]


@pytest.mark.parametrize(
    ("motion", "found"),
    [
        ({"parts": ["leg"]}, "part leg"),
        ({"parts": ["core", "arm"]}, "parts that hold all points"),
        ({"parts": []}, "parts ="),
        ({"parts": ["arm"], "axis": [0, 0]}, "axis ="),
        ({"parts": ["arm"], "axis": [0, 0, 0]}, "an axis of zero length"),
        ({"parts": ["arm"], "angle": 5}, "angle = 5"),
        (["arm"], "the entry ="),
    ],
)
def test_broken_motion_is_one_helpful_line(tmp_path, motion, found):
    with pytest.raises(InputError) as caught:
        with_motion(tmp_path, motion)
    assert caught.value.row == "entry motion"
    assert caught.value.found.startswith(found)
    assert "\n" not in str(caught.value)


def test_model_without_motion_cannot_move(tmp_path):
    model, states = write_blocks(tmp_path, {"full": ["core", "arm"]})
    config = replace_options(SMALL, model=model, states=states, motion=10.0)
    with pytest.raises(InputError, match=r'nothing in .* that turns.*"motion": {"parts"'):
        simulate(config, tmp_path / "new")


def replace_options(config: SimulateConfig, **options: object) -> SimulateConfig:
    return config.model_copy(update=options)


def test_centre_of_a_structures_hinge_is_in_its_own_coordinates(tmp_path):
    pdb = tmp_path / "small.pdb"
    line = "HETATM{:5d}  C   ALA {}{:4d}    {:8.3f}{:8.3f}{:8.3f}  1.00  0.00           C  \n"
    pdb.write_text(
        "".join(line.format(i + 1, "AB"[i // 2], i + 1, 100 + 10 * i, 0, 0) for i in range(4))
    )
    motion = {"parts": ["B"], "centre": [115, 0, 0], "axis": [0, 1, 0]}
    (tmp_path / "states.json").write_text(json.dumps({"all": [], "motion": motion}))
    molecule = load_molecule(str(pdb), tmp_path / "states.json")
    assert molecule.hinge is not None
    np.testing.assert_allclose(molecule.hinge.centre_angstrom, [0, 0, 0], atol=1e-6)
    assert molecule.hinge.moving.tolist() == [False, False, True, True]
