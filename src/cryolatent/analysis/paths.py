"""Paths through latent space: straight, along a principal axis, by points, where particles are."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from cryolatent.analysis.embedding import principal_components
from cryolatent.errors import InputError
from cryolatent.models.latents import Latents

NEIGHBOURS = 12
"""Of each particle, to which a path may step."""

MOST = 5_000
"""Particles that a path is looked for among."""

HOP = 2.0
"""Power of a step's length: a large one, over no particles, costs more than many small ones."""

TINY = 1e-9
"""Length of a step between two particles at one place, which a graph would take for none."""

ENDS = (0.05, 0.95)
"""Quantiles of the particles between which a principal axis is followed."""


def along(points: Float[Tensor, "p zdim"], frames: int) -> Float[Tensor, "f zdim"]:
    """Walk along a polygon in even steps.

    Args:
        points: Its corners, at least one.
        frames: Number of places, at least two.

    Returns:
        Places from the first corner to the last.
    """
    lengths = (points[1:] - points[:-1]).norm(dim=-1)
    reached = torch.cat([torch.zeros(1), lengths.cumsum(0)])
    wanted = torch.linspace(0, float(reached[-1]), frames)
    columns = [np.interp(wanted, reached, column) for column in points.T.numpy()]
    return torch.from_numpy(np.stack(columns, axis=-1)).to(points.dtype)


def principal_path(latents: Float[Tensor, "n zdim"], axis: int) -> Float[Tensor, "2 zdim"]:
    """The ends of a line through the mean along a principal axis.

    Args:
        latents: Posterior means.
        axis: Number of the axis, from 0, by falling variance.

    Returns:
        Where a twentieth of the particles lie before it, and a twentieth beyond it.

    Raises:
        InputError: If there is no such axis.
    """
    values = latents.double().numpy()
    if not 0 <= axis < values.shape[1]:
        expected = f"0 to {values.shape[1] - 1}" if values.shape[1] else "a latent with dimensions"
        raise InputError("`axis`", str(axis), expected, "Ask for another.")
    coordinates, _ = principal_components(values)
    centred = values - values.mean(0)
    direction = np.linalg.lstsq(coordinates, centred, rcond=None)[0][axis]
    ends = np.quantile(coordinates[:, axis], ENDS)
    return torch.from_numpy(values.mean(0) + ends[:, None] * direction).to(latents.dtype)


def populated_path(
    latents: Float[Tensor, "n zdim"], ends: Float[Tensor, "2 zdim"], *, seed: int = 0
) -> Float[Tensor, "p zdim"]:
    """The shortest way between two places that leads over particles.

    Each particle is joined to its nearest neighbours; a step costs the square of its length, so
    that a way through populated places is shorter than the straight one over empty ones.

    Args:
        latents: Posterior means.
        ends: Where it begins and ends.
        seed: Fixes which particles are used, if there are more than `MOST`.

    Returns:
        The corners of the way, with both ends; those between are means of a particle's neighbours.
    """
    from scipy.sparse.csgraph import dijkstra
    from sklearn.neighbors import NearestNeighbors

    generator = torch.Generator().manual_seed(seed)
    rows = torch.randperm(len(latents), generator=generator)[:MOST]
    nodes = torch.cat([ends, latents[rows]]).double().numpy()
    wanted = min(NEIGHBOURS, len(nodes) - 1)
    finder = NearestNeighbors(n_neighbors=wanted).fit(nodes)
    graph = finder.kneighbors_graph(mode="distance")
    graph = graph.maximum(graph.T)
    graph = _joined(nodes, graph)
    graph.data = np.maximum(graph.data, TINY) ** HOP
    _, before = dijkstra(graph, directed=False, indices=0, return_predecessors=True)
    way = [1]
    while way[-1] != 0:
        way.append(int(before[way[-1]]))
    near = finder.kneighbors(nodes[way[::-1]], return_distance=False)
    corners = nodes[near].mean(axis=1)
    corners[0], corners[-1] = nodes[0], nodes[1]
    return torch.from_numpy(corners).to(latents.dtype)


def place_named(latents: Latents, name: str, option: str) -> Float[Tensor, " zdim"]:
    """A place by a particle's name or by its coordinates.

    Args:
        latents: Those of a run.
        name: A particle, or numbers separated by commas.
        option: What asked for it.

    Returns:
        The place.

    Raises:
        InputError: If it is neither.
    """
    means = latents.distribution.mean
    found = np.flatnonzero(latents.ids == name)
    if len(found):
        return means[int(found[0])]
    try:
        numbers = [float(part) for part in name.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != means.shape[1] or not np.isfinite(numbers).all():
        raise InputError(
            f"`{option}`",
            name,
            f"a particle such as {latents.ids[0]}, or {means.shape[1]} numbers and commas",
            "Names are those of the STAR file, numbers are latents.",
        )
    return torch.tensor(numbers)


def read_points(latents: Latents, lines: Sequence[str], source: str) -> Float[Tensor, "p zdim"]:
    """Places from the lines of a file.

    Args:
        latents: Those of a run.
        lines: A place each, as `place_named` reads it; empty ones are passed over.
        source: Name of the file.

    Returns:
        At least two places.

    Raises:
        InputError: If a line cannot be read, or there are fewer than two.
    """
    names = [line.strip() for line in lines if line.strip()]
    if len(names) < 2:
        found = f"{len(names)} place{'s' * (len(names) != 1)}"
        raise InputError(source, found, "at least two, one a line", "Add some.")
    return torch.stack([place_named(latents, name, "points") for name in names])


def _joined(nodes: Float[np.ndarray, "n zdim"], graph: Any) -> Any:
    """Join pieces of a graph to the first by their nearest nodes."""
    from scipy.sparse.csgraph import connected_components
    from scipy.spatial import KDTree

    graph = graph.tolil()
    while True:
        count, piece = connected_components(graph, directed=False)
        if count == 1:
            return graph.tocsr()
        inside, outside = np.flatnonzero(piece == piece[0]), np.flatnonzero(piece != piece[0])
        found: Any = KDTree(nodes[inside]).query(nodes[outside])
        distance, nearest = found
        best = int(distance.argmin())
        graph[inside[nearest[best]], outside[best]] = max(distance[best], TINY)
