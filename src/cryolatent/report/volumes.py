"""Maps of states or clusters as surfaces, central slices and projections."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8

from cryolatent.analysis.summary import Cluster
from cryolatent.io import read_volume
from cryolatent.report.colours import Shade
from cryolatent.report.differences import difference_picture
from cryolatent.report.findings import Findings
from cryolatent.report.surfaces import equal_levels, picture, surface

TILE_PIXELS, GAP_PIXELS = 144, 4


@dataclass(frozen=True)
class ClusterCard:
    """A cluster with pictures of its volume.

    Args:
        cluster: Its numbers.
        shade: Its colour.
        slices: Three central slices of the model's volume side by side, as a data URI; empty
            without a decoder.
        projections: Three projections of it side by side.
        measured: Three central slices of the map of its own particles; empty without one.
        surface: The volume, or without a decoder that map, as a surface from two sides.
        difference: Where that map has more and less than the consensus; empty where nothing is
            beyond noise.
    """

    cluster: Cluster
    shade: Shade
    slices: str
    projections: str
    measured: str
    surface: str
    difference: str


def cluster_cards(findings: Findings, shades: dict[int, Shade]) -> list[ClusterCard]:
    """Picture the volumes of a run's clusters.

    Args:
        findings: A run.
        shades: Colours of its clusters.

    Returns:
        One card per cluster, those of equal meaning in the same place for all runs.

    Raises:
        InputError: If a volume is missing or unreadable.
    """
    clusters = sorted(
        findings.summary.clusters, key=lambda c: (shades[c.number].hue, shades[c.number].variant)
    )
    shown = {c.number: c.volume or (c.measured and c.measured.file) for c in clusters}
    volumes = {n: read_volume(findings.run.path / file)[0] for n, file in shown.items() if file}
    levels = dict(zip(volumes, equal_levels(list(volumes.values())), strict=True))
    cards = []
    for cluster in clusters:
        shade, drawn = shades[cluster.number], ""
        if cluster.number in volumes:
            seen = volumes[cluster.number], levels[cluster.number], shade.colour
            drawn = picture([surface(*seen), surface(*seen, turned=True)])
        cards.append(_card(findings, cluster, shade, drawn))
    return cards


def _card(findings: Findings, cluster: Cluster, shade: Shade, drawn: str) -> ClusterCard:
    """Each picture in greys of its own, so that no other volume's range washes it out."""
    slices = projections = measured = differs = ""
    if cluster.volume is not None:
        volume = read_volume(findings.run.path / cluster.volume)[0]
        slices = strips([central_slices(volume)])[0]
        projections = strips([axis_projections(volume)])[0]
    if cluster.measured is not None:
        volume = read_volume(findings.run.path / cluster.measured.file)[0]
        measured = strips([central_slices(volume)])[0]
        if cluster.measured.details is not None:
            for difference in cluster.measured.details.differences[:1]:
                differs = difference_picture(findings.run.path, difference)
    return ClusterCard(cluster, shade, slices, projections, measured, drawn, differs)


def central_slices(volume: Float[np.ndarray, "d d d"]) -> Float[np.ndarray, "3 d d"]:
    """The slices through the centre, voxel D/2.

    Args:
        volume: Voxels in the order z, y, x.

    Returns:
        Slices across z, y and x.
    """
    centre = len(volume) // 2
    return np.stack([volume.take(centre, axis=axis) for axis in range(3)])


def axis_projections(volume: Float[np.ndarray, "d d d"]) -> Float[np.ndarray, "3 d d"]:
    """The projections along the axes.

    Args:
        volume: Voxels in the order z, y, x.

    Returns:
        Sums along z, y and x.
    """
    return np.stack([volume.sum(axis=axis) for axis in range(3)])


def strips(triples: Sequence[Float[np.ndarray, "3 d d"]]) -> list[str]:
    """Picture triples of images on one grey scale.

    Args:
        triples: Three images each; black is the lowest value of all and white the highest.

    Returns:
        PNG data URIs.
    """
    low = min((float(triple.min()) for triple in triples), default=0.0)
    high = max((float(triple.max()) for triple in triples), default=1.0)
    span = (high - low) or 1.0
    return [_strip(np.rint(255 * (triple - low) / span).astype(np.uint8)) for triple in triples]


def _strip(images: UInt8[np.ndarray, "3 d d"]) -> str:
    from PIL import Image

    size = (TILE_PIXELS, TILE_PIXELS)
    tiles = [Image.fromarray(image).resize(size, Image.Resampling.BICUBIC) for image in images]
    strip = Image.new("LA", (3 * TILE_PIXELS + 2 * GAP_PIXELS, TILE_PIXELS))
    for number, tile in enumerate(tiles):
        opaque = Image.merge("LA", (tile, Image.new("L", tile.size, 255)))
        strip.paste(opaque, (number * (TILE_PIXELS + GAP_PIXELS), 0))
    stream = io.BytesIO()
    strip.save(stream, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()
