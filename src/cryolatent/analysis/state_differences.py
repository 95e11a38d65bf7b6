"""Maps of states compared: differences with their noise, local resolution, occupancies of masks."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy import ndimage
from torch import Tensor

from cryolatent.analysis.map_details import (
    DifferenceMap,
    LocalResolution,
    MapDetails,
    Occupancy,
    Region,
)
from cryolatent.analysis.reconstruction import RESOLVED, Reconstruction, reconstruct, write_maps
from cryolatent.analysis.state_maps import Members
from cryolatent.analysis.summary import Cluster
from cryolatent.io import read_mask, read_volume, write_volume
from cryolatent.physics.half_maps import (
    Difference,
    Halves,
    difference,
    discovery_level,
    local_resolution,
    mask_noise,
)
from cryolatent.physics.reconstruction import half_map_mask
from cryolatent.progress import Stage, silent
from cryolatent.runs.finding import Estimate

CONSENSUS = "consensus"
REGIONS, SMALL = 3, 0.1
"""Regions that are listed, and the least of them, as a share of the largest."""

SMOOTH = 0.5
"""Of the last shell used: smoothness of the map in which the molecule is found without a mask."""


@dataclass(frozen=True)
class Comparison:
    """Maps to be compared, and where they are written.

    Args:
        root: Run directory, which files are named relative to.
        folder: Of the maps.
        members: The particles.
        consensus: The map of all.
        inside: Voxels of the molecule.
    """

    root: Path
    folder: Path
    members: Members
    consensus: Reconstruction
    inside: Bool[Tensor, "z y x"]

    @property
    def pixel(self) -> float:
        """Pixel size, in Å."""
        return self.consensus.pixel_size_angstrom

    def write(self, name: str, volume: Float[Tensor, "z y x"]) -> str:
        """Write a volume, and say how it is named in a summary."""
        path = self.folder / f"{name}.mrc"
        write_volume(path, volume.numpy(), self.pixel)
        return path.relative_to(self.root).as_posix()

    def halves(self, cluster: Cluster) -> Halves:
        """The half-maps of a state that has some."""
        paths = [self.folder / f"{_name(cluster)}_half{half}.mrc" for half in (1, 2)]
        first, second = (torch.from_numpy(read_volume(path)[0]) for path in paths)
        return first, second


def with_details(
    members: Members,
    found: Sequence[Cluster],
    folder: Path,
    *,
    root: Path,
    masks: Sequence[Path] = (),
    stage: Stage = silent,
) -> list[Cluster]:
    """Compare the maps of states with the consensus and with each other, and write what differs.

    Args:
        members: Particles and weights that the maps were made of.
        found: States or clusters, with their maps in `folder`.
        folder: Where the half-maps lie, and ``consensus.mrc``, ``state_0-consensus.mrc``,
            ``state_0-consensus_significance.mrc``, ``state_0_local_resolution.mrc`` ... go.
        root: Run directory, which files are named relative to.
        masks: MRC files of masks whose occupancy is wanted.
        stage: Told of the progress.

    Returns:
        The states with their maps' details; unchanged where there is no map.

    Raises:
        InputError: If a mask does not fit.
    """
    box, pixel = members.stack.images.box, members.stack.pixel_size_angstrom
    given = {path.name: torch.from_numpy(read_mask(path, box, pixel)) for path in masks}
    mapped = [cluster for cluster in found if cluster.measured is not None]
    if not mapped:
        return list(found)
    consensus = reconstruct(
        members.stack,
        weights=members.weights.sum(1),
        mask=members.mask,
        seed=members.seed,
        stage=lambda name, total: stage(f"consensus: {name}", total),
    )
    write_maps(consensus, folder, CONSENSUS, f"{CONSENSUS}_half1", f"{CONSENSUS}_half2")
    at = Comparison(root, folder, members, consensus, _inside(consensus))
    occupied = _occupancies(at, mapped, given)
    advance, details = stage("differences", len(mapped)), {}
    for done, cluster in enumerate(mapped, 1):
        details[cluster.number] = MapDetails(
            local_resolution=_local(at, cluster),
            differences=_differences(at, cluster, mapped) if len(found) > 1 else (),
            occupancies=occupied[cluster.number],
        )
        advance(done)
    return [
        cluster.model_copy(
            update={
                "measured": cluster.measured.model_copy(update={"details": details[cluster.number]})
            }
        )
        if cluster.measured is not None
        else cluster
        for cluster in found
    ]


def _inside(consensus: Reconstruction) -> Bool[Tensor, "z y x"]:
    mask = consensus.mask
    if mask is None:
        mask = half_map_mask(*consensus.halves, SMOOTH * consensus.last_shell)
    return mask > 0.5 if mask.any() else torch.ones_like(mask, dtype=torch.bool)


def _local(at: Comparison, cluster: Cluster) -> LocalResolution:
    found = local_resolution(at.halves(cluster), at.pixel, at.consensus.last_shell)
    quartiles = np.quantile(found[at.inside].numpy(), (0.25, 0.5, 0.75)).tolist()
    file = at.write(f"{_name(cluster)}_local_resolution", found)
    return LocalResolution(file=file, quartiles_angstrom=tuple(quartiles))


def _differences(
    at: Comparison, cluster: Cluster, mapped: Sequence[Cluster]
) -> tuple[DifferenceMap, ...]:
    """None of a map whose halves have nothing in common, nor from such a one."""
    if _is_noise(cluster):
        return ()
    own, name = at.halves(cluster), _name(cluster)
    others = [c for c in mapped if c.number != cluster.number and not _is_noise(c)]
    made = [_difference(own, at.halves(c), torch.minimum(_fsc(c), _fsc(cluster))) for c in others]
    rows = [_row(at, c.number, found, at.halves(c)) for c, found in zip(others, made, strict=True)]
    nearest = min(rows, key=lambda row: (row.mass, row.voxels), default=None)
    rows = [
        _written(at, row, found, f"{name}-{_name(other)}") if row is nearest else row
        for row, found, other in zip(rows, made, others, strict=True)
    ]
    fsc = torch.minimum(_fsc(cluster), at.consensus.fsc)
    found = _difference(own, at.consensus.halves, fsc)
    row = _row(at, None, found, at.consensus.halves)
    return _written(at, row, found, f"{name}-{CONSENSUS}"), *rows


def _difference(own: Halves, theirs: Halves, fsc: Float[Tensor, " shells"]) -> Difference:
    return difference(own, theirs, _wiener(fsc))


def _row(at: Comparison, against: int | None, found: Difference, theirs: Halves) -> DifferenceMap:
    levels = [discovery_level(z, at.inside) for z in (found.significance, found.null_significance)]
    chosen, null = (
        at.inside & (z.abs() >= (float("inf") if level is None else level))
        for z, level in zip((found.significance, found.null_significance), levels, strict=True)
    )
    return DifferenceMap(
        against=against,
        file=None,
        significance=None,
        level=levels[0],
        voxels=int(chosen.sum()),
        share=float(chosen.sum() / at.inside.sum()),
        null_voxels=int(null.sum()),
        regions=_regions(at, found, chosen, theirs),
    )


def _written(at: Comparison, row: DifferenceMap, found: Difference, name: str) -> DifferenceMap:
    files = {
        "file": at.write(name, found.volume),
        "significance": at.write(f"{name}_significance", found.significance),
    }
    return row.model_copy(update=files)


def _regions(
    at: Comparison, found: Difference, chosen: Bool[Tensor, "z y x"], theirs: Halves
) -> tuple[Region, ...]:
    total = float(((theirs[0] + theirs[1]) / 2)[at.inside].sum())
    values, regions = found.volume.numpy(), []
    for sign in (1, -1):
        pieces, count = ndimage.label((chosen & (found.volume * sign > 0)).numpy())  # pyright: ignore
        numbers = np.arange(1, count + 1)
        masses = ndimage.sum_labels(values, pieces, numbers) / total
        for number in numbers[np.argsort(-np.abs(masses))[:REGIONS]]:
            places = np.argwhere(pieces == number)
            x, y, z = (at.pixel * places.mean(axis=0))[::-1].tolist()
            mass = float(masses[number - 1])
            regions.append(Region(voxels=len(places), mass=mass, centre_angstrom=(x, y, z)))
    regions.sort(key=lambda region: -abs(region.mass))
    return tuple(r for r in regions[:REGIONS] if abs(r.mass) > SMALL * abs(regions[0].mass))


def _occupancies(
    at: Comparison, mapped: Sequence[Cluster], masks: dict[str, Float[Tensor, "z y x"]]
) -> dict[int, tuple[Occupancy, ...]]:
    rows: dict[int, list[Occupancy]] = {cluster.number: [] for cluster in mapped}
    for name, mask in masks.items():
        sums = {c.number: _behind(at.halves(c), mask) for c in mapped}
        most, noise_of_most = max(sums.values())
        for number, (density, noise) in sums.items():
            value = density / most
            error = 1.96 * float(np.hypot(noise, value * noise_of_most)) / abs(most)
            interval = Estimate(value=value, low=value - error, high=value + error)
            rows[number].append(Occupancy(mask=name, value=interval))
    return {number: tuple(row) for number, row in rows.items()}


def _behind(halves: Halves, mask: Float[Tensor, "z y x"]) -> tuple[float, float]:
    """Density behind a mask and its standard deviation."""
    mean, null = (halves[0] + halves[1]) / 2, (halves[0] - halves[1]) / 2
    return float((mean * mask).sum()), mask_noise(null, mask)


def _wiener(fsc: Float[Tensor, " shells"]) -> Float[Tensor, " shells"]:
    """``2 FSC / (1 + FSC)`` as far as it is above 0.143; shell 0, which no image shows, is kept."""
    alive = (fsc[1:] > RESOLVED).cumprod(0)
    weights = (2 * fsc / (1 + fsc)).clamp(0, 1)
    weights[1:] *= alive
    weights[0] = weights[1]
    return weights


def _is_noise(cluster: Cluster) -> bool:
    return cluster.measured is None or cluster.measured.resolution_angstrom is None


def _fsc(cluster: Cluster) -> Float[Tensor, " shells"]:
    return torch.tensor(() if cluster.measured is None else cluster.measured.fsc)


def _name(cluster: Cluster) -> str:
    return Path("" if cluster.measured is None else cluster.measured.file).stem
