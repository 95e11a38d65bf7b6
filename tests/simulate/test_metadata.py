"""Poses and transfer functions, drawn or taken from a real data set."""

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from cryolatent.errors import InputError
from cryolatent.simulate.config import SimulateConfig
from cryolatent.simulate.observation import draw_observations, perturb, read_observations


def metadata(count: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    defocus = rng.uniform(10_000, 20_000, count)
    return {
        "quat_xyzw": Rotation.random(count, random_state=0).as_quat(),
        "trans_frac": rng.uniform(-0.05, 0.05, (count, 2)),
        "defocus_u_v_ang": np.stack([defocus, defocus - 300, np.full(count, 30.0)], axis=-1),
        "kv": np.array(300.0),
        "cs": np.array(2.7),
        "w": np.array(0.07),
        "box_apix": np.array([100, 2.0]),
    }


def read(path: Path, count: int):
    config = SimulateConfig(particles=count, pixel_size=3.0)
    return read_observations(path, config, np.random.default_rng(0))


def test_all_rows_are_taken_in_order(tmp_path):
    table = metadata(6)
    np.savez(tmp_path / "meta.npz", **table)
    poses, ctf = read(tmp_path / "meta.npz", 6)
    expected = Rotation.from_quat(table["quat_xyzw"]).as_matrix()
    np.testing.assert_allclose(poses.rotations, expected, atol=1e-6)
    np.testing.assert_allclose(poses.shifts_angstrom, -200 * table["trans_frac"], atol=1e-6)
    np.testing.assert_allclose(ctf.defocus_u_angstrom, table["defocus_u_v_ang"][:, 0], rtol=1e-6)
    np.testing.assert_allclose(ctf.defocus_v_angstrom, table["defocus_u_v_ang"][:, 1], rtol=1e-6)
    assert ctf.defocus_angle_degrees.tolist() == [30] * 6
    assert ctf.voltage_kv.tolist() == [300] * 6
    assert ctf.amplitude_contrast.tolist() == pytest.approx([0.07] * 6)
    assert ctf.pixel_size_angstrom.tolist() == [3] * 6


def test_some_rows_are_taken_once_with_pose_and_ctf_together(tmp_path):
    table = metadata(50)
    np.savez(tmp_path / "meta.npz", **table)
    poses, ctf = read(tmp_path / "meta.npz", 20)
    rows = [
        int(np.abs(table["defocus_u_v_ang"][:, 0] - u).argmin())
        for u in ctf.defocus_u_angstrom.tolist()
    ]
    assert rows == sorted(set(rows))
    np.testing.assert_allclose(poses.shifts_angstrom, -200 * table["trans_frac"][rows], atol=1e-6)


@pytest.mark.shared_data
def test_empiar_10076_gives_the_golden_cases_poses(shared_data: Path, tmp_path: Path):
    with np.load(shared_data / "empiar10076_meta.npz") as data:
        first = {name: data[name][:7] if data[name].ndim > 1 else data[name] for name in data}
    np.savez(tmp_path / "first.npz", **first)
    poses, ctf = read(tmp_path / "first.npz", 7)
    with np.load(shared_data / "empiar10076_real7_64.npz") as golden:
        np.testing.assert_allclose(poses.rotations, golden["R"], atol=1e-5)
        side = 64 * float(golden["apix"])
        np.testing.assert_allclose(poses.shifts_angstrom, -golden["trans_frac"] * side, rtol=1e-5)
        values = [ctf.defocus_u_angstrom, ctf.defocus_v_angstrom, ctf.defocus_angle_degrees]
        np.testing.assert_allclose(torch.stack(values, -1), golden["ctf"][:, 2:5], rtol=1e-6)
    assert len(read(shared_data / "empiar10076_meta.npz", 1000)[0]) == 1000


def change(**changes: object):
    def write(path: Path) -> None:
        table = metadata(6) | changes
        np.savez(path, **{name: value for name, value in table.items() if value is not None})

    return write


def truncated(path: Path) -> None:
    change()(path)
    path.write_bytes(path.read_bytes()[:-30])


@pytest.mark.parametrize(
    ("write", "count", "row", "found"),
    [
        (change(), 7, None, "6 poses"),
        (change(kv=None), 6, None, "kv"),
        (change(quat_xyzw=2 * metadata(6)["quat_xyzw"]), 6, "row 0", "quaternion"),
        (change(kv=np.full(6, 300.0)), 6, None, "kv"),
        (change(trans_frac=np.zeros((3, 2))), 6, None, "trans_frac"),
        (lambda path: None, 6, None, "No such file"),
        (lambda path: path.write_text("text\n"), 6, None, "no usable"),
        (truncated, 6, None, "no usable"),
    ],
    ids=[
        "too few",
        "missing key",
        "no rotation",
        "kv per particle",
        "short",
        "missing",
        "text",
        "cut",
    ],
)
def test_broken_metadata_is_one_helpful_line(tmp_path, write, count, row, found):
    write(tmp_path / "meta.npz")
    with pytest.raises(InputError) as caught:
        read(tmp_path / "meta.npz", count)
    error = caught.value
    assert error.exit_code == 2
    assert error.row == row
    assert found in error.found
    assert str(error).startswith(str(tmp_path / "meta.npz"))
    assert str(error).endswith(f". {error.way_out}")
    assert "\n" not in str(error)


def test_drawn_observations_have_the_stated_spread():
    count = 5000
    config = SimulateConfig(
        particles=count, pixel_size=2.0, shift_spread=1.5, defocus_min=8_000, defocus_max=12_000
    )
    poses, ctf = draw_observations(config, np.random.default_rng(0))
    mean = poses.rotations.mean(0) * (3 * count) ** 0.5
    assert mean.abs().max() < 4
    assert float(poses.shifts_angstrom.std()) == pytest.approx(3.0, rel=4 / (4 * count) ** 0.5)
    middle = (ctf.defocus_u_angstrom + ctf.defocus_v_angstrom) / 2
    assert 8_000 <= middle.min() < 8_010
    assert 11_990 < middle.max() <= 12_000.01
    assert (ctf.defocus_u_angstrom >= ctf.defocus_v_angstrom).all()


def test_perturbed_poses_have_the_stated_errors():
    count = 5000
    config = SimulateConfig(particles=count, pixel_size=2.0, angle_error=3.0, shift_error=0.5)
    rng = np.random.default_rng(0)
    poses, ctf = draw_observations(config, rng)
    recorded = perturb(poses, ctf, config, rng)
    turn = recorded.rotations.double() @ poses.rotations.double().mT
    degrees = np.rad2deg(Rotation.from_matrix(turn.numpy()).as_rotvec())
    assert degrees.std(0) == pytest.approx([3.0] * 3, rel=4 / (2 * count) ** 0.5)
    assert np.abs(degrees.mean(0)).max() < 4 * 3.0 / count**0.5
    moved = (recorded.shifts_angstrom - poses.shifts_angstrom).std(0)
    assert moved.tolist() == pytest.approx([1.0] * 2, rel=4 / (2 * count) ** 0.5)
