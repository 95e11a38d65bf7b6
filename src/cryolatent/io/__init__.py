"""Files to arrays and back: MRC, STAR, cryoSPARC's .cs, cryoDRGN's pickles, IDX."""

from cryolatent.io.arrays import read_arrays
from cryolatent.io.cs import read_cs, write_cs
from cryolatent.io.idx import read_idx
from cryolatent.io.mrc import (
    new_stack,
    read_images,
    read_mask,
    read_volume,
    stack_pixel_size,
    stack_shape,
    write_volume,
)
from cryolatent.io.pickles import read_pickles
from cryolatent.io.star import (
    StarTable,
    read_star,
    split_image_name,
    split_image_names,
    star_table,
    write_star,
)
from cryolatent.io.star_rows import column_text, subset
from cryolatent.io.star_text import StarText, read_star_text

__all__ = [
    "StarTable",
    "StarText",
    "column_text",
    "new_stack",
    "read_arrays",
    "read_cs",
    "read_idx",
    "read_images",
    "read_mask",
    "read_pickles",
    "read_star",
    "read_star_text",
    "read_volume",
    "split_image_name",
    "split_image_names",
    "stack_pixel_size",
    "stack_shape",
    "star_table",
    "subset",
    "write_cs",
    "write_star",
    "write_volume",
]
