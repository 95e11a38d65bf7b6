"""The optics that a STAR file describes, particle by particle: applied, or refused by name."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float

from cryolatent.errors import InputError
from cryolatent.io import StarTable
from cryolatent.physics import (
    CTF,
    EVEN,
    ODD,
    beam_tilt_polynomial,
    electron_wavelength_angstrom,
    zernike_polynomial,
)

NEUTRAL_TOLERANCE = 1e-6
MAGNIFICATION = ("rlnMagMat00", "rlnMagMat01", "rlnMagMat10", "rlnMagMat11")
MOST = 0.2
FLIPPED = "Extract the particles again without this option."
# column: (value that means nothing, way out)
REFUSED = {
    "rlnCtfDataAreCtfPremultiplied": (0.0, FLIPPED),
    "rlnCtfDataArePhaseFlipped": (0.0, FLIPPED),
}
COMA = slice(3, 5)


def optics_of(table: StarTable) -> CTF:
    """The transfer function of every particle.

    Args:
        table: A STAR file's tables.

    Returns:
        Defocus, optics, pixel size, B-factor, scale and even aberrations of each particle.

    Raises:
        InputError: If a column is missing or out of range.
    """
    columns = [
        table.numbers("rlnDefocusU"),
        table.numbers("rlnDefocusV"),
        table.numbers("rlnDefocusAngle", 0.0),
        _positive(table, "rlnVoltage"),
        table.numbers("rlnSphericalAberration"),
        _share(table, "rlnAmplitudeContrast"),
        table.numbers("rlnPhaseShift", 0.0),
        pixel_sizes_angstrom(table),
    ]
    even = _zernike(table, "rlnEvenZernike", EVEN)
    scale = None
    if "rlnCtfScalefactor" in table:
        scale = _unless(_positive(table, "rlnCtfScalefactor"), 1.0)
    return CTF(
        *(torch.from_numpy(column).float() for column in columns),
        b_factor_angstrom2=_unless(table.numbers("rlnCtfBfactor", 0.0), 0.0),
        scale=scale,
        # RELION adds it to the phase whose sine is minus the transfer function
        aberration=None if even is None else torch.from_numpy(-even).float(),
    )


def phases_of(table: StarTable) -> Float[np.ndarray, "n 6"] | None:
    """The odd aberrations of every particle: beam tilt and odd Zernike polynomials.

    Args:
        table: A STAR file's tables.

    Returns:
        Coefficients of `cryolatent.physics.aberrations.ODD`, or None if there are none.

    Raises:
        InputError: If both columns describe coma, or a polynomial's degree is too high.
    """
    odd = _zernike(table, "rlnOddZernike", ODD)
    axes = ("rlnBeamTiltX", "rlnBeamTiltY")
    tilt = np.stack([table.numbers(column, 0.0) for column in axes], axis=-1)
    if not tilt.any():
        return odd
    if "rlnOddZernike" in table:
        values = table.strings("rlnOddZernike").astype(str)
        coma = values.map({v: any(_numbers(v)[COMA]) for v in values.unique()}).to_numpy(bool)
        both = np.flatnonzero(coma & tilt.any(axis=1))
        if len(both):
            raise InputError(
                table.path,
                f"rlnOddZernike = {values.iloc[both[0]]} beside a beam tilt",
                "coma in one of them (zeros in places 4 and 5 of rlnOddZernike)",
                "Set the other to zero.",
                row=f"particle row {both[0] + 1}",
            )
    voltage = torch.from_numpy(_positive(table, "rlnVoltage"))
    wavelength = electron_wavelength_angstrom(voltage).numpy()
    coma = beam_tilt_polynomial(tilt, table.numbers("rlnSphericalAberration"), wavelength)
    return coma if odd is None else odd + coma


def magnification_of(table: StarTable) -> Float[np.ndarray, "n 2 2"] | None:
    """The magnification matrix of every particle.

    Args:
        table: A STAR file's tables.

    Returns:
        RELION's M: the coefficient of an image at frequency k is what the particle shows at M k;
        exactly the identity where nothing is said. None if all are.

    Raises:
        InputError: If an entry is no number or further than `MOST` from the identity's.
    """
    if not any(column in table for column in MAGNIFICATION):
        return None
    identity = np.eye(2).ravel()
    columns = [table.numbers(*entry) for entry in zip(MAGNIFICATION, identity, strict=True)]
    matrices = np.stack(columns, axis=-1)
    away = np.abs(matrices - identity).max(axis=1)
    bad = np.flatnonzero(away > MOST)
    if len(bad):
        found = ", ".join(map("{} = {:g}".format, MAGNIFICATION, matrices[bad[0]]))
        raise InputError(
            table.path,
            found,
            f"a matrix whose entries are within {MOST} of the identity's",
            "Correct the column, or extract the particles at their true pixel size.",
            row=_row_and_group(table, int(bad[0])),
        )
    matrices[away <= NEUTRAL_TOLERANCE] = identity
    return matrices.reshape(-1, 2, 2) if (away > NEUTRAL_TOLERANCE).any() else None


def _row_and_group(table: StarTable, particle: int) -> str:
    row = f"particle row {particle + 1}"
    if "rlnOpticsGroup" not in table.particles:
        return row
    return f"{row}, optics group {table.particles['rlnOpticsGroup'].iloc[particle]}"


def pixel_sizes_angstrom(table: StarTable) -> np.ndarray:
    """Pixel size of each particle, in Å, from the column that the file's version uses.

    Args:
        table: A STAR file's tables.

    Returns:
        rlnImagePixelSize (3.1), or detector pixel size over magnification (3.0).

    Raises:
        InputError: If the file has neither.
    """
    if "rlnImagePixelSize" in table:
        return _positive(table, "rlnImagePixelSize")
    if "rlnPixelSize" in table:
        return _positive(table, "rlnPixelSize")
    if "rlnDetectorPixelSize" in table and "rlnMagnification" in table:
        detector = _positive(table, "rlnDetectorPixelSize")
        return 1e4 * detector / _positive(table, "rlnMagnification")
    raise InputError(
        table.path,
        "no pixel size",
        "rlnImagePixelSize, or rlnDetectorPixelSize and rlnMagnification",
        "Add the column to the particles or to data_optics.",
    )


def _unless(values: np.ndarray, neutral: float) -> torch.Tensor | None:
    """The values, or None if all are neutral."""
    if (np.abs(values - neutral) <= NEUTRAL_TOLERANCE).all():
        return None
    return torch.from_numpy(values).float()


def _zernike(
    table: StarTable, column: str, powers: Sequence[tuple[int, int]]
) -> Float[np.ndarray, "n m"] | None:
    """The polynomial of each particle, or None if all are zero."""
    if column not in table:
        return None
    codes, values = pd.factorize(table.strings(column).astype(str))
    rows = np.zeros((len(values), len(powers)))
    for number, value in enumerate(values):
        try:
            rows[number] = zernike_polynomial(_numbers(value), powers)
        except ValueError as error:
            raise InputError(
                table.path,
                f"{column} = {value} ({error})",
                "finite numbers in brackets, as RELION writes them by default",
                "Refine the aberrations again with RELION's default order.",
                row=f"particle row {np.flatnonzero(codes == number)[0] + 1}",
            ) from None
    return rows[codes] if rows.any() else None


def _numbers(value: str) -> list[float]:
    parts = value.strip("[]() ").replace(",", " ").split()
    if parts in (["None"], ["<NA>"], ["nan"]):
        return []
    found = [float(part) for part in parts]
    if not np.isfinite(found).all():
        raise ValueError("not finite")
    return found


def refuse_unsupported(table: StarTable) -> None:
    """Make sure that a file says nothing that is not modelled.

    Args:
        table: A STAR file's tables.

    Raises:
        InputError: If a column of `REFUSED` has another value than the one that means nothing.
    """
    for column, (neutral, way_out) in REFUSED.items():
        if column not in table:
            continue
        bad = np.flatnonzero(np.abs(table.numbers(column) - neutral) > NEUTRAL_TOLERANCE)
        if len(bad):
            raise InputError(
                table.path,
                f"{column} = {table.strings(column).iloc[bad[0]]}",
                f"{neutral}, the only value this version can model",
                way_out,
                row=f"particle row {bad[0] + 1}",
            )


def _positive(table: StarTable, column: str) -> np.ndarray:
    values = table.numbers(column)
    _require(table, column, values > 0, "a positive number")
    return values


def _share(table: StarTable, column: str) -> np.ndarray:
    values = table.numbers(column)
    _require(table, column, (values >= 0) & (values <= 1), "a number from 0 to 1")
    return values


def _require(table: StarTable, column: str, good: np.ndarray, expected: str) -> None:
    bad = np.flatnonzero(~good)
    if len(bad):
        raise InputError(
            table.path,
            f"{column} = {table.strings(column).iloc[bad[0]]}",
            expected,
            "Correct the column.",
            row=f"particle row {bad[0] + 1}",
        )
