"""Numbers in a wrong unit: optics that no electron microscope has."""

from pathlib import Path

import torch

from cryolatent.errors import InputError
from cryolatent.physics import CTF

VOLTAGE_KV = (20.0, 3000.0)
CS_MM = (-100.0, 100.0)
PIXEL_ANGSTROM = (0.01, 1000.0)
DEFOCUS_ANGSTROM = (50.0, 500_000.0)
"""Of the median particle, whatever its sign; zero says that there is no transfer function."""


def refuse_wrong_units(path: Path, ctf: CTF) -> None:
    """Make sure that optics are in RELION's units, by their sizes.

    Args:
        path: The particle file.
        ctf: Transfer functions of its particles.

    Raises:
        InputError: If a voltage, spherical aberration or pixel size, or the median defocus, is of
            a size that only another unit can have.
    """
    for what, values, (low, high), unit, mistaken in (
        ("a voltage", ctf.voltage_kv, VOLTAGE_KV, "kV", "volts"),
        ("a spherical aberration", ctf.spherical_aberration_mm, CS_MM, "mm", "Å, or µm"),
        ("a pixel size", ctf.pixel_size_angstrom, PIXEL_ANGSTROM, "Å", "metres, or pm"),
    ):
        bad = torch.nonzero(~((values >= low) & (values <= high)))
        if len(bad):
            row = int(bad[0, 0])
            raise InputError(
                path,
                f"{what} of {values[row]:g} {unit}",
                f"{low:g} to {high:g} {unit}",
                f"Convert the column to {unit}; it may be in {mistaken}.",
                row=f"particle row {row + 1}",
            )
    mean = ((ctf.defocus_u_angstrom + ctf.defocus_v_angstrom) / 2).abs()
    median, (low, high) = float(mean.median()), DEFOCUS_ANGSTROM
    if median != 0 and not low <= median <= high:
        raise InputError(
            path,
            f"a median defocus of {median:g} Å",
            f"{low:g} to {high:g} Å",
            "Convert the columns to Å; they may be in micrometres, or in pm.",
        )
