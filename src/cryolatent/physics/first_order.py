"""Slices at slightly wrong poses, to first order: known slices that errors weight.

In the frame of the image, turning the particle by a small rotation vector w and displacing it by a
few pixels d changes its slice ``g(k)`` by ``Σ_b w_b P(L_b U) + Σ_b d_b (-2πi k_b) g``, where
``L_b U (r) = (e_b × r)·∇U`` and k is in cycles per pixel. A pose with rotation R becomes
``exp(-[w]×) R``; shifts add up.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Complex, Float
from torch import Tensor

from cryolatent.physics.lattice import FourierLattice
from cryolatent.physics.normal import nearest, pack, pairs, row_chunks, unpack
from cryolatent.physics.slicing import Interpolation, geometry, in_threads

TURNS, SHIFTS = slice(0, 3), slice(3, 5)
"""Where turns about x, y and z of the image (z is the view), and displacements, stand."""

COLUMNS = 5


@dataclass(frozen=True)
class PerturbedProducts:
    """Inner products of each observation's slices, of their derivatives, and of its image.

    Args:
        gram: ``Σ_k gain w Re(g_c* g_d)``, packed.
        inner: ``Σ_k gain Re(g_c* x)``.
        cross: ``Σ_k gain w Re(g_c* h_b)``; h are derivatives by turns and shifts, of the one volume
            that has them or of component c.
        own: ``Σ_k gain w Re(h_b* h_d)`` of each volume that has derivatives.
        pull: ``Σ_k gain Re(h_b* x)``.
    """

    gram: Float[Tensor, "n p"]
    inner: Float[Tensor, "n c"]
    cross: Float[Tensor, "n c 5"]
    own: Float[Tensor, "n t 5 5"]
    pull: Float[Tensor, "n t 5"]


def tangents(values: Complex[Tensor, "v t"], lattice: FourierLattice) -> Complex[Tensor, "v t4"]:
    """Volumes and their derivatives by turns about the axes x, y and z of their own frame.

    ``(e_a × q)·∇V(q)``; the gradient of a transform is the transform of ``-2πi r V(r)``.

    Args:
        values: The volumes at the lattice's voxels.
        lattice: Where the values belong.

    Returns:
        Of each the volume, then the three derivatives.
    """
    side = lattice.side
    steps = torch.arange(side, device=values.device)
    position = torch.where(steps < side // 2, steps, steps - side) * (lattice.oversampling / side)
    along = [position.view(shape) for shape in ((1, 1, -1), (1, -1, 1), (-1, 1, 1))]
    x, y, z = lattice.coordinates.unbind(-1)
    # filled in place: of one volume these are numbers enough to feel copies of
    columns = values.new_empty(len(values), 4 * values.shape[1])
    for n, volume in enumerate(values.unbind(-1)):
        (field,) = lattice.to_field(volume[:, None])
        slopes = lattice.from_field(torch.stack([field * r for r in along])).mul_(-2j * torch.pi)
        dx, dy, dz = slopes.unbind(-1)
        columns[:, 4 * n] = volume
        columns[:, 4 * n + 1] = y * dz - z * dy
        columns[:, 4 * n + 2] = z * dx - x * dz
        columns[:, 4 * n + 3] = x * dy - y * dx
    return columns.mul_(lattice.inside[:, None])


def perturbed_products(
    values: Complex[Tensor, "v c"],
    tangent: Complex[Tensor, "v t4"],
    images: Complex[Tensor, "n k"],
    weights: Float[Tensor, "n k"],
    gains: Float[Tensor, " k"],
    rotations: Float[Tensor, "n 3 3"],
    lattice: FourierLattice,
    *,
    independent: bool = False,
) -> PerturbedProducts:
    """`slice_products`, with the derivatives of volumes by pose beside the components.

    Args:
        values: Components at the lattice's voxels.
        tangent: From `tangents`: of one volume for all components, or of every component.
        images: Filtered images x.
        weights: Squared transfer functions w.
        gains: Weight of each coefficient.
        rotations: Rotation of each observation.
        lattice: Where the values belong.
        independent: Whether of the components only products with themselves are wanted.

    Returns:
        One row per observation.
    """
    if values.device.type != "cpu":
        return reference_perturbed_products(
            values, tangent, images, weights, gains, rotations, lattice, independent=independent
        )
    from cryolatent.physics import kernels

    n, components = len(images), values.shape[1]
    gram = np.empty((n, pairs(components, independent=independent)), np.float32)
    inner = np.empty((n, components), np.float32)
    cross = np.empty((n, components, COLUMNS), np.float32)
    bases = tangent.shape[1] // 4
    own = np.empty((n, bases, pairs(COLUMNS)), np.float32)
    pull = np.empty((n, bases, COLUMNS), np.float32)
    flat, slopes, x, w, gain = (
        t.contiguous().numpy() for t in (values, tangent, images, weights, gains)
    )
    wave = np.float32(2 * np.pi / lattice.disc.box)

    def work(_: int, rows: slice) -> None:
        where = geometry(rotations[rows], lattice, Interpolation.NEAREST)
        out = gram[rows], inner[rows], cross[rows], own[rows], pull[rows]
        kernels.perturbed_products((flat, slopes), (x[rows], w[rows], gain), where, wave, out)

    in_threads(work, n)
    found = (torch.from_numpy(array) for array in (gram, inner, cross, pull))
    gram_, inner_, cross_, pull_ = found
    square = unpack(torch.from_numpy(own).flatten(0, 1)).unflatten(0, (n, bases))
    return PerturbedProducts(gram_, inner_, cross_, square, pull_)


def reference_perturbed_products(
    values: Complex[Tensor, "v c"],
    tangent: Complex[Tensor, "v t4"],
    images: Complex[Tensor, "n k"],
    weights: Float[Tensor, "n k"],
    gains: Float[Tensor, " k"],
    rotations: Float[Tensor, "n 3 3"],
    lattice: FourierLattice,
    *,
    independent: bool = False,
) -> PerturbedProducts:
    """`perturbed_products` in plain PyTorch, on any device."""
    parts = []
    both, components = torch.cat([values, tangent], dim=1), values.shape[1]
    bases, wave = tangent.shape[1] // 4, lattice.disc.cycles_per_pixel * (-2j * torch.pi)
    for rows in row_chunks(len(images), lattice.disc.size * (components + COLUMNS * bases)):
        read = nearest(both, rotations[rows], lattice)
        g, tangent_ = read[..., :components], read[..., components:].unflatten(-1, (bases, 4))
        turn = rotations[rows].to(tangent_.dtype)
        turns = torch.einsum("nkta,nba->nktb", tangent_[..., 1:], turn)
        h = torch.cat([turns, tangent_[..., :1] * wave[:, None]], dim=-1).movedim(2, 1)
        # real and imaginary parts as further coefficients
        g = torch.view_as_real(g).transpose(2, 3).flatten(1, 2)[:, None]
        h = torch.view_as_real(h).transpose(3, 4).flatten(2, 3)
        x = torch.view_as_real(images[rows] * gains).flatten(1)[:, None, :, None]
        w = (weights[rows] * gains)[:, :, None].expand(-1, -1, 2).reshape(len(x), 1, -1, 1)
        gram = (g * g * w).sum(2)[:, 0] if independent else pack((g.mT @ (w * g))[:, 0])
        each = g if bases == 1 else g[:, 0].mT[..., None]
        parts.append(
            PerturbedProducts(
                gram,
                (g.mT @ x)[:, 0, :, 0],
                (each.mT @ (w * h)).flatten(1, 2),
                h.mT @ (w * h),
                (h.mT @ x)[..., 0],
            )
        )
    columns = ((p.gram, p.inner, p.cross, p.own, p.pull) for p in parts)
    return PerturbedProducts(*(torch.cat(column) for column in zip(*columns, strict=True)))
