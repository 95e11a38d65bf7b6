"""Point groups in RELION's orientations."""

import re

import numpy as np
import torch
from jaxtyping import Float
from scipy.spatial.transform import Rotation
from torch import Tensor

from cryolatent.errors import InputError

GOLDEN = (1 + 5**0.5) / 2
TILT = np.arctan(1 / GOLDEN)
LARGEST_ORDER = 200


def symmetry_rotations(name: str) -> Float[Tensor, "g 3 3"]:
    """The rotations of a point group.

    A volume has the symmetry if it is the same at x and at ``g x`` for every rotation g; then its
    slices at the rotations R and ``R g`` are the same.

    Args:
        name: ``Cn`` (n-fold axis on z); ``Dn`` (n-fold on z, two-fold on x); ``T`` (three-fold on
            z, two-fold in the plane of y and z); ``O`` (four-fold on x, y and z); ``I`` or ``I2``
            (two-fold on x, y and z, five-fold in the plane of x and z), ``I1`` (the same turned by
            90 degrees about z), ``I3`` and ``I4`` (five-fold on z, two-fold in the plane of x and
            z). As in RELION; upper or lower case.

    Returns:
        The group's rotations, the identity first.

    Raises:
        InputError: If there is no such group.
    """
    group = name.upper()
    cyclic = re.fullmatch(r"[CD]([1-9]\d*)", group)
    if cyclic is not None and int(cyclic[1]) <= LARGEST_ORDER:
        rotations = Rotation.create_group(group, axis="Z")
    elif group in _FRAMES:
        turn = _FRAMES[group]
        rotations = turn * Rotation.create_group(group[0]) * turn.inv()
    else:
        raise InputError(
            "`symmetry`",
            name,
            f"C1 to C{LARGEST_ORDER}, D1 to D{LARGEST_ORDER}, T, O, I, I1, I2, I3 or I4",
            "Name the point group as in RELION.",
        )
    matrices = rotations.as_matrix()
    identity_first = np.argsort(rotations.magnitude() > 1e-6, kind="stable")
    return torch.from_numpy(matrices[identity_first]).float()


def _tetrahedral_frame() -> Rotation:
    """Turns SciPy's three-fold axis (1, 1, 1) to z and its two-fold axis z to RELION's."""
    theirs = np.array([[0, 0, 1], [0, (2 / 3) ** 0.5, (1 / 3) ** 0.5]])
    ours = np.array([[1, 1, 1], [0, 0, 3**0.5]]) / 3**0.5
    return Rotation.align_vectors(theirs, ours)[0]


_QUARTER = Rotation.from_euler("z", np.pi / 2)
_FRAMES = {
    "T": _tetrahedral_frame(),
    "O": Rotation.identity(),
    "I": _QUARTER,
    "I1": Rotation.identity(),
    "I2": _QUARTER,
    "I3": Rotation.from_euler("y", -TILT) * _QUARTER,
    "I4": Rotation.from_euler("y", TILT) * _QUARTER,
}
"""Turns SciPy's group of that letter to RELION's orientation."""
