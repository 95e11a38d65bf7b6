"""Colours that mean the same thing everywhere on the page."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from cryolatent.analysis.summary import Cluster
from cryolatent.report.findings import Findings

# Okabe and Ito's colour-blind-safe set without yellow and black, which vanish on white or on dark
# paper, and two more of similar lightness.
HUES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7b5ea7", "#8c6d31")
DIGITS = (*HUES, "#5a5f66", "#a8a000")
JUNK_COLOUR = "#8b929b"
_WHITE, _BLACK = np.array([255.0] * 3), np.array([0.0] * 3)
_VARIANTS = ((_WHITE, 0.0), (_WHITE, 0.58), (_BLACK, 0.4), (_BLACK, 0.62))
_VARIANTS += ((_WHITE, 0.32), (_BLACK, 0.22), (_WHITE, 0.74), (_BLACK, 0.52))


@dataclass(frozen=True)
class Shade:
    """The colour of a cluster.

    Args:
        colour: Hexadecimal colour.
        hue: What it stands for: a true state, or the first run's cluster.
        variant: Distinguishes clusters of one hue.
    """

    colour: str
    hue: int
    variant: int


def shade(hue: int, variant: int = 0) -> Shade:
    """A colour by what it stands for.

    Args:
        hue: Number of the meaning; hues beyond the palette's repeat as another variant.
        variant: Number among those of equal meaning; the first is the palette's own colour.

    Returns:
        The shade.
    """
    towards, amount = _VARIANTS[(variant + hue // len(HUES)) % len(_VARIANTS)]
    return Shade(_tint(HUES[hue % len(HUES)], towards, amount), hue, variant)


def _tint(base: str, towards: Float[np.ndarray, "3"], amount: float) -> str:
    rgb = np.array([int(base[i : i + 2], 16) for i in (1, 3, 5)])
    mixed = np.rint(rgb + amount * (towards - rgb)).astype(int)
    return "#" + "".join(f"{channel:02x}" for channel in mixed)


def junk_shade(hue: int, variant: int) -> Shade:
    """A grey for a cluster in which junk prevails.

    Args:
        hue: What it stands for.
        variant: Number among the clusters of junk; the first has the colour of junk itself.

    Returns:
        The shade.
    """
    towards, amount = _VARIANTS[variant % len(_VARIANTS)]
    return Shade(_tint(JUNK_COLOUR, towards, 0.7 * amount), hue, variant)


def state_colour(state: int) -> str:
    """The colour of a true state.

    Args:
        state: Number of the state, -1 for junk.

    Returns:
        Hexadecimal colour.
    """
    return JUNK_COLOUR if state < 0 else shade(state).colour


def angle_colours(degrees: Float[np.ndarray, " n"]) -> list[str]:
    """Colours of true angles, from dark to light over the range that occurs.

    Args:
        degrees: Angles; NaN where nothing moves.

    Returns:
        Hexadecimal colours.
    """
    # Importing matplotlib takes longer than answering --help may.
    from matplotlib import colormaps
    from matplotlib.colors import Normalize, to_hex

    known = np.isfinite(degrees)
    scale = Normalize(degrees[known].min(), degrees[known].max())
    # The lightest tenth would vanish on white.
    colours = colormaps["viridis"](0.9 * scale(np.where(known, degrees, 0.0)))
    return [to_hex(c) if k else JUNK_COLOUR for c, k in zip(colours, known, strict=True)]


def cluster_shades(findings: Sequence[Findings]) -> list[dict[int, Shade]]:
    """Give each cluster a colour.

    Where the truth is known for all runs a cluster has its nearest state's colour, in another
    tint if it is not that state's largest cluster. Otherwise the first run's clusters have one
    colour each, and another run's clusters those of the clusters that they share most particles
    with.

    Args:
        findings: All runs of the page.

    Returns:
        For each run, the shade of each cluster by its number.
    """
    names = {f.summary.truth.state_names if f.summary.truth else None for f in findings}
    if len(names) == 1 and None not in names:
        return [_by_state(f) for f in findings]
    first = {cluster.number: i for i, cluster in enumerate(findings[0].summary.clusters)}
    shades = [{number: shade(hue) for number, hue in first.items()}]
    return shades + [_by_match(findings[0], first, f) for f in findings[1:]]


def _by_state(findings: Findings) -> dict[int, Shade]:
    truth = findings.summary.truth
    names = () if truth is None else truth.state_names
    seen: Counter[int] = Counter()
    shades = {}
    for cluster in findings.summary.clusters:
        name = prevailing_state(cluster)
        hue = len(names) if name is None else names.index(name)
        shades[cluster.number] = (shade if name else junk_shade)(hue, seen[hue])
        seen[hue] += 1
    return shades


def prevailing_state(cluster: Cluster) -> str | None:
    """The state that a cluster shows.

    Args:
        cluster: A cluster.

    Returns:
        Its nearest state; None if the truth is not known or no particle is in that state, as in a
        cluster of junk.
    """
    return cluster.nearest_state if cluster.purity else None


def _by_match(first: Findings, hues: dict[int, int], other: Findings) -> dict[int, Shade]:
    # Importing scipy.optimize takes a third of a second.
    from scipy.optimize import linear_sum_assignment

    columns = [cluster.number for cluster in other.summary.clusters]
    counts = shared_counts(first, other, list(hues), columns)
    pairs = zip(*linear_sum_assignment(-counts), strict=True)
    matched = {columns[column]: hues[list(hues)[row]] for row, column in pairs}
    free = iter(range(len(hues), len(hues) + len(columns)))
    return {n: shade(matched[n] if n in matched else next(free)) for n in columns}


def shared_counts(
    first: Findings, other: Findings, rows: list[int], columns: list[int]
) -> Int[np.ndarray, "rows columns"]:
    """Count the particles that two runs put into each pair of clusters.

    Args:
        first: One run.
        other: Another.
        rows: Numbers of the first run's clusters.
        columns: Numbers of the other's.

    Returns:
        Number of shared particles of each pair.
    """
    shared = [name for name in first.rows if name in other.rows]
    a = first.clusters[[first.rows[name] for name in shared]]
    b = other.clusters[[other.rows[name] for name in shared]]
    return np.array([[int(((a == r) & (b == c)).sum()) for c in columns] for r in rows])
