"""One pass over particles that backprojects their images, a chunk at a time."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Complex, Float, Int
from torch import Tensor

from cryolatent.data.stack import ParticleStack
from cryolatent.data.statistics import check_images
from cryolatent.physics import FourierLattice, Poses, slice_lattice
from cryolatent.physics.backprojection import Sums, filter_images
from cryolatent.progress import Advance, unwatched

CHUNK_BYTES = 2**25
NOISE_PARTICLES, SLICES = 512, 32

Explained = Callable[[Int[Tensor, " n"], Poses], Complex[Tensor, "n k"]]
"""Slices that a model expects of particles at their poses, before transfer function and shift."""


def backproject(
    stack: ParticleStack,
    particles: Int[Tensor, " n"],
    weights: Float[Tensor, " n"] | None = None,
    progress: Advance = unwatched,
    explained: Explained | None = None,
) -> Sums:
    """Sum the images of some particles on a Fourier lattice with two voxels per cycle.

    Threads share one set of sums, and the result is the same for any number of them.

    Args:
        stack: The particles.
        particles: Which.
        weights: How often each counts; once by default.
        progress: Called with the number of images done after each chunk.
        explained: What a model expects of images, which is taken off them.

    Returns:
        Sums, folded.

    Raises:
        InputError: If a pixel is not finite or an image is constant, naming file and image.
    """
    sums = Sums.empty(FourierLattice(stack.disc))
    rows, owner = stack.observations(particles)
    shares = torch.ones(len(rows)) if weights is None else weights[owner]
    step = max(1, CHUNK_BYTES // (4 * stack.images.box**2))
    for start in range(0, len(rows), step):
        chunk = rows[start : start + step]
        images, poses = stack.pixels(chunk.numpy()), stack.poses[chunk]
        filtered = filter_images(images, poses, stack.transfer(chunk), stack.disc)
        power = filtered.power.sum(axis=1)
        if not (np.isfinite(power) & (power > 0)).all():
            check_images(stack, torch.from_numpy(images), chunk)
        if explained is not None:
            slices = explained(particles[owner[start : start + step]], poses).numpy()
            left = filtered.images - filtered.weights * slices
            filtered = replace(filtered, images=left.astype(np.complex64))
        sums.add(filtered, poses, shares[start : start + step].numpy())
        progress(start + len(chunk))
    return sums.fold()


def noise_spectrum(
    stack: ParticleStack,
    particles: Int[Tensor, " n"],
    volume: Float[Tensor, "z y x"],
    weights: Float[Tensor, " n"] | None = None,
) -> Float[Tensor, " shells"]:
    """Estimate the noise variance per shell: the images' power less what a map explains of it.

    The map must be of other particles: then its own noise does not correlate with the images, and
    ``|x|² - Re(x* C P V)`` is the noise's variance on average.

    Args:
        stack: The particles.
        particles: Which; 512 of them, evenly spaced, are used.
        volume: Map of other particles, in the scale of `volume_to_fourier`.
        weights: How often each counts; once by default.

    Returns:
        Variance of a complex coefficient in shells 0 to ``disc.radius``, never negative (shell 0
        copies shell 1).
    """
    disc, lattice = stack.disc, FourierLattice(stack.disc)
    values = lattice.from_volumes(volume[None])
    chosen = torch.linspace(0, len(particles) - 1, min(NOISE_PARTICLES, len(particles))).long()
    rows, owner = stack.observations(particles[chosen])
    shares = torch.ones(len(rows)) if weights is None else weights[chosen][owner]
    totals = torch.zeros(disc.radius + 1)
    for chunk, share in zip(rows.split(SLICES), shares.split(SLICES), strict=True):
        poses = stack.poses[chunk]
        images = stack.pixels(chunk.numpy())
        filtered = filter_images(images, poses, stack.transfer(chunk), disc)
        slices = slice_lattice(values, poses.rotations, lattice)[..., 0]
        explained = (torch.from_numpy(filtered.images).conj() * slices).real
        explained = torch.zeros(len(chunk), len(totals)).index_add_(1, disc.shells, explained)
        totals += share @ (torch.from_numpy(filtered.power) - explained)
    count = torch.bincount(disc.shells, minlength=len(totals)) * shares.sum()
    totals[0], count[0] = totals[1], count[1]
    return (totals / count).clamp(min=0)
