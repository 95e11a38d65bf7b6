"""Anisotropic magnification of STAR files, against analytic images and RELION's own programs."""

import os
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from cryolatent.data import ParticleStack, UnmagnifiedImages, open_particles, open_star
from cryolatent.data.magnification import unmagnified
from cryolatent.data.relion_optics import magnification_of, phases_of
from cryolatent.errors import InputError
from cryolatent.io import new_stack, read_images, read_star, read_volume, write_star, write_volume
from cryolatent.physics import (
    ODD,
    FourierDisc,
    disc_to_images,
    evaluate_polynomial,
    images_to_disc,
    shift_phases,
    slice_volume,
    soft_sphere,
    volume_to_fourier,
)
from cryolatent.prepare.opening import open_mixed
from cryolatent.prepare.packing import Packing, pack

BOX, PIXEL, COUNT = 48, 3.0, 6
DISC = FourierDisc(BOX, 21)
STRONG = np.array([[1.05, 0.05], [-0.03, 0.97]])
MILD = np.array([[1.022378, 0.011659], [0.010491, 1.020310]])
OPTICS = pd.DataFrame(
    {
        "rlnOpticsGroup": [1, 2],
        "rlnOpticsGroupName": ["first", "second"],
        "rlnVoltage": [300.0, 200.0],
        "rlnSphericalAberration": [2.7, 2.0],
        "rlnAmplitudeContrast": [0.1, 0.07],
        "rlnImagePixelSize": [PIXEL, PIXEL],
        "rlnImageSize": [BOX, BOX],
        "rlnImageDimensionality": [2, 2],
    }
)
EVEN_TERMS = {
    "rlnEvenZernike": ["[0.4,9,-12,8,150,-200,120,90,-260]", "[0,5,20,-7,90,30,-150,0,1]"]
}
ODD_TERMS = {"rlnOddZernike": ["[3,-2,20,-15,25,10]", "[-1,4,-15,30,5,-25]"]}
WRONG = [
    (STRONG.T, MILD.T),
    (np.linalg.inv(STRONG), np.linalg.inv(MILD)),
    (np.linalg.inv(STRONG).T, np.linalg.inv(MILD).T),
    (np.eye(2), np.eye(2)),
]
BLANK = np.zeros((80, BOX, BOX), np.float32)
NAMES = [f"rlnMagMat{row}{column}" for row in (0, 1) for column in (0, 1)]


def magnified(first: np.ndarray, second: np.ndarray) -> dict[str, np.ndarray]:
    """The columns of two optics groups."""
    return dict(zip(NAMES, np.stack([first.ravel(), second.ravel()], axis=1), strict=True))


def particles(count: int = COUNT) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    defocus = rng.uniform(6_000, 9_000, count)
    return pd.DataFrame(
        {
            "rlnImageName": [f"{row + 1}@images.mrcs" for row in range(count)],
            "rlnAngleRot": rng.uniform(-180, 180, count),
            "rlnAngleTilt": rng.uniform(0, 180, count),
            "rlnAnglePsi": rng.uniform(-180, 180, count),
            "rlnOriginXAngst": rng.uniform(-10, 10, count),
            "rlnOriginYAngst": rng.uniform(-10, 10, count),
            "rlnDefocusU": defocus,
            "rlnDefocusV": defocus - rng.uniform(200, 1_000, count),
            "rlnDefocusAngle": rng.uniform(0, 180, count),
            "rlnPhaseShift": rng.uniform(0, 90, count),
            "rlnCtfBfactor": np.linspace(20, 120, count),
            "rlnOpticsGroup": 1 + np.arange(count) % 2,
        }
    )


def write(folder: Path, images: np.ndarray, table: pd.DataFrame, optics: pd.DataFrame) -> Path:
    with new_stack(folder / "images.mrcs", images.shape, PIXEL) as stack:
        stack[:] = images
    write_star(folder / "particles.star", table, optics)
    return folder / "particles.star"


