"""Refined poses in the conventions of the file that a run read."""

import numpy as np
import torch
from jaxtyping import Int

from cryolatent.data import ParticleStack
from cryolatent.data.magnification import magnified_poses
from cryolatent.data.relion import ANGLES
from cryolatent.data.relion_optics import magnification_of, pixel_sizes_angstrom
from cryolatent.io import StarText, column_text, star_table
from cryolatent.models.beliefs import Beliefs
from cryolatent.physics import SHIFTS, TURNS, Poses

Columns = dict[str, np.ndarray]
RECORDED = "cryolatentRecorded"
"""Begins the names of the columns that hold what the file had."""


def refined_poses(
    beliefs: Beliefs, stack: ParticleStack, images: Int[np.ndarray, " n"]
) -> tuple[Poses, Columns]:
    """Refined poses of some images, and how well they are known.

    Args:
        beliefs: What the run believes, of all particles of the stack in order.
        stack: The particles at their recorded poses.
        images: Positions of images.

    Returns:
        Poses; and standard deviations of turns about one axis in degrees and of shifts along one in
        Å, each the root of the mean variance.
    """
    rows, pixel = torch.from_numpy(images), stack.pixel_size_angstrom
    refined = beliefs.refined(stack.poses, pixel)[rows]
    variance = beliefs.covariance[rows].diagonal(dim1=1, dim2=2)
    turn, shift = (variance[:, which].mean(1).sqrt().numpy() for which in (TURNS, SHIFTS))
    errors = {"pose_error_degrees": np.degrees(turn), "shift_error_angstrom": pixel * shift}
    return refined, errors


def star_columns(text: StarText, rows: Int[np.ndarray, " n"], poses: Poses) -> dict[str, list[str]]:
    """RELION's angles and origins as text, and what stood in their place.

    Args:
        text: The particle file.
        rows: Which of them.
        poses: Refined poses.

    Returns:
        Columns by name; origins in pixels if the file has them so, else in Å.
    """
    table = star_table(text)
    matrices = magnification_of(table)
    poses = magnified_poses(poses, None if matrices is None else matrices[rows])
    angles, origins = (t.numpy() for t in poses.to_relion())
    columns = text.particles.columns
    pixels = "rlnOriginX" in columns and "rlnOriginXAngst" not in columns
    names = [f"rlnOrigin{axis}{'' if pixels else 'Angst'}" for axis in "XY"]
    if pixels:
        origins = origins / pixel_sizes_angstrom(table)[rows, None]
    written = dict(zip((*ANGLES, *names), [*angles.T, *origins.T], strict=True))
    kept = {
        f"{RECORDED}{name.removeprefix('rln')}": column_text(text, name, rows)
        for name in written
        if name in columns
    }
    return kept | {name: [f"{v:.6f}" for v in values] for name, values in written.items()}


def cs_fields(records: np.ndarray, poses: Poses, pixel_size_angstrom: float) -> Columns:
    """Rotation vectors and shifts as cryoSPARC has them, and what stood in their place.

    Args:
        records: The chosen records.
        poses: Refined poses.
        pixel_size_angstrom: Side of a pixel, where the records do not say it.

    Returns:
        Fields by name.
    """
    vectors, shifts = poses.to_cryosparc()
    names = records.dtype.names or ()
    sizes = [n for n in ("alignments3D/psize_A", "blob/psize_A") if n in names]
    pixel = records[sizes[0]] if sizes else np.full(len(records), pixel_size_angstrom)
    written = {
        "alignments3D/pose": vectors.numpy().astype(np.float32),
        "alignments3D/shift": (shifts.numpy() / pixel[:, None]).astype(np.float32),
    }
    kept = {f"cryolatent/recorded_{n.split('/')[1]}": records[n] for n in written if n in names}
    return kept | written
