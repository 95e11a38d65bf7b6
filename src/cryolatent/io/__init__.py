"""Files to arrays and back: MRC, STAR, IDX."""

from cryolatent.io.arrays import read_arrays
from cryolatent.io.idx import read_idx
from cryolatent.io.mrc import (
    new_stack,
    read_images,
    read_mask,
    read_volume,
    stack_shape,
    write_volume,
)
from cryolatent.io.star import StarTable, read_star, split_image_name, write_star

__all__ = [
    "StarTable",
    "new_stack",
    "read_arrays",
    "read_idx",
    "read_images",
    "read_mask",
    "read_star",
    "read_volume",
    "split_image_name",
    "stack_shape",
    "write_star",
    "write_volume",
]