def blobs(rotation: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Spheres of Gaussian density, turned, whose transform at (k, kz) is theirs at (M k, kz)."""
    rng = np.random.default_rng(1)
    axis = np.arange(BOX) - BOX // 2
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    # the transform of f at M k is that of f at M⁻ᵀ x, over |M|
    places = np.linalg.inv(matrix).T @ np.stack([x.ravel(), y.ravel()])
    x, y, z = *places, z.ravel()
    volume = np.zeros(BOX**3)
    for _ in range(12):
        # a row vector of the volume times Rᵀ is where it lies in the image's frame
        cx, cy, cz = rng.uniform(-7, 7, 3) @ rotation.T
        squared = (x - cx) ** 2 + (y - cy) ** 2 + (z - cz) ** 2
        volume += rng.uniform(0.5, 2) * np.exp(-squared / (2 * rng.uniform(1.3, 2.2) ** 2))
    return volume.reshape((BOX,) * 3) / np.linalg.det(matrix)


def predicted(stack: ParticleStack, volume: np.ndarray) -> torch.Tensor:
    transform = volume_to_fourier(torch.from_numpy(volume).float())
    slices = slice_volume(transform, stack.poses.rotations, DISC)
    slices = slices * shift_phases(DISC, stack.poses.shifts_angstrom / PIXEL)
    return slices * stack.ctf.evaluate(DISC.cycles_per_pixel)


def errors(stack: ParticleStack, volume: np.ndarray) -> torch.Tensor:
    """Power of the difference to the prediction, as a share of the image's."""
    found = images_to_disc(torch.from_numpy(stack.images.read(np.arange(len(stack)))), DISC)
    missed = (predicted(stack, volume) - found).abs().square().sum(-1)
    return missed / found.abs().square().sum(-1)


def relion_images(folder: Path, table: pd.DataFrame, optics: pd.DataFrame) -> np.ndarray:
    """What relion_project makes of maps that are turned and magnified already.

    RELION 3.1.3's relion_project evaluates transfer functions at M k, but slices at k.
    """
    write(folder, BLANK[: len(table)], table, OPTICS)
    rotations = open_star(folder / "particles.star").poses.rotations.double().numpy()
    images = []
    for row in range(len(table)):
        entry = optics.iloc[table["rlnOpticsGroup"][row] - 1]
        matrix = entry[NAMES].to_numpy(dtype=float).reshape(2, 2)
        write_volume(folder / "map.mrc", blobs(rotations[row], matrix), PIXEL)
        angles = {"rlnAngleRot": 0.0, "rlnAngleTilt": 0.0, "rlnAnglePsi": 0.0}
        write_star(folder / "in.star", table.iloc[row : row + 1].assign(**angles), optics)
        command = ["relion_project", "--i", "map.mrc", "--o", "out", "--ang", "in.star", "--ctf"]
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
        images.append(read_images(folder / "out.mrcs", np.array([0]))[0])
    return np.stack(images)


@pytest.mark.relion
@pytest.mark.parametrize("terms", [{}, EVEN_TERMS], ids=["plain", "even aberrations"])
def test_corrected_images_are_those_of_an_undistorted_particle(tmp_path, terms):
    """Slice, displacement, transfer function, even aberrations and B-factor, each in its frame."""
    table, optics = particles(), OPTICS.assign(**magnified(STRONG, MILD), **terms)
    images = relion_images(tmp_path, table, optics)
    truth = blobs(np.eye(3), np.eye(2))
    found = errors(open_star(write(tmp_path, images, table, optics)), truth)
    assert found.max() < 5e-3
    for first, second in WRONG:
        wrong = OPTICS.assign(**magnified(first, second), **terms)
        missed = errors(open_star(write(tmp_path, images, table, wrong)), truth)
        assert missed[0] > 10 * found[0]
        assert missed.sum() > 4 * found.sum()


def images_of_points(stack: ParticleStack, matrices: np.ndarray, phases: np.ndarray | None):
    """Stored images of Gaussian points: everything at M k, but the displacement at k."""
    rng, k = np.random.default_rng(3), DISC.cycles_per_pixel.double().numpy()
    points, weights = rng.uniform(-6, 6, (25, 3)), rng.uniform(0.5, 2, 25)
    images = np.empty((len(stack), DISC.size), dtype=np.complex64)
    for row, matrix in enumerate(matrices):
        at, one = k @ matrix.T, torch.tensor([row])
        # (kx, ky, 0) R are the volume's frequencies
        turned = at @ stack.poses.rotations[row, :2].double().numpy()
        value = np.exp(-2j * np.pi * turned @ points.T) @ weights
        value *= np.exp(-2 * (1.4 * np.pi) ** 2 * (at**2).sum(1))
        ctf, at_tensor = stack.ctf[one], torch.from_numpy(at).float()
        value *= ctf.evaluate(at_tensor)[0].numpy()
        if phases is not None:
            odd = torch.from_numpy(phases[row])
            value *= np.exp(1j * evaluate_polynomial(odd, at_tensor / PIXEL, ODD).numpy())
        displacement = stack.poses.shifts_angstrom[row].double().numpy() / PIXEL
        images[row] = value * np.exp(-2j * np.pi * k @ displacement)
    return disc_to_images(torch.from_numpy(images), DISC).numpy()


def reconstructed(folder: Path) -> np.ndarray:
    command = ["relion_reconstruct", "--i", "particles.star", "--o", "map.mrc", "--ctf"]
    subprocess.run([*command, "--maxres", "8"], cwd=folder, check=True, capture_output=True)
    inside = soft_sphere(BOX, 1.0, 12.0, 1.0).numpy() > 0.5
    return read_volume(folder / "map.mrc")[0][inside]


@pytest.mark.relion
@pytest.mark.parametrize("terms", [{}, EVEN_TERMS | ODD_TERMS], ids=["plain", "aberrations"])
def test_one_map_is_reconstructed_of_stored_and_of_corrected_images(tmp_path, terms):
    """relion_reconstruct, which magnifies slices, agrees on slices, origins and aberrations."""
    count = len(BLANK)
    table, optics = particles(count), OPTICS.assign(**terms)
    plain = open_star(write(tmp_path, BLANK, table, optics))
    matrices = np.stack([STRONG, MILD])[np.arange(count) % 2]
    phases = phases_of(read_star(tmp_path / "particles.star"))
    images = images_of_points(plain, matrices, phases)
    write(tmp_path, images, table, optics.assign(**magnified(STRONG, MILD)))
    theirs = reconstructed(tmp_path)
    rest = {name: terms[name] for name in terms if "Even" in name}

    def correlation(first: np.ndarray, second: np.ndarray) -> float:
        folder = tmp_path / "ours"
        folder.mkdir(exist_ok=True)
        stack = open_star(write(tmp_path, images, table, optics.assign(**magnified(first, second))))
        origins = -stack.poses.shifts_angstrom.numpy()
        moved = table.assign(rlnOriginXAngst=origins[:, 0], rlnOriginYAngst=origins[:, 1])
        write(folder, stack.images.read(np.arange(count)), moved, OPTICS.assign(**rest))
        return np.corrcoef(reconstructed(folder), theirs)[0, 1]

    found = correlation(STRONG, MILD)
    others = [correlation(*pair) for pair in WRONG]
    assert found > 0.9995
    assert 1 - max(others) > 10 * (1 - found)


@pytest.mark.parametrize("terms", [{}, EVEN_TERMS | ODD_TERMS], ids=["plain", "aberrations"])
def test_corrected_images_are_those_made_without_magnification(tmp_path, terms):
    """Known images of points, in which all but the displacement is evaluated at M k."""
    table, optics = particles(), OPTICS.assign(**terms)
    plain = open_star(write(tmp_path, BLANK[:COUNT], table, optics))
    phases = phases_of(read_star(tmp_path / "particles.star"))
    matrices = np.stack([STRONG, MILD])[np.arange(COUNT) % 2]
    images = images_of_points(plain, matrices, phases)

    def missed(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        star = write(tmp_path, images, table, optics.assign(**magnified(first, second)))
        stack, rows = open_star(star), np.arange(COUNT)
        wanted = images_of_points(stack, np.broadcast_to(np.eye(2), (COUNT, 2, 2)), None)
        squared = np.square(stack.images.read(rows) - wanted).sum((1, 2))
        return squared / np.square(wanted).sum((1, 2))

    found = missed(STRONG, MILD)
    assert found.max() < 2e-3
    for pair in WRONG:
        assert missed(*pair).sum() > 10 * found.sum()


@pytest.mark.parametrize("matrix", [STRONG, MILD, 0.97 * np.eye(2)], ids=["5 %", "2 %", "-3 %"])
def test_white_noise_stays_white(matrix):
    images = np.random.default_rng(4).normal(size=(400, BOX, BOX)).astype(np.float32)
    found = unmagnified(images, tuple(matrix.ravel().tolist()))
    before, power = (
        images_to_disc(torch.from_numpy(values), DISC).abs().square().mean(0)
        for values in (images, found)
    )
    ratio = DISC.shell_mean(power) / DISC.shell_mean(before)
    assert (ratio[1:] - 1).abs().max() < 0.03
    assert (power - 1).abs().max() < 0.3  # 400 images scatter by 0.05


def test_a_group_without_magnification_is_untouched(tmp_path):
    images = np.random.default_rng(5).normal(size=(COUNT, BOX, BOX)).astype(np.float32)
    none = np.eye(2)
    plain = open_star(write(tmp_path, images, particles(), OPTICS))
    neutral = OPTICS.assign(**magnified(none, none + 1e-7))
    stack = open_star(write(tmp_path, images, particles(), neutral))
    assert not isinstance(stack.images, UnmagnifiedImages)
    assert torch.equal(stack.poses.shifts_angstrom, plain.poses.shifts_angstrom)
    mixed = open_star(write(tmp_path, images, particles(), OPTICS.assign(**magnified(none, MILD))))
    assert isinstance(mixed.images, UnmagnifiedImages)
    read = mixed.images.read(np.array([2, 1, 4]))
    np.testing.assert_array_equal(read[[0, 2]], images[[2, 4]])
    assert not np.allclose(read[1], images[1], atol=0.1)
    again = mixed.select(torch.tensor([4, 1])).images.read(np.array([1, 0]))
    np.testing.assert_array_equal(again, read[[1, 2]])
    assert torch.equal(mixed.poses.shifts_angstrom[::2], plain.poses.shifts_angstrom[::2])


def test_packed_images_are_corrected_alike(tmp_path):
    images = np.random.default_rng(6).normal(size=(COUNT, BOX, BOX)).astype(np.float32)
    optics = OPTICS.assign(**magnified(STRONG, MILD), **ODD_TERMS)
    star = write(tmp_path, images, particles(), optics)
    pack(open_mixed(star), tmp_path / "packed", Packing(normalise="none"), workers=1)
    packed, direct = open_particles(tmp_path / "packed"), open_particles(star)
    rows = np.arange(COUNT)
    np.testing.assert_array_equal(packed.images.read(rows), direct.images.read(rows))
    assert torch.equal(packed.poses.shifts_angstrom, direct.poses.shifts_angstrom)


def test_a_constant_background_stays_constant():
    matrix = tuple(STRONG.ravel().tolist())
    noise = np.random.default_rng(7).normal(size=(2, BOX, BOX)).astype(np.float32)
    found = unmagnified(noise + 1_000, matrix)
    np.testing.assert_allclose(found - 1_000, unmagnified(noise, matrix), rtol=0, atol=2e-3)


@pytest.mark.parametrize("column", NAMES)
def test_an_absurd_matrix_is_refused_by_column_and_group(files, column):
    neutral = float(column[-2] == column[-1])
    files.optics[column] = [neutral, neutral - 1.1]
    with pytest.raises(InputError, match="row 2, optics group 2: found rlnMagMat00 = ") as caught:
        open_star(files.write())
    assert f"{column} = {neutral - 1.1:g}" in str(caught.value)
    files.optics[column] = [neutral, neutral + 0.1]
    assert isinstance(open_star(files.write()).images, UnmagnifiedImages)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_matrix_that_is_not_finite_is_refused(files, value):
    files.optics["rlnMagMat01"] = [0.0, value]
    with pytest.raises(InputError, match=r"particle row 2: found rlnMagMat01 = .*finite number"):
        open_star(files.write())


@pytest.mark.shared_data
def test_six_optics_groups_have_a_matrix_each(shared_data: Path, tmp_path: Path):
    source = shared_data / "relion31.6opticsgroups.star"
    table = read_star(source)
    assert table.optics is not None
    matrices = magnification_of(table)
    assert matrices is not None
    group = table.particles["rlnOpticsGroup"].to_numpy()
    for _, row in table.optics.iterrows():
        here = matrices[group == row["rlnOpticsGroup"]]
        assert (here == np.array([row[name] for name in NAMES]).reshape(2, 2)).all()
    assert len(np.unique(matrices, axis=0)) == len(np.unique(group)) == 6
    sparse_stacks(tmp_path, table.strings("rlnImageName"))
    with pytest.raises(InputError, match=r"pixel sizes of 1\.2500 Å .* and 1\.2400 Å"):
        open_star(source, datadir=tmp_path)
    opened = open_mixed(source, datadir=tmp_path)
    assert len(opened) == len(table)
    origins = np.stack([table.numbers(f"rlnOrigin{axis}Angst") for axis in "XY"], axis=1)
    # M⁻ᵀ t, undone
    stored = np.einsum("nji,nj->ni", matrices, opened.poses.shifts_angstrom)
    np.testing.assert_allclose(stored, -origins, atol=1e-4)


def sparse_stacks(folder: Path, names: pd.Series) -> None:
    """Stacks that have a header and a size, and take no room."""
    parts = names.str.split("@", expand=True)
    for name, count in parts[0].astype(int).groupby(parts[1]).max().items():
        path = folder / str(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        header = np.zeros(256, dtype="<i4")
        header[:4] = 196, 196, count, 2
        header[7:10] = 196, 196, count
        header[52:54] = np.frombuffer(b"MAP \x44\x44\x00\x00", dtype="<i4")
        path.write_bytes(header.tobytes())
        os.truncate(path, 1024 + 4 * 196**2 * count)
