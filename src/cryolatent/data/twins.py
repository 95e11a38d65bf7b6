"""Twins: other evidence for the posterior, to find out what it makes of its own."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from cryolatent.data.batch import Batch, Evidence, Twin
from cryolatent.data.source import AnySource, Source, original_groups
from cryolatent.data.stack import ParticleStack
from cryolatent.errors import InputError
from cryolatent.physics import FourierDisc, images_to_disc

TwinKind = Literal["permuted", "noise", "same-pose", "ctf-only"]
TwinCtf = Literal["own", "target"]
SAMPLED = 1000
CHUNK = 100


def twin_of(stack: AnySource, kind: TwinKind, seed: int, ctf: TwinCtf = "own") -> AnySource:
    """Show the posterior other evidence; what the likelihood compares stays.

    Args:
        stack: All particles or digits; selections of the result keep the twins that they have in
            it.
        kind: ``permuted``: image, pose and transfer function of another particle, each given to
            one. ``noise``: white noise of the images' mean and variance, without pose or transfer
            function. ``same-pose``: another particle, seen from the nearest direction.
            ``ctf-only``: the particle's own transfer function and nothing else.
        seed: Fixes the permutation and the noise.
        ctf: Whether the evidence carries the transfer function of the image that is shown, or that
            of the particle, as in the report's code.

    Returns:
        The same particles with a twin.

    Raises:
        InputError: If there are too few particles that are not copies of each other, or if the twin
            needs poses or transfer functions and there are none.
    """
    whole = stack.showing(None)
    of_target = ctf == "target"
    if kind == "noise":
        return stack.showing(NoiseTwin(whole, *pixel_moments(whole), seed, of_target))
    if kind == "permuted":
        shown = derangement(whole, seed)
    elif not isinstance(whole, ParticleStack):
        raise InputError(
            "`twin`", f"{kind} of {whole.domain}", "permuted or noise", "Choose one of these."
        )
    elif kind == "ctf-only":
        return stack.showing(CtfTwin(whole.disc, shell_rms(whole)))
    else:
        shown = nearest_views(whole)
    return stack.showing(OtherParticle(whole, np.argsort(whole.ids), shown, of_target))


@dataclass(frozen=True)
class OtherParticle(Twin):
    """Shows each particle the observations of another; the j-th sees the other's j-th.

    Where the other has fewer observations they come round again.

    Args:
        whole: The particles, those that are shown and those to which they are.
        order: Positions of the particles in ascending order of their names.
        shown: For each particle the position of the one that it is shown.
        of_target: Whether the transfer function is the particle's and not that of the image.
    """

    whole: Source
    order: Int[np.ndarray, " n"]
    shown: Int[np.ndarray, " n"]
    of_target: bool = False

    def __post_init__(self) -> None:
        empty = torch.nonzero(self.whole.offsets.diff() == 0)
        if len(empty):
            raise InputError(
                self.whole.source,
                f"particle {self.whole.ids[int(empty[0, 0])]} without an observation",
                "an image of every particle, to be shown to another",
                "Remove the particle.",
            )

    def evidence(self, ids: np.ndarray, batch: Batch) -> Evidence:
        """Image, pose and transfer function of the other particles."""
        shown = torch.from_numpy(self.shown[self._positions(ids)])
        first = self.whole.offsets[shown]
        count = self.whole.offsets[shown + 1] - first
        rows = first[batch.owner] + observation_numbers(batch) % count[batch.owner]
        other = self.whole.evidence(rows, batch.owner)
        return replace(other, ctf=batch.ctf) if self.of_target else other

    def _positions(self, ids: np.ndarray) -> Int[np.ndarray, " n"]:
        # names of another width would make numpy copy all the names
        names = ids.astype(self.whole.ids.dtype)
        place = np.searchsorted(self.whole.ids, names, sorter=self.order)
        found = self.order[np.minimum(place, len(self.order) - 1)]
        missing = ids[self.whole.ids[found] != ids]
        if len(missing):
            raise InputError(
                self.whole.source,
                f"no twin of particle {missing[0]}",
                "particles of the stack that the twin was made for",
                "Make the twin of the whole stack.",
            )
        return found


@dataclass(frozen=True)
class NoiseTwin(Twin):
    """Shows white Gaussian noise, drawn from seed, name and number of the observation.

    Args:
        whole: The particles, of which the size of the images is used.
        mean: Mean of the pixels.
        standard_deviation: Of the pixels.
        seed: Fixes the noise.
        of_target: Whether it carries the particle's transfer function; else it has none.
    """

    whole: Source
    mean: float
    standard_deviation: float
    seed: int
    of_target: bool = False

    def evidence(self, ids: np.ndarray, batch: Batch) -> Evidence:
        """Noise, without pose."""
        names = ids[batch.owner.numpy()].tolist()
        numbers = observation_numbers(batch).tolist()
        images = [self.pixels(*which) for which in zip(names, numbers, strict=True)]
        side = self.whole.geometry.box
        stacked = np.stack(images) if images else np.zeros((0, side, side), np.float32)
        shown = self.whole.from_pixels(torch.from_numpy(stacked))
        return Evidence(shown, None, batch.ctf if self.of_target else None, batch.owner)

    def pixels(self, name: str, number: int) -> Float[np.ndarray, "y x"]:
        """The noise of one observation.

        Args:
            name: The particle.
            number: Which of its observations, from zero.

        Returns:
            The image.
        """
        # a separator that no name holds, so that no two observations share a text
        text = f"{self.seed}\0{number}\0{name}".encode()
        key = int.from_bytes(blake2b(text, digest_size=16).digest(), "little")
        drawn = np.random.Generator(np.random.Philox(key=key)).standard_normal(
            (self.whole.geometry.box,) * 2, dtype=np.float32
        )
        return np.float32(self.mean) + np.float32(self.standard_deviation) * drawn


@dataclass(frozen=True)
class CtfTwin(Twin):
    """Shows the particle's own transfer function, as if it were the image.

    Args:
        disc: The coefficients in use.
        rms: Root mean square of the images' coefficients, shells 0 to ``disc.radius``.
    """

    disc: FourierDisc
    rms: Float[Tensor, " shells"]

    def evidence(self, ids: np.ndarray, batch: Batch) -> Evidence:
        """``CTF(k)`` times the root mean square of the shell, without pose."""
        if batch.ctf is None:
            raise ValueError("there is no transfer function to show")
        transfer = batch.ctf.evaluate(self.disc.cycles_per_pixel)
        scaled = transfer * self.rms[self.disc.shells]
        shown = torch.complex(scaled, torch.zeros_like(scaled))
        return Evidence(shown, None, batch.ctf, batch.owner)


def observation_numbers(batch: Batch) -> Int[Tensor, " obs"]:
    """Count each particle's observations.

    Args:
        batch: Some particles, observations particle by particle.

    Returns:
        For each observation, how many of its particle come before it.
    """
    count = torch.bincount(batch.owner, minlength=len(batch))
    first = torch.cumsum(count, 0) - count
    return torch.arange(len(batch.owner)) - first[batch.owner]


def derangement(stack: Source, seed: int) -> Int[np.ndarray, " n"]:
    """Give each particle another one, no two the same, and none a copy of itself.

    The particles are listed original by original, in random order, and each is given the one as
    many places on as the largest number of copies. The result depends on names and seed, not on
    the order of the particles.

    Args:
        stack: The particles.
        seed: Fixes the order of the originals.

    Returns:
        For each particle the position of the other.

    Raises:
        InputError: If one particle's copies are more than half of all.
    """
    group = original_groups(stack.ids)
    copies = np.bincount(group)
    step = int(copies.max())
    if 2 * step > len(group):
        raise _too_few(stack, f"{step} copies of one particle among {len(group)} particles")
    place = np.random.default_rng(seed).permutation(len(copies))
    listed = np.lexsort((stack.ids, place[group]))
    shown = np.empty_like(listed)
    shown[listed] = np.roll(listed, -step)
    return shown


def nearest_views(stack: ParticleStack) -> Int[np.ndarray, " n"]:
    """Find for each particle the one, no copy of it, that is seen from the nearest direction.

    Args:
        stack: The particles; of several observations the first counts.

    Returns:
        For each particle the position of the other.

    Raises:
        InputError: If all are copies of one particle.
    """
    from scipy.spatial import KDTree

    group = original_groups(stack.ids)
    if group.max() == 0:
        raise _too_few(stack, "copies of one particle only")
    # of equally near ones the tree's order decides, so the particles enter it by name
    order = np.argsort(stack.ids)
    first = stack.offsets[:-1][torch.from_numpy(order)]
    directions = stack.poses.rotations[first, 2].double().numpy()
    tree, group = KDTree(directions), group[order]
    nearest = np.full(len(order), -1)
    left, count = np.arange(len(order)), 2
    while len(left):
        neighbours = np.asarray(tree.query(directions[left], k=min(count, len(order)))[1])
        other = group[neighbours] != group[left, None]
        some = other.any(1)
        nearest[left[some]] = neighbours[some, other[some].argmax(1)]
        left, count = left[~some], 2 * count
    shown = np.empty_like(nearest)
    shown[order] = order[nearest]
    return shown


def _too_few(stack: Source, found: str) -> InputError:
    return InputError(
        stack.source,
        found,
        "another particle for each, which is no copy of it",
        "Give more particles, or leave `twin` out.",
    )


def pixel_moments(stack: Source) -> tuple[float, float]:
    """Mean and standard deviation of the pixels of up to a thousand images.

    Args:
        stack: The particles.

    Returns:
        Both.
    """
    count, total, squares = 0, 0.0, 0.0
    for images in _sample(stack):
        count += images.size
        total += images.sum(dtype=np.float64)
        squares += np.square(images, dtype=np.float64).sum()
    mean = total / count
    return float(mean), float(np.sqrt(squares / count - mean**2))


def shell_rms(stack: ParticleStack) -> Float[Tensor, " shells"]:
    """Root mean square of the coefficients of up to a thousand images.

    Args:
        stack: The particles.

    Returns:
        Shells 0 to ``stack.disc.radius``.
    """
    count, power = 0, torch.zeros(stack.disc.size, dtype=torch.double)
    for images in _sample(stack):
        coefficients = images_to_disc(torch.from_numpy(images), stack.disc)
        power += coefficients.abs().square().sum(0)
        count += len(images)
    return stack.disc.shell_mean(power / count).sqrt().float()


def _sample(stack: Source) -> Iterator[Float[np.ndarray, "n y x"]]:
    """Evenly spaced images in the order of the particles' names, which no file order changes."""
    rows, _ = stack.observations(torch.from_numpy(np.argsort(stack.ids)))
    chosen = np.linspace(0, len(rows) - 1, min(len(rows), SAMPLED)).round().astype(int)
    for start in range(0, len(chosen), CHUNK):
        yield stack.pixels(rows.numpy()[chosen[start : start + CHUNK]])
