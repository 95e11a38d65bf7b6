"""In what two sets of particles differ, beyond sets of the same sizes drawn at random."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Float

from cryolatent.analysis.agreement import range_of
from cryolatent.errors import InputError
from cryolatent.runs.finding import Estimate, Record

DRAWS = 400


class Difference(Record):
    """How far two sets lie apart in a quantity."""

    name: str
    """The quantity."""

    first: float | None
    """Mean of the one set; None of a quantity of several columns."""

    second: float | None
    """Mean of the other."""

    distance: float
    """Distance of the means in standard deviations of both sets together; of several columns the
    root of the sum of squares."""

    null: Estimate
    """The same of random sets of the same sizes: mean and the range of 95 %."""

    p: float
    """Share of random sets that lie as far apart."""

    p_of_all: float
    """Share of random sets of which any quantity is as rare: `p` corrected for how many are
    asked."""


def set_differences(
    quantities: Mapping[str, Float[np.ndarray, "n c"]],
    first: Bool[np.ndarray, " n"],
    second: Bool[np.ndarray, " n"],
    *,
    seed: int = 0,
    draws: int = DRAWS,
) -> list[Difference]:
    """Compare two sets of particles, quantity by quantity.

    The null shuffles which particles are of which set; it takes them for independent, which
    particles of one micrograph are not in their defocus.

    Args:
        quantities: Columns of all particles by name; what is not finite counts as the mean.
        first: For each particle whether it is in the one set.
        second: Whether it is in the other; those in both are in none.
        seed: Fixes the random sets.
        draws: Number of random sets.

    Returns:
        One for each quantity, in the same order.

    Raises:
        InputError: If a set has fewer than two particles that the other has not.

    Source:
        Westfall and Young 1993, Resampling-Based Multiple Testing, single-step minP.
    """
    either = np.flatnonzero(first ^ second)
    mine = first[either]
    sizes = int(mine.sum()), int((~mine).sum())
    if min(sizes) < 2:
        found = f"{sizes[0]} and {sizes[1]} particles in one set and not in the other"
        raise InputError("compare", found, "at least 2 and 2", "Choose other sets.")
    values = [_clean(block[either]) for block in quantities.values()]
    ends = np.cumsum([block.shape[1] for block in values])
    raw = np.concatenate(values, axis=1)
    spread = raw.std(axis=0)
    scaled = (raw - raw.mean(axis=0)) / np.where(spread > 0, spread, 1)
    total = scaled.sum(axis=0)

    def distances(chosen: np.ndarray) -> Float[np.ndarray, " q"]:
        inside = scaled[chosen].sum(axis=0)
        apart = inside / sizes[0] - (total - inside) / sizes[1]
        return np.array([np.linalg.norm(part) for part in np.split(apart, ends[:-1])])

    rng = np.random.default_rng(seed)
    seen = distances(np.flatnonzero(mine))
    null = np.stack([distances(rng.permutation(len(mine))[: sizes[0]]) for _ in range(draws)])
    everything = np.vstack([seen, null])
    # of each quantity and draw, the share of draws that are at least as far apart
    ordered = np.sort(everything, axis=0)
    below = [np.searchsorted(o, e - 1e-12) for o, e in zip(ordered.T, everything.T, strict=True)]
    shares = 1 - np.stack(below, axis=1) / len(everything)
    rarest = shares.min(axis=1)
    found = []
    for k, (name, block) in enumerate(zip(quantities, values, strict=True)):
        single = block.shape[1] == 1
        found.append(
            Difference(
                name=name,
                first=float(block[mine].mean()) if single else None,
                second=float(block[~mine].mean()) if single else None,
                distance=float(seen[k]),
                null=range_of(null[:, k]),
                p=float(shares[0, k]),
                p_of_all=float((rarest <= shares[0, k] + 1e-12).mean()),
            )
        )
    return found


def _clean(block: Float[np.ndarray, "n c"]) -> Float[np.ndarray, "n c"]:
    known = np.where(np.isfinite(block), block, np.nan).astype(np.float64)
    counts = np.isfinite(known).sum(axis=0)
    means = np.nansum(known, axis=0) / np.maximum(counts, 1)
    return np.where(np.isfinite(known), known, means)
