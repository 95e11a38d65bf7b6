"""Numbers to the page: one JSON header and arrays behind it, as `static/api.js` reads them."""

import json
from typing import Any

import numpy as np

ALIGNMENT = 4


def pack(meta: dict[str, Any], **arrays: np.ndarray) -> bytes:
    """Put values and arrays into one message.

    Args:
        meta: JSON values.
        arrays: Of float32, uint32 or uint8, by name.

    Returns:
        The header's length as four bytes (little-endian), the header, and the arrays, each of them
        begun at a multiple of four bytes.

    Raises:
        TypeError: If an array is of another type.
    """
    blocks, places, offset = [], {}, 0
    for name, array in arrays.items():
        if array.dtype not in (np.float32, np.uint32, np.uint8):
            raise TypeError(f"{name} is of {array.dtype}")
        block = array.astype(array.dtype.newbyteorder("<")).tobytes()
        block += b"\0" * (-len(block) % ALIGNMENT)
        places[name] = {"type": array.dtype.name, "length": array.size, "offset": offset}
        blocks.append(block)
        offset += len(block)
    header = json.dumps({"meta": meta, "arrays": places}, allow_nan=False).encode()
    header += b" " * (-len(header) % ALIGNMENT)
    return b"".join([len(header).to_bytes(4, "little"), header, *blocks])
