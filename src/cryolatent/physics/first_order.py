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
        cross: ``Σ_k gain w Re(g_c* h_b)``; h are the derivatives by turns and shifts.
        own: ``Σ_k gain w Re(h_b* h_d)``.
        pull: ``Σ_k gain Re(h_b* x)``.
    """

    gram: Float[Tensor, "n p"]
    inner: Float[Tensor, "n c"]
    cross: Float[Tensor, "n c 5"]
    own: Float[Tensor, "n 5 5"]
    pull: Float[Tensor, "n 5"]


def tangents(values: Complex[Tensor, " v"], lattice: FourierLattice) -> Complex[Tensor, "v 4"]:
    """A volume and its derivatives by turns about the axes x, y and z of its own frame.

    ``(e_a × q)·∇V(q)``; the gradient of a transform is the transform of ``-2πi r V(r)``.

    Args:
        values: The volume at the lattice's voxels.
        lattice: Where the values belong.

    Returns:
        The volume, then the three derivatives.
    """
    (field,) = lattice.to_field(values[:, None])
    side = lattice.side
    steps = torch.arange(side, device=values.device)
    position = torch.where(steps < side // 2, steps, steps - side) * (lattice.oversampling / side)
    along = [position.view(shape) for shape in ((1, 1, -1), (1, -1, 1), (-1, 1, 1))]
    slopes = lattice.from_field(torch.stack([field * r for r in along])) * (-2j * torch.pi)
    dx, dy, dz = slopes.unbind(-1)
    x, y, z = lattice.coordinates.unbind(-1)
    turned = [y * dz - z * dy, z * dx - x * dz, x * dy - y * dx]
    return torch.stack([values, *turned], dim=-1) * lattice.inside[:, None]


def perturbed_products(
    values: Complex[Tensor, "v c"],
    tangent: Complex[Tensor, "v 4"],
    images: Complex[Tensor, "n k"],
    weights: Float[Tensor, "n k"],
    gains: Float[Tensor, " k"],
    rotations: Float[Tensor, "n 3 3"],
    lattice: FourierLattice,
    *,
    independent: bool = False,
) -> PerturbedProducts:
    """`slice_products`, with the derivatives of one volume by pose beside the components.

    Args:
        values: Components at the lattice's voxels.
        tangent: From `tangents`.
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
    own, pull = np.empty((n, pairs(COLUMNS)), np.float32), np.empty((n, COLUMNS), np.float32)
    flat, slopes, x, w, gain = (
        t.contiguous().numpy() for t in (values, tangent, images, weights, gains)
    )
    wave = np.float32(2 * np.pi / lattice.disc.box)

    def work(_: int, rows: slice) -> None:
        where = geometry(rotations[rows], lattice, Interpolation.NEAREST)
        out = gram[rows], inner[rows], cross[rows], own[rows], pull[rows]
        kernels.perturbed_products(flat, slopes, x[rows], w[rows], gain, where, wave, *out)

    in_threads(work, n)
    found = (torch.from_numpy(array) for array in (gram, inner, cross, pull))
    gram_, inner_, cross_, pull_ = found
    return PerturbedProducts(gram_, inner_, cross_, unpack(torch.from_numpy(own)), pull_)


def reference_perturbed_products(
    values: Complex[Tensor, "v c"],
    tangent: Complex[Tensor, "v 4"],
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
    wave = lattice.disc.cycles_per_pixel * (-2j * torch.pi)
    for rows in row_chunks(len(images), lattice.disc.size * (components + COLUMNS)):
        read = nearest(both, rotations[rows], lattice)
        g, mean, slopes = read.split([components, 1, 3], dim=-1)
        turns = torch.einsum("nka,nba->nkb", slopes, rotations[rows].to(slopes.dtype))
        h = torch.cat([turns, mean * wave], dim=-1)
        g, h = (torch.view_as_real(t).transpose(2, 3).flatten(1, 2) for t in (g, h))
        x = torch.view_as_real(images[rows] * gains).flatten(1)
        w = (weights[rows] * gains)[:, :, None].expand(-1, -1, 2).reshape(len(x), -1, 1)
        gram = (g * g * w).sum(1) if independent else pack(g.mT @ (w * g))
        parts.append(
            PerturbedProducts(
                gram,
                (g.mT @ x[..., None])[..., 0],
                g.mT @ (w * h),
                h.mT @ (w * h),
                (h.mT @ x[..., None])[..., 0],
            )
        )
    columns = ((p.gram, p.inner, p.cross, p.own, p.pull) for p in parts)
    return PerturbedProducts(*(torch.cat(column) for column in zip(*columns, strict=True)))
