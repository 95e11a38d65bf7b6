"""Volumes as the page draws them: surfaces, differences, sections."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from cryolatent.errors import InputError
from cryolatent.explore.explored import Explored
from cryolatent.explore.exporting import new_file
from cryolatent.explore.in_training import InTraining
from cryolatent.explore.questions import (
    DraftQuestion,
    Of,
    OfCluster,
    OfLatent,
    OfMeasured,
    OfRow,
    OfSelection,
    SectionsQuestion,
    VolumeFileQuestion,
    VolumeQuestion,
)
from cryolatent.explore.surface import Surface, level_of, surface, usual_share
from cryolatent.explore.wire import pack
from cryolatent.io import write_volume

DIFFERING = 0.25
"""How much of what a molecule fills the parts of a difference fill that are drawn."""
DARKEST, BRIGHTEST = 0.001, 0.999


@dataclass(frozen=True)
class Meant:
    """A volume that was asked for.

    Args:
        voxels: In the order z, y, x.
        title: What it is, in words.
        latent: Where it was decoded; None of a file of the analysis.
    """

    voxels: Float[np.ndarray, "d d d"]
    title: str
    latent: Float[np.ndarray, " zdim"] | None = None


def volume_of(explored: Explored, of: Of) -> Meant:
    """The volume of a question.

    Args:
        explored: The run.
        of: Which.

    Returns:
        The volume, and what it is.

    Raises:
        InputError: If there is no such particle, selection or volume.
    """
    if isinstance(of, OfCluster):
        return Meant(explored.cluster_volume(of.number), "decoded at its middle")
    if isinstance(of, OfMeasured):
        voxels = explored.cluster_volume(of.number, measured=True)
        return Meant(voxels, "measured from its own particles")
    latent, title = _place(explored, of)
    return Meant(explored.decoded(latent), title, latent)


def _place(explored: Explored, of: OfRow | OfSelection | OfLatent) -> tuple[np.ndarray, str]:
    """A place in latent space, and how it was decoded there."""
    if isinstance(of, OfLatent):
        return np.array(of.values), "decoded there"
    if isinstance(of, OfRow):
        if of.row >= explored.rows:
            found, expected = f"row {of.row}", f"0 to {explored.rows - 1}"
            raise InputError(explored.run.path, found, expected, "Choose another.")
        return explored.means[of.row], "decoded at one particle"
    chosen = explored.mask(of.selection)
    if not chosen.any():
        raise InputError(explored.run.path, "no selected particle", "some", "Select some first.")
    mean = explored.means[chosen].mean(axis=0)
    return mean, f"decoded at the mean of {chosen.sum():,} particles"


def volume_message(explored: Explored, question: VolumeQuestion) -> bytes:
    """A volume's surface, or where it differs from another.

    Args:
        explored: The run.
        question: Which.

    Returns:
        A message of `pack`: ``vertices`` in Å, ``normals`` and ``faces``; of a difference the
        surface of what is taken away, and ``more_vertices`` ..., ``less_vertices`` ... where there
        is more and less than in it.
    """
    meant = volume_of(explored, question.of)
    pixel = explored.run.manifest.pixel_size_angstrom
    share = question.enclosed or explored.share
    shown = meant if question.minus is None else volume_of(explored, question.minus)
    volume = shown.voxels
    level = level_of(volume, share) if question.level is None else question.level
    drawn = surface(volume, pixel, level, question.finest)
    meta: dict[str, Any] = {
        "title": meant.title,
        "level": level,
        "enclosed": drawn.enclosed,
        "asked": share,
        "enclosed_cubic_angstrom": drawn.enclosed * volume.size * pixel**3,
        "side_angstrom": len(volume) * pixel,
        "latent": None if meant.latent is None else meant.latent.tolist(),
    }
    arrays = _arrays(drawn)
    if question.minus is not None:
        difference = meant.voxels - volume
        step = level_of(np.abs(difference), DIFFERING * share)
        for name, sign in (("more_", 1), ("less_", -1)):
            arrays |= _arrays(surface(sign * difference, pixel, step, question.finest), name)
        meta["difference_level"] = step
    return pack(meta, **arrays)


def draft_message(run: InTraining, question: DraftQuestion) -> bytes:
    """A volume's surface, of a run in training.

    Args:
        run: The run.
        question: Which.

    Returns:
        A message as of `volume_message`.
    """
    volume, pixel = run.volume(question.number), run.run.manifest.pixel_size_angstrom
    drawn = surface(volume, pixel, level_of(volume, usual_share(volume)))
    return pack({"side_angstrom": len(volume) * pixel}, **_arrays(drawn))


def _arrays(drawn: Surface, prefix: str = "") -> dict[str, np.ndarray]:
    return {f"{prefix}{name}": getattr(drawn, name) for name in ("vertices", "normals", "faces")}


def sections_message(explored: Explored, question: SectionsQuestion) -> bytes:
    """Three planes through a volume.

    Args:
        explored: The run.
        question: Which.

    Returns:
        A message of `pack`: ``z``, ``y`` and ``x``, the planes across these axes as rows of their
        slower axis; on one scale of grey from ``low`` to ``high``.
    """
    meant = volume_of(explored, question.of)
    voxels = meant.voxels
    at = min(int(question.depth * len(voxels)), len(voxels) - 1)
    low, high = np.quantile(voxels, (DARKEST, BRIGHTEST))
    planes = {"z": voxels[at], "y": voxels[:, at], "x": voxels[:, :, at]}
    meta = {
        "title": meant.title,
        "side": len(voxels),
        "low": float(low),
        "high": float(high),
        "angstrom": (at - len(voxels) // 2) * explored.run.manifest.pixel_size_angstrom,
    }
    return pack(meta, **{k: np.ascontiguousarray(v, np.float32) for k, v in planes.items()})


def write_one(explored: Explored, question: VolumeFileQuestion, folder: Path) -> dict[str, Any]:
    """Write a volume as ``NAME.mrc``.

    Args:
        explored: The run.
        question: Which.
        folder: Where to write, and nowhere else.

    Returns:
        Where it is; JSON values.

    Raises:
        InputError: If the name is not that of a new file in the folder.
    """
    path = new_file(folder, question.name, ".mrc")
    write_volume(
        path, volume_of(explored, question.of).voxels, explored.run.manifest.pixel_size_angstrom
    )
    return {"path": str(path)}
