"""Aberrations, B-factors and scales of STAR files, against RELION's own programs."""

import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.special import eval_jacobi

from cryolatent.data import PhaseCorrectedImages, open_star
from cryolatent.data.relion_optics import optics_of, phases_of
from cryolatent.errors import InputError
from cryolatent.io import new_stack, read_star, read_volume, write_star, write_volume
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

BOX, PIXEL, COUNT = 48, 3.0, 8
DISC = FourierDisc(BOX, BOX // 2 - 1)
GROUP = np.arange(COUNT) % 2
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
ODD_TERMS = {"rlnOddZernike": ["[3,-2,40,-30,55,20]", "[-1,4,-25,60,10,-45]"]}
TILT = {"rlnBeamTiltX": [40.0, -60.0], "rlnBeamTiltY": [-20.0, 80.0]}
TREFOIL = {"rlnOddZernike": ["[3,-2,40,0,0,20]", "[-1,4,-25,0,0,-45]"]}


def particles() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    defocus = rng.uniform(12_000, 20_000, COUNT)
    return pd.DataFrame(
        {
            "rlnImageName": [f"{row + 1}@images.mrcs" for row in range(COUNT)],
            "rlnAngleRot": rng.uniform(-180, 180, COUNT),
            "rlnAngleTilt": rng.uniform(0, 180, COUNT),
            "rlnAnglePsi": rng.uniform(-180, 180, COUNT),
            "rlnOriginXAngst": rng.uniform(-15, 15, COUNT),
            "rlnOriginYAngst": rng.uniform(-15, 15, COUNT),
            "rlnDefocusU": defocus,
            "rlnDefocusV": defocus - rng.uniform(200, 2_000, COUNT),
            "rlnDefocusAngle": rng.uniform(0, 180, COUNT),
            "rlnPhaseShift": rng.uniform(0, 90, COUNT),
            "rlnOpticsGroup": 1 + GROUP,
        }
    )


def molecule() -> torch.Tensor:
    noise = torch.randn(BOX, BOX, BOX)
    smooth = torch.nn.functional.avg_pool3d(noise[None, None], 3, 1, 1)[0, 0]
    return smooth * soft_sphere(BOX, 1.0, 12.0, 4.0)


def write(folder: Path, images: np.ndarray, table: pd.DataFrame, optics: pd.DataFrame) -> Path:
    with new_stack(folder / "images.mrcs", images.shape, PIXEL) as stack:
        stack[:] = images
    write_star(folder / "particles.star", table, optics)
    return folder / "particles.star"


def predicted(stack, volume: torch.Tensor) -> torch.Tensor:
    slices = slice_volume(volume_to_fourier(volume), stack.poses.rotations, DISC)
    slices = slices * shift_phases(DISC, stack.poses.shifts_angstrom / PIXEL)
    return slices * stack.ctf.evaluate(DISC.cycles_per_pixel)


PER_PARTICLE = {
    "rlnCtfBfactor": np.linspace(20, 120, COUNT),
    "rlnCtfScalefactor": np.linspace(0.5, 1.2, COUNT),
}


@pytest.mark.relion
@pytest.mark.parametrize(
    ("columns", "terms"),
    [(PER_PARTICLE, {}), ({}, EVEN_TERMS), (PER_PARTICLE, EVEN_TERMS)],
    ids=["B-factor and scale", "even aberrations", "all"],
)
def test_transfer_functions_are_those_of_relion(tmp_path, columns, terms):
    """What relion_project makes with --ctf is what the opened stack predicts."""
    volume, table = molecule(), particles().assign(**columns)
    write_volume(tmp_path / "map.mrc", volume.numpy(), PIXEL)
    write_star(tmp_path / "in.star", table, OPTICS.assign(**terms))
    command = ["relion_project", "--i", "map.mrc", "--o", "images", "--ang", "in.star", "--ctf"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    write_star(tmp_path / "particles.star", table, OPTICS.assign(**terms))
    stack = open_star(tmp_path / "particles.star")
    theirs = stack.batch(torch.arange(COUNT)).images
    ours = predicted(stack, volume)
    power = ours.abs().square().sum(-1)
    assert (((ours - theirs).abs().square().sum(-1) / power) < 1e-3).all()
    without = open_star(write(tmp_path, stack.images.read(np.arange(COUNT)), particles(), OPTICS))
    missed = (predicted(without, volume) - theirs).abs().square().sum(-1) / power
    assert (missed > 3e-3).all()


def reconstructed(folder: Path) -> np.ndarray:
    command = ["relion_reconstruct", "--i", "particles.star", "--o", "map.mrc", "--ctf"]
    subprocess.run([*command, "--maxres", "7"], cwd=folder, check=True, capture_output=True)
    return read_volume(folder / "map.mrc")[0].ravel()


@pytest.mark.relion
@pytest.mark.parametrize(
    "terms", [ODD_TERMS, TILT, TILT | TREFOIL], ids=["odd Zernike", "beam tilt", "both"]
)
def test_odd_aberrations_are_divided_out_as_by_relion(tmp_path, terms):
    """relion_reconstruct makes one map of images it corrects and of images corrected here."""
    images = disc_to_images(torch.randn(COUNT, DISC.size, dtype=torch.complex64), DISC).numpy()
    stack = open_star(write(tmp_path, images, particles(), OPTICS.assign(**terms)))
    theirs = reconstructed(tmp_path)
    corrected = stack.images.read(np.arange(COUNT))
    write(tmp_path, corrected, particles(), OPTICS)
    ours = reconstructed(tmp_path)
    write(tmp_path, images, particles(), OPTICS)
    raw = reconstructed(tmp_path)
    assert np.corrcoef(ours, theirs)[0, 1] > 0.99999
    assert np.corrcoef(raw, theirs)[0, 1] < 0.99


def test_corrected_images_lose_the_phase_and_nothing_else(tmp_path):
    clean = torch.randn(COUNT, DISC.size, dtype=torch.complex64)
    phases = phases_of(
        read_star(
            write(tmp_path, np.zeros((COUNT, BOX, BOX)), particles(), OPTICS.assign(**ODD_TERMS))
        )
    )
    assert phases is not None
    k = (DISC.cycles_per_pixel / PIXEL).expand(COUNT, -1, 2).double()
    turned = torch.exp(1j * evaluate_polynomial(torch.from_numpy(phases), k, ODD)) * clean
    images = disc_to_images(turned.to(torch.complex64), DISC).numpy()
    stack = open_star(write(tmp_path, images, particles(), OPTICS.assign(**ODD_TERMS)))
    assert isinstance(stack.images, PhaseCorrectedImages)
    chosen = torch.tensor([5, 2, 2, 0])
    found = images_to_disc(torch.from_numpy(stack.select(chosen).images.read(np.arange(4))), DISC)
    torch.testing.assert_close(found, clean[chosen], rtol=0, atol=1e-4)


def test_images_without_odd_aberrations_are_untouched(tmp_path):
    images = np.random.default_rng(0).normal(size=(COUNT, BOX, BOX)).astype(np.float32)
    one = {"rlnBeamTiltX": [0.0, 5.0], "rlnBeamTiltY": [0.0, 0.0]}
    found = open_star(write(tmp_path, images, particles(), OPTICS.assign(**one))).images
    np.testing.assert_array_equal(found.read(np.array([0, 2])), images[[0, 2]])
    assert not np.allclose(found.read(np.array([1])), images[1], atol=0.1)
    none = {"rlnBeamTiltX": 0.0, "rlnOddZernike": "[0,0,0,0,0,0]"}
    plain = open_star(write(tmp_path, images, particles(), OPTICS.assign(**none)))
    assert not isinstance(plain.images, PhaseCorrectedImages)


def test_neutral_values_leave_no_trace(tmp_path):
    none = {"rlnCtfBfactor": 0.0, "rlnCtfScalefactor": 1.0, "rlnEvenZernike": "[0,0,0]"}
    star = write(tmp_path, np.zeros((COUNT, BOX, BOX)), particles(), OPTICS.assign(**none))
    ctf = open_star(star).ctf
    assert (ctf.b_factor_angstrom2, ctf.scale, ctf.aberration) == (None, None, None)


@pytest.mark.parametrize(
    ("terms", "found"),
    [
        ({"rlnOddZernike": ["[0,0,0,0,0,0]", "[0,0,0,0,0,0,1]"]}, "degree above 3"),
        ({"rlnEvenZernike": ["[0]", "[0,x]"]}, "could not convert"),
        ({"rlnEvenZernike": ["[0]", "[0,inf]"]}, "not finite"),
        ({"rlnCtfScalefactor": [1.0, -1.0]}, "rlnCtfScalefactor = -1"),
        (ODD_TERMS | TILT, "beside a beam tilt"),
    ],
)
def test_terms_that_cannot_be_applied_are_refused(tmp_path, terms, found):
    star = write(tmp_path, np.zeros((COUNT, BOX, BOX)), particles(), OPTICS.assign(**terms))
    with pytest.raises(InputError, match=found) as caught:
        open_star(star)
    assert "particle row " in str(caught.value)


@pytest.mark.shared_data
def test_six_optics_groups_keep_their_own_optics(shared_data: Path):
    """With the magnification set to the identity, every particle has its group's physics."""
    table = read_star(shared_data / "relion31.6opticsgroups.star")
    assert table.optics is not None
    ctf, phases = optics_of(table), phases_of(table)
    group = table.particles["rlnOpticsGroup"].to_numpy()
    assert phases is not None
    optics = table.optics.set_index("rlnOpticsGroup")
    assert len(np.unique(group)) == len(np.unique(phases, axis=0)) == 6
    kx, ky = 0.21, -0.13  # 1/Å
    for number, row in optics.iterrows():
        at = int(np.flatnonzero(group == number)[0])
        particle, pixel = table.particles.iloc[at], row["rlnImagePixelSize"]
        expected = np.sin(phase_shift(particle, row, kx, ky))
        k = torch.tensor([[kx * pixel, ky * pixel]]).float()
        assert float(ctf[torch.tensor([at])].evaluate(k)) == pytest.approx(expected, abs=2e-3)
        tilt = kx * row["rlnBeamTiltX"] + ky * row["rlnBeamTiltY"]
        coma = 2 * np.pi * 1e4 * row["rlnSphericalAberration"] * WAVELENGTH**2
        odd = dict(zip(ODD_ORDER, numbers(row["rlnOddZernike"]), strict=True))
        turned = zernike_sum(odd, kx, ky) - coma * (kx**2 + ky**2) * tilt
        found = evaluate_polynomial(torch.from_numpy(phases[at]), torch.tensor([[kx, ky]]), ODD)
        assert float(found) == pytest.approx(turned, abs=1e-3)


WAVELENGTH = 0.0250793  # Å, at 200 kV
EVEN_ORDER = [(m, n) for n in (0, 2, 4) for m in range(-n, n + 1, 2)]
ODD_ORDER = [(m, n) for n in (1, 3) for m in range(-n, n + 1, 2)]


def numbers(text: str) -> list[float]:
    return [float(part) for part in text.strip("[]").split(",")]


def zernike_sum(terms: dict[tuple[int, int], float], x: float, y: float) -> float:
    r, angle = np.hypot(x, y), np.arctan2(y, x)
    total = 0.0
    for (m, n), value in terms.items():
        size = abs(m)
        radial = r**size * eval_jacobi((n - size) // 2, 0, size, 2 * r**2 - 1)
        total += value * radial * (np.sin(size * angle) if m < 0 else np.cos(size * angle))
    return total


def phase_shift(particle: pd.Series, row: pd.Series, kx: float, ky: float) -> float:
    u, v = particle["rlnDefocusU"], particle["rlnDefocusV"]
    angle, k2 = np.arctan2(ky, kx), kx**2 + ky**2
    turn = 2 * (angle - np.deg2rad(particle["rlnDefocusAngle"]))
    defocus = 0.5 * (u + v + (u - v) * np.cos(turn))
    chi = np.pi * WAVELENGTH * defocus * k2
    chi -= 0.5 * np.pi * 1e7 * row["rlnSphericalAberration"] * WAVELENGTH**3 * k2**2
    even = dict(zip(EVEN_ORDER, numbers(row["rlnEvenZernike"]), strict=True))
    chi += np.deg2rad(particle["rlnPhaseShift"]) + np.arcsin(row["rlnAmplitudeContrast"])
    return chi - zernike_sum(even, kx, ky)
