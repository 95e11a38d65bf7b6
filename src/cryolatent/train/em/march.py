"""Where a search halts on its way to the last shell, and what it takes along."""

from jaxtyping import Float
from torch import Tensor

from cryolatent.physics import FourierLattice
from cryolatent.train.em.volumes import MaskedVolumes

EDGE = 0.05
"""Mask below which a field has no say."""


def marching(last: int, first: int = 4) -> list[int]:
    """The shells at which a search halts on its way to the last.

    Args:
        last: Last shell.
        first: First halt.

    Returns:
        Ascending; two more each time, or a third more from the twelfth shell on.
    """
    halts = [min(first, last)]
    while halts[-1] < last:
        step = 2 if halts[-1] < 12 else round(halts[-1] / 3)
        halts.append(min(last, halts[-1] + step))
    # a last step that is much shorter than the others is not worth a halt
    if len(halts) > 2 and halts[-1] - halts[-2] < 0.15 * last:
        del halts[-2]
    return halts


def regrown(
    values: Tensor, smaller: FourierLattice, space: MaskedVolumes
) -> Float[Tensor, "f z y x"]:
    """Fields of a larger lattice whose transform is that of a smaller one.

    Args:
        values: Transforms of the fields on the smaller lattice.
        smaller: The smaller lattice.
        space: The larger lattice's space.

    Returns:
        Fields; where the mask is nearly zero they are zero.
    """
    lattice = space.lattice
    grown = values if smaller == lattice else lattice.grown_from(values, smaller)
    return lattice.to_field(grown) / space.mask.clamp(min=EDGE) * (space.mask > EDGE)
