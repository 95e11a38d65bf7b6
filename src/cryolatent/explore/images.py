"""Images of particles as the page draws them."""

from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from cryolatent.analysis.particle_images import DETAIL_PIXELS
from cryolatent.errors import InputError
from cryolatent.explore.explored import Explored
from cryolatent.explore.questions import ImagesQuestion
from cryolatent.explore.wire import pack

WIDEST = 128
DARKEST, BRIGHTEST = 0.005, 0.995


def images_message(explored: Explored, question: ImagesQuestion) -> bytes:
    """A page of particles.

    Args:
        explored: The run.
        question: Which.

    Returns:
        A message of `pack`: ``raw``, ``low_passed``, and of a run with a decoder ``expected`` and
        ``residual``, all of one kind on one scale of grey, with ``chi_squared`` of each shell.

    Raises:
        InputError: If the page is beyond the last, or the run has no images.
    """
    if not explored.has_particles:
        raise InputError(
            explored.run.path,
            "no images of its particles",
            f"the file {explored.run.input}",
            "Say where it is now: cryolatent explore --relocate OLD=NEW",
        )
    rows = ordered_rows(explored, question)
    here = rows[question.page * question.size :][: question.size]
    if not len(here):
        raise InputError(
            explored.run.path,
            f"page {question.page + 1} of {len(rows):,} particles",
            f"one of {-(-len(rows) // question.size)}",
            "Choose another.",
        )
    detail = question.low_pass_angstrom or DETAIL_PIXELS * explored.stack.pixel_size_angstrom
    found = explored.images(here, detail)
    shown = {"raw": found.raw, "low_passed": found.low_passed}
    meta: dict[str, Any] = {
        "particles": len(rows),
        "low_pass_angstrom": detail,
        "pixel_size_angstrom": explored.stack.pixel_size_angstrom,
        "rows": here.tolist(),
        "ids": explored.latents.ids[here].tolist(),
        "clusters": explored.column("cluster").values[here].astype(int).tolist(),
    }
    arrays = {}
    if found.expected is not None and found.residual is not None:
        shown |= {"expected": found.expected, "residual": found.residual}
    if found.chi_squared is not None and found.contrast is not None:
        arrays["chi_squared"] = found.chi_squared[:, 1:].astype(np.float32)
        meta["contrasts"] = found.contrast.tolist()
        weights = explored.stack.disc.shell_count()[1:].numpy()
        meta["chi_squared"] = np.average(found.chi_squared[:, 1:], axis=1, weights=weights).tolist()
    small = {name: thinned(images) for name, images in shown.items()}
    meta["side"] = small["raw"].shape[-1]
    meta["kinds"] = list(small)
    return pack(meta, **{name: greys(images) for name, images in small.items()}, **arrays)


def ordered_rows(explored: Explored, question: ImagesQuestion) -> np.ndarray:
    """Particles of a selection in the order asked for.

    Args:
        explored: The run.
        question: Which.

    Returns:
        Their rows; those without a value in the column come last.
    """
    rows = np.flatnonzero(explored.mask(question.selection))
    if not question.selection.steps:
        rows = np.arange(explored.rows)
    if question.order is None:
        return rows
    values = explored.column(question.order).values[rows]
    return rows[np.argsort(-values if question.descending else values, kind="stable")]


def thinned(images: Float[np.ndarray, "n y x"]) -> Float[np.ndarray, "n v u"]:
    """Large images at a fraction of their size.

    Args:
        images: Of an even side.

    Returns:
        Means of squares of pixels, at most `WIDEST` to a side.
    """
    side = images.shape[-1]
    step = -(-side // WIDEST)
    kept = side // step
    cut = images[:, : kept * step, : kept * step]
    return cut.reshape(-1, kept, step, kept, step).mean(axis=(2, 4))


def greys(images: Float[np.ndarray, "n y x"]) -> UInt8[np.ndarray, "n y x"]:
    """Images on one scale of grey.

    Args:
        images: One kind of image.

    Returns:
        0 for the darkest half per cent of all pixels, 255 for the brightest.
    """
    low, high = np.quantile(images, (DARKEST, BRIGHTEST))
    scaled = (images - low) / ((high - low) or 1.0)
    return np.round(255 * np.clip(scaled, 0, 1)).astype(np.uint8)
