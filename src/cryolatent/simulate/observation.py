"""Poses and transfer functions, drawn or taken from a real data set."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from cryolatent.errors import InputError
from cryolatent.io import read_arrays
from cryolatent.physics import CTF, Poses, rotation_defect
from cryolatent.simulate.config import SimulateConfig

SHAPES = {
    "quat_xyzw": (None, 4),
    "trans_frac": (None, 2),
    "defocus_u_v_ang": (None, 3),
    "kv": (),
    "cs": (),
    "w": (),
    "box_apix": (2,),
}


def draw_observations(config: SimulateConfig, rng: np.random.Generator) -> tuple[Poses, CTF]:
    """Draw uniform orientations, normal displacements and uniform defocus.

    Args:
        config: Numbers and ranges; 300 kV, Cs 2.7 mm, 10 % amplitude contrast.
        rng: Source of randomness.

    Returns:
        Poses and transfer functions.
    """
    import roma

    count = config.images
    quaternions = rng.normal(size=(count, 4))
    quaternions /= np.linalg.norm(quaternions, axis=1, keepdims=True)
    rotations = roma.unitquat_to_rotmat(torch.from_numpy(quaternions)).float()
    shifts = rng.normal(scale=config.shift_spread * config.pixel_size, size=(count, 2))
    defocus = rng.uniform(config.defocus_min, config.defocus_max, size=count)
    astigmatism = rng.normal(scale=150, size=count)
    columns = [
        defocus + np.abs(astigmatism),
        defocus - np.abs(astigmatism),
        rng.uniform(0, 180, size=count),
        *(np.full(count, value) for value in (300.0, 2.7, 0.1, 0.0, config.pixel_size)),
    ]
    ctf = CTF(*(torch.from_numpy(column).float() for column in columns))
    return Poses(rotations, torch.from_numpy(shifts).float()), ctf


def read_observations(
    path: Path, config: SimulateConfig, rng: np.random.Generator
) -> tuple[Poses, CTF]:
    """Take a random choice of the poses and transfer functions of a real data set.

    Args:
        path: An ``.npz`` with quaternions ``quat_xyzw``, displacements ``trans_frac`` (fractions of
            the box), ``defocus_u_v_ang`` (Å, Å, degrees), ``kv``, ``cs`` (mm), ``w`` and
            ``box_apix`` (pixels, Å).
        config: Number of images and pixel size.
        rng: Source of randomness.

    Returns:
        Poses and transfer functions; displacements keep their size in Å.

    Raises:
        InputError: If the file lacks something, is too small or holds no rotations.
    """
    import roma

    data = _read_npz(path)
    available = len(data["quat_xyzw"])
    if available < config.images:
        asked = f"{config.images} (`particles`, `observations`)"
        raise InputError(path, f"{available} poses", asked, "Ask for fewer.")
    rows = np.sort(rng.choice(available, config.images, replace=False))
    quaternions = torch.from_numpy(data["quat_xyzw"][rows].astype(np.float64))
    rotations = roma.unitquat_to_rotmat(quaternions)
    bad = torch.nonzero(~(rotation_defect(rotations) < 1e-3))
    if len(bad):
        raise InputError(
            path,
            f"quaternion {quaternions[bad[0, 0]].tolist()}",
            "unit length",
            "Correct the file.",
            row=f"row {rows[int(bad[0, 0])]}",
        )
    side = float(data["box_apix"][0]) * float(data["box_apix"][1])
    shifts = torch.from_numpy(-data["trans_frac"][rows].astype(np.float64) * side)
    constants = (data["kv"], data["cs"], data["w"], 0.0, config.pixel_size)
    columns = [
        *data["defocus_u_v_ang"][rows].astype(np.float64).T,
        *(np.full(config.images, float(value)) for value in constants),
    ]
    ctf = CTF(*(torch.from_numpy(np.ascontiguousarray(column)).float() for column in columns))
    return Poses(rotations.float(), shifts.float()), ctf


def unrecorded(ctf: CTF, config: SimulateConfig) -> CTF:
    """Transfer functions with envelopes that nothing records, and a defocus that is recorded wrong.

    Args:
        ctf: As they are recorded.
        config: Spread of B-factors and of defocus errors.

    Returns:
        As they are.
    """
    rng, count = np.random.default_rng([config.seed, 4]), len(ctf)
    off = torch.from_numpy(config.defocus_error * rng.normal(size=count)).float()
    envelope = torch.from_numpy(config.b_factor * rng.uniform(0, 2, size=count)).float()
    return replace(
        ctf,
        defocus_u_angstrom=ctf.defocus_u_angstrom + off,
        defocus_v_angstrom=ctf.defocus_v_angstrom + off,
        b_factor_angstrom2=envelope if config.b_factor else ctf.b_factor_angstrom2,
    )


def perturb(poses: Poses, ctf: CTF, config: SimulateConfig, rng: np.random.Generator) -> Poses:
    """Add errors to poses, as a refinement would.

    Args:
        poses: True poses.
        ctf: Transfer functions, with whose defocus errors may grow.
        config: Standard deviations of the errors.
        rng: Source of randomness.

    Returns:
        Poses as they will be recorded.
    """
    import roma

    spin = config.angle_error if config.spin_error is None else config.spin_error
    widths = np.deg2rad([config.angle_error, config.angle_error, spin])
    turn = widths * rng.normal(size=(len(poses), 3))
    move = config.shift_error * config.pixel_size * rng.normal(size=(len(poses), 2))
    if config.error_tails:
        # one factor for all errors of an image: some images are hard
        freedom = config.error_tails
        factor = np.sqrt((freedom - 2) / rng.chisquare(freedom, size=(len(poses), 1)))
        turn, move = turn * factor, move * factor
    if config.error_growth:
        defocus = ctf.defocus_u_angstrom.double().numpy()
        growth = 1 + config.error_growth * (defocus / defocus.mean() - 1)
        turn, move = (error * np.maximum(growth, 0)[:, None] for error in (turn, move))
    rotations = roma.rotvec_to_rotmat(torch.from_numpy(turn)) @ poses.rotations.double()
    if config.random_poses:
        lost = torch.from_numpy(rng.random(len(poses)) < config.random_poses)
        quaternions = rng.normal(size=(len(poses), 4))
        quaternions /= np.linalg.norm(quaternions, axis=1, keepdims=True)
        anywhere = roma.unitquat_to_rotmat(torch.from_numpy(quaternions))
        rotations = torch.where(lost[:, None, None], anywhere, rotations)
    return Poses(rotations.float(), poses.shifts_angstrom + torch.from_numpy(move).float())


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    data = read_arrays(path, SHAPES)
    count = len(data["quat_xyzw"])
    for key, shape in SHAPES.items():
        expected = tuple(count if side is None else side for side in shape)
        if data[key].shape != expected:
            raise InputError(
                path, f"{key} of shape {data[key].shape}", f"shape {expected}", "Correct the file."
            )
    return data
