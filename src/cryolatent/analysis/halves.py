"""Half-maps of states, from halves that were trained apart: files and a summary."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from cryolatent.analysis.reconstruction import RESOLVED, have_in_common
from cryolatent.io import write_volume
from cryolatent.io.files import write_text_atomically
from cryolatent.physics import resolution_angstrom
from cryolatent.sessions.crossfit import NAMES, CrossFit


class HalfState(BaseModel):
    """A state in both halves."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    number: int
    """Of the state, from 0, in the order of the first half's populations."""

    populations: tuple[float, float]
    """Its share of each half's particles."""

    fsc: tuple[float, ...]
    """Fourier shell correlation of its volumes."""

    resolution_angstrom: float | None
    """Where that falls below 0.143; None if it does from the beginning."""


def write_halves(found: CrossFit, folder: Path) -> list[HalfState]:
    """Write ``state_K_half1.mrc``, ``state_K_half2.mrc`` and ``halves.json``.

    Args:
        found: Matched states.
        folder: Where to write.

    Returns:
        What is written of each state.
    """
    pixel = found.runs[0].manifest.pixel_size_angstrom
    rows = []
    for number, curve in enumerate(found.fsc):
        for name, volumes in zip(NAMES, found.volumes, strict=True):
            write_volume(folder / f"state_{number}_{name}.mrc", volumes[number].numpy(), pixel)
        common = have_in_common(curve)
        first, second = found.populations[:, number].tolist()
        rows.append(
            HalfState(
                number=number,
                populations=(first, second),
                fsc=tuple(curve.tolist()),
                resolution_angstrom=resolution_angstrom(curve, pixel, RESOLVED) if common else None,
            )
        )
    lines = ",\n".join(row.model_dump_json() for row in rows)
    write_text_atomically(folder / "halves.json", f"[{lines}]\n")
    return rows
